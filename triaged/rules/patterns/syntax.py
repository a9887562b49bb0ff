r"""A pattern as a tree, by RE2's grammar; every check of patterns walks this one tree.

RE2 has the last word on whether a pattern is valid.  The tree of a valid pattern says
what RE2 reads: where ``(?i)`` reaches, that ``a{01}`` is plain text, where ``\Q`` ends.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, TypeAlias

TokenKind = Literal[
    "quoted", "escape", "bracket", "flags", "open", "close", "repeat", "odd", "other"
]
AssertionKind = Literal[
    "text start", "text end", "line start", "line end", "word boundary", "no boundary"
]

# Deeper nesting than any person writes; the checks recurse into the tree.
MAX_DEPTH: Final = 60

_TOKEN: Final = re.compile(
    r"""
      (?P<quoted>  \\Q .*? (?: \\E | \Z ) )
    | (?P<escape>  \\ (?: [pP] (?: \{ [^}]* \} | . )
                        | x (?: \{ [0-9a-fA-F]* \} | [0-9a-fA-F]{2} )
                        | [0-7]{2,3} | . )? )
    | (?P<bracket> \[ \^? (?: \] (?: - (?!\]) (?: \\. | [^\\] ) )? )?
                   (?: \[:\^?\w*:\] | \\[pP]\{[^}]*\} | \\[dDsSwWpP]
                     | (?: \\x\{[^}]*\} | \\. | [^\]\\] )
                       (?: - (?!\]) (?: \\x\{[^}]*\} | \\. | [^\\] ) )? )*+ \] )
    | (?P<flags>   \( \? [a-zA-Z-]* \) )
    | (?P<open>    \( (?: \? (?: P?<\w+> | [a-zA-Z-]*: ) )? )
    | (?P<close>   \) )
    | (?P<repeat>  (?: [*+?] | \{ (?:0|[1-9][0-9]{0,7}) (?: , (?:0|[1-9][0-9]{0,7})? )?
                   \} ) \?? )
    | (?P<odd>     \{ [\s0-9]* (?: , [\s0-9]* )? \} )
    | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_ASSERTIONS: Final[dict[str, AssertionKind]] = {
    r"\A": "text start",
    r"\z": "text end",
    r"\b": "word boundary",
    r"\B": "no boundary",
}
_CLASS_ESCAPES: Final = frozenset("dDsSwWpPC")
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_CODE: Final = re.compile(r"\\(?:x\{?(?P<hex>[0-9a-fA-F]+)\}?|(?P<octal>[0-7]{1,3}))")
_BRACKET_PART: Final = re.compile(
    r"\[:\^?\w*:\]|\\[pP](?:\{[^}]*\}|.)|\\x(?:\{\w*\}|\w\w)|\\[0-7]{2,3}|\\.|.",
    re.DOTALL,
)


class Token(NamedTuple):
    """One piece of a pattern, and where it begins."""

    kind: TokenKind
    text: str
    start: int


def split(source: str) -> list[Token]:
    """Cut a pattern into tokens, valid or not; joined again they are the pattern."""
    return [
        Token(match.lastgroup, match.group(), match.start())  # type: ignore[arg-type]
        for match in _TOKEN.finditer(source)
    ]


@dataclass(frozen=True, slots=True)
class Leaf:
    """What cannot be taken apart, as written, and where it stands in the pattern."""

    text: str
    start: int = field(compare=False)

    @property
    def end(self) -> int:
        """Where in the pattern the next thing begins."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Letter(Leaf):
    """One character that stands for itself."""

    char: str
    fold: bool


@dataclass(frozen=True, slots=True)
class CharClass(Leaf):
    r"""One character of several: ``.``, ``[…]``, ``\w``, ``\pL``."""

    fold: bool
    dot_all: bool


@dataclass(frozen=True, slots=True)
class Assertion(Leaf):
    """What takes no character and asks for what is on either side."""

    kind: AssertionKind


@dataclass(frozen=True, slots=True)
class Sequence:
    """One thing after another."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several alternatives."""

    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same thing several times; ``most`` is None where there is no limit."""

    part: "Node"
    least: int
    most: int | None
    text: str


Node: TypeAlias = Letter | CharClass | Assertion | Sequence | Choice | Repeat


class TooDeepError(ValueError):
    """The groups of a pattern are nested deeper than any person writes."""


def parse(source: str) -> Node:
    """Return the tree of a pattern that RE2 accepts.

    Raises:
        TooDeepError: its groups are nested too deeply.
    """
    groups = [_Group(_Flags())]
    for token in split(source):
        group = groups[-1]
        match token.kind:
            case "open":
                groups.append(_Group(_flags_of(token.text, group.flags)))
                if len(groups) > MAX_DEPTH:
                    raise TooDeepError
            case "close":
                groups.pop()
                groups[-1].row.append(group.close())
            case "flags":
                group.flags = _flags_of(token.text, group.flags)
            case "repeat":
                least, most = _times(token.text)
                group.row[-1] = Repeat(group.row[-1], least, most, token.text)
            case "other" if token.text == "|":
                group.end_option()
            case _:
                group.row.extend(_leaves(token, group.flags))
    return groups[0].close()


def leaves(node: Node) -> Iterator[Letter | CharClass | Assertion]:
    """Give every leaf of a tree, in the order of the pattern."""
    match node:
        case Sequence(parts) | Choice(parts):
            for part in parts:
                yield from leaves(part)
        case Repeat(part):
            yield from leaves(part)
        case _:
            yield node


def nodes(node: Node) -> Iterator[Node]:
    """Give a tree and every tree in it, from the outside in."""
    yield node
    match node:
        case Sequence(parts) | Choice(parts):
            for part in parts:
                yield from nodes(part)
        case Repeat(part):
            yield from nodes(part)
        case _:
            return


def bracket_parts(text: str) -> list[str]:
    """Return what stands between the brackets of ``[…]``, the ``^`` left out."""
    return _BRACKET_PART.findall(text[1:-1].removeprefix("^"))


def char_of(text: str) -> str:
    """Return the character that a plain character or an escape stands for."""
    if (code := _CODE.fullmatch(text)) is not None:
        return chr(int(code["hex"], 16) if code["hex"] else int(code["octal"], 8))
    char = text.removeprefix("\\") or "\\"
    return _CONTROLS.get(char, char) if len(text) > 1 else char


@dataclass(frozen=True, slots=True)
class _Flags:
    i: bool = False
    m: bool = False
    s: bool = False
    U: bool = False


@dataclass(slots=True)
class _Group:
    """A group while it is read: the alternatives so far, and the present one."""

    flags: _Flags
    options: list[Node] = field(default_factory=list)
    row: list[Node] = field(default_factory=list)

    def end_option(self) -> None:
        parts = tuple(self.row)
        self.options.append(parts[0] if len(parts) == 1 else Sequence(parts))
        self.row = []

    def close(self) -> Node:
        self.end_option()
        options = tuple(self.options)
        return options[0] if len(options) == 1 else Choice(options)


def _flags_of(text: str, before: _Flags) -> _Flags:
    """Return the flags in a group that opens so, or after such flags."""
    if re.fullmatch(r"\(\?[imsU-]*[:)]", text) is None:
        return before
    on, _, off = text.strip("(?:)").partition("-")
    return replace(before, **dict.fromkeys(on, True), **dict.fromkeys(off, False))


def _times(text: str) -> tuple[int, int | None]:
    if text[0] in "*+?":
        return int(text[0] == "+"), 1 if text[0] == "?" else None
    low, comma, high = text.rstrip("?").strip("{}").partition(",")
    return int(low), int(high) if high else (None if comma else int(low))


def _leaves(token: Token, flags: _Flags) -> Iterator[Node]:
    text, start = token.text, token.start
    if token.kind in {"quoted", "odd"}:
        plain = text.removeprefix(r"\Q").removesuffix(r"\E")
        first = start + (2 if token.kind == "quoted" else 0)
        for offset, char in enumerate(plain):
            yield Letter(char, first + offset, char, flags.i)
    elif text in _ASSERTIONS:
        yield Assertion(text, start, _ASSERTIONS[text])
    elif text == "^":
        yield Assertion(text, start, "line start" if flags.m else "text start")
    elif text == "$":
        yield Assertion(text, start, "line end" if flags.m else "text end")
    elif (
        text == "."
        or token.kind == "bracket"
        or (token.kind == "escape" and text[1] in _CLASS_ESCAPES)
    ):
        yield CharClass(text, start, flags.i, flags.s)
    else:
        yield Letter(text, start, char_of(text), flags.i)
