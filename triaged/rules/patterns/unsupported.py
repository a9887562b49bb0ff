"""Names constructs of other regex engines that RE2 lacks, and the alternatives."""

from typing import Final

from triaged.rules.patterns.syntax import Token

_NOT: Final = "put it beside the pattern as not: {description: …}"
_GROUPS: Final = (
    ("(?<=", "look-behind (?<=", "match the text before it as well"),
    ("(?<!", "negative look-behind (?<!", _NOT),
    ("(?=", "look-ahead (?=", "put what must follow into a match of its own, in all"),
    ("(?!", "negative look-ahead (?!", _NOT),
    ("(?>", "atomic group (?>", "write (?: instead, RE2 never backtracks"),
    ("(?#", "comment (?#", "put it into note: or behind a #"),
    ("(?P=", "back-reference (?P=", "write the text out"),
    ("(?P>", "recursion (?P>", "write the pattern out"),
    ("(?'", "named group (?'", "write (?P<name>…)"),
    ("(?&", "recursion (?&", "write the pattern out"),
    ("(?R", "recursion (?R", "write the pattern out"),
    ("(?|", "branch reset (?|", "write (?: instead"),
    ("(?(", "conditional group (?(", "write both alternatives with |"),
)
_ESCAPES: Final = {
    "Z": r"write \z for the end of the text",
    "G": r"write ^ for the start of the text",
    "K": "drop it, nothing is captured",
    "R": r"write (?:\r\n|\n)",
    "X": "write . for any character",
    "h": r"write [ \t]",
    "H": r"write [^ \t]",
    "V": r"write [^\r\n]",
    "N": r"write . or \x{…} with the code",
    "u": r"write \x{…} with the code, or the character itself",
    "U": r"write \x{…} with the code, or the character itself",
    "e": r"write \x1b",
    "c": r"write \x{…} with the code",
    "<": r"write \b",
    ">": r"write \b",
    "y": r"write \b",
    "m": r"write \b",
    "M": r"write \b",
}


def find_unsupported(tokens: list[Token]) -> str | None:
    """Return a message on the first unsupported construct; None if there is none."""
    rest = "".join(token.text for token in tokens)
    before: Token | None = None
    for token in tokens:
        named = _unsupported_token(token, rest, before)
        if named is not None:
            return f"{named[0]} is not supported by RE2; {named[1]}"
        rest, before = rest[len(token.text) :], token
    return None


def _unsupported_token(
    token: Token, rest: str, before: Token | None
) -> tuple[str, str] | None:
    for start, name, advice in _GROUPS if token.text.startswith("(") else ():
        if rest.startswith(start):
            return name, advice
    match token.kind:
        case "flags" if not set(token.text) <= set("(?imsU-)"):
            return f"flag {token.text}", "known flags are i, m, s and U"
        case "escape":
            return _unsupported_escape(token.text)
        case "repeat" if before is not None and before.kind == "repeat":
            if token.text.startswith("+"):
                name = f"possessive quantifier {before.text}+"
                advice = f"write {before.text}, RE2 never backtracks"
                is_plus = before.text == "+"
                return name, advice + (r"; for the characters, \+\+" if is_plus else "")
            name = f"a repetition of a repetition, {before.text}{token.text},"
            return name, f"write (?:…{before.text}){token.text} or one of them"
        case "bracket" if r"\b" in token.text:
            return r"\b (backspace) in brackets", r"write \x08, or \b outside of them"
        case _:
            pass
    return None


def _unsupported_escape(text: str) -> tuple[str, str] | None:
    letter = text[1:2]
    if letter in "123456789" and letter:
        return f"back-reference {text}", "write the text out"
    if letter in {"k", "g"}:
        return rf"back-reference \{letter}", "write the text out"
    if letter in _ESCAPES:
        return rf"\{letter}", _ESCAPES[letter]
    return None
