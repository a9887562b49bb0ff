"""Finds patterns that RE2 accepts but reads differently than the author meant."""

import re
import unicodedata
from itertools import zip_longest
from typing import Final

from triaged.rules.patterns.chars import kinds_of
from triaged.rules.patterns.reach import can_match, find_dead_part
from triaged.rules.patterns.syntax import (
    Assertion,
    CharClass,
    Letter,
    Node,
    Repeat,
    Sequence,
    nodes,
    parse,
    split,
)
from triaged.rules.patterns.unicode_check import find_touches, rewrite
from triaged.rules.patterns.universal import matches_every_line

# Emoji and some scripts need joiners; no other invisible character is needed.
_JOINERS: Final = "\u200c\u200d"
# The space that people type, and the one that they type in Chinese and Japanese.
_SPACES: Final = " \u3000"
_DELIMITED: Final = re.compile(r"(?:\(\?\w+\))?/((?:[^/\\]|\\.)+)/([gimsuxyA-Z]*)")
_NAMED_CLASS: Final = re.compile(r"\[\^?:\w+:\]")
_PERL: Final = re.compile(
    r"(?:m|qr)/(?P<match>(?:[^/\\]|\\.){2,})/[a-z]*"
    r"|s/(?P<old>(?:[^/\\]|\\.)+)/(?:[^/\\]|\\.)*/[a-z]*"
    r"|(?P<sign>[#~!])(?P<php>.+)(?P=sign)[msuxgA-Z]*i[msuxgA-Z]*"
)
# Named classes with a missing colon, and what POSIX knows beside them.
_HALF_CLASS: Final = re.compile(r"\[\^?\[(?::\^?(\w{2,})|\^?(\w{2,}):|\.\w+\.|=\w+=)\]")
_AT_EDGE: Final = {
    "$": r"$ is the end of the text: write \$ for the character, (?m)$ for a line",
    "^": r"^ is the start of the text: write \^ for the character, (?m)^ for a line",
    r"\b": r"\b stands where a word begins or ends",
    r"\B": r"\B stands where no word begins or ends",
    r"\A": r"\A is the start of the text",
    r"\z": r"\z is the end of the text",
}


def find_misreading(source: str, tree: Node) -> str | None:
    """Return a message on what the author cannot have meant, or None."""
    return (
        _invisible(source)
        or _foreign_syntax(source, tree)
        or _odd_token(source)
        or next(filter(None, map(_odd_node, nodes(tree))), None)
        or _ascii_only(source, tree)
        or _dead_part(tree)
        or _asks_for_nothing(tree)
    )


def _invisible(source: str) -> str | None:
    """Return a message on an invisible character, such as YAML escapes produce."""
    for char in source:
        category = unicodedata.category(char)
        if category == "Cc":
            return (
                f"it contains the control character U+{ord(char):04X}; use single"
                r" quotes: in double quotes YAML makes control characters of \b and \t"
            )
        if category == "Zs" and char not in _SPACES:
            return (
                f"it contains U+{ord(char):04X}, which looks like a space; write a"
                r" space, or [\s\pZ] for a space of any kind"
            )
        if category in {"Cf", "Zl", "Zp"} and char not in _JOINERS:
            return (
                f"it contains U+{ord(char):04X}, which cannot be seen; remove it, or"
                f" write \\x{{{ord(char):04X}}} if it is meant"
            )
    return None


def _foreign_syntax(source: str, tree: Node) -> str | None:
    if (delimited := _DELIMITED.fullmatch(source)) is not None:
        inner, flags = delimited[1].replace(r"\/", "/"), delimited[2].lower()
        known = "".join(flag for flag in flags if flag in "ims")
        meant = f"(?{known}){inner}" if known else inner
        return (
            f"the slashes around it are part of the pattern; write {meant}, or [/] for"
            " the character itself"
        )
    if (perl := _PERL.fullmatch(source)) is not None:
        inner = perl["match"] or perl["old"] or f"(?i){perl['php']}"
        return (
            "the delimiters around it are part of the pattern, and nothing is replaced"
            f" here; write {inner}"
        )
    for node in nodes(tree):
        if isinstance(node, Sequence) and _is_like_pattern(node):
            return (
                "% is an ordinary character, and a pattern is looked for anywhere"
                " anyway; drop the %, or write [%] for the character itself"
            )
    return None


def _is_like_pattern(node: Sequence) -> bool:
    row = [part for part in node.parts if not isinstance(part, Assertion)]
    ends = (row[0], row[-1]) if len(row) > 2 else ()  # noqa: PLR2004 (%, text, %)
    return bool(ends) and all(
        isinstance(end, Letter) and end.text == "%" for end in ends
    )


def _odd_token(source: str) -> str | None:
    """Return a message on the first token that RE2 reads differently than it looks."""
    tokens = split(source)
    for token, following in zip_longest(tokens, tokens[1:]):
        text = token.text
        if text == r"\C":
            return r"\C (a single byte) is not supported; write . for any character"
        if text in {r"\<", r"\>"}:
            return (
                f"RE2 reads {text} as the character {text[1]}; write \\b where a word"
                f" begins or ends, or {text[1]} for the character itself"
            )
        if token.kind == "odd" and text != "{}":
            return (
                f"RE2 reads {text} as these very characters, not as a repetition;"
                f" write {_repetition(text)}"
            )
        if token.kind == "bracket" and _NAMED_CLASS.fullmatch(text):
            return f"RE2 reads {text} as single characters; write [{text}]"
        if (
            following is not None
            and following.text == "]"
            and (half := _HALF_CLASS.fullmatch(text))
        ):
            name = half[1] or half[2] or "alpha"
            return (
                f"RE2 reads {text} as single characters and ] behind them; a named"
                f" class is written [[:{name}:]]"
            )
        if token.kind == "flags" and (following is None or following.kind == "close"):
            return f"{text} applies to what follows it, and nothing does; put it first"
        if text == "$" and following is not None and following.text[0] == "{":
            return r"$ is the end of the text; for the characters themselves write \$\{"
    return None


def _repetition(text: str) -> str:
    low, comma, high = ("".join(part.split()) for part in text[1:-1].partition(","))
    return f"{{{int(low or 0)}{comma}{int(high) if high else ''}}}"


def _odd_node(node: Node) -> str | None:
    match node:
        case Repeat(Assertion(text=text), text=times):
            return f"{times} after {text} asks for nothing; drop the {times}"
        case Repeat(most=0, text=times):
            return f"{times} allows nothing at all; drop it and what stands before it"
        case _:
            return None


def _dead_part(tree: Node) -> str | None:
    if (dead := find_dead_part(tree)) is None:
        return None
    assertion, leaf = dead
    whole = "it" if not can_match(tree) else "a part of it"
    if assertion is not None:
        why = f"{leaf.text} cannot follow {assertion.text} here"
        hint = _AT_EDGE[leaf.text if leaf.text in {"^", "$"} else assertion.text]
    elif isinstance(leaf, CharClass) and not kinds_of(leaf):
        why, hint = f"{leaf.text} leaves no character", "say which are meant"
    else:
        why = f"{leaf.text} cannot stand where it does"
        hint = _AT_EDGE.get(leaf.text, "drop it")
    return f"{whole} can match no text: {why}; {hint}"


def _asks_for_nothing(tree: Node) -> str | None:
    if not matches_every_line(tree):
        return None
    return (
        "it matches every text of one line, even an empty one; write + for *, drop"
        " the ?, or name some text"
    )


def _ascii_only(source: str, tree: Node) -> str | None:
    touches = find_touches(tree)
    if not touches:
        return None
    meant = rewrite(source, tree, touches)
    advice = (
        r"use [\pL\pN_] for \w, \pN for \d, [\s\pZ] for \s, no \b there"
        if meant is None or not _is_sound(meant)
        else f"write {meant}"
    )
    return (
        f"{touches[0].text} knows ASCII alone, and here it touches"
        f" {touches[0].letter!r}, so it would miss or cut words; {advice}"
    )


def _is_sound(source: str) -> bool:
    tree = parse(source)
    return not find_touches(tree) and find_dead_part(tree) is None
