r"""Parses a pattern into a syntax tree by RE2's grammar; all checks use this tree.

RE2 itself decides whether a pattern is valid. The tree of a valid pattern agrees with
RE2: how far ``(?i)`` extends, that ``a{01}`` is literal text, where ``\Q`` ends.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, TypeAlias

TokenKind = Literal[
    "quoted", "escape", "bracket", "flags", "open", "close", "repeat", "odd", "other"
]
AssertionKind = Literal[
    "text start", "text end", "line start", "line end", "word boundary", "no boundary"
]

# The checks recurse into the tree, so its depth must be bounded.
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
    """One token of a pattern: its kind, its text and its offset."""

    kind: TokenKind
    text: str
    start: int


def split(source: str) -> list[Token]:
    """Split a pattern, valid or not, into tokens whose joined texts are the pattern."""
    return [
        Token(match.lastgroup, match.group(), match.start())  # type: ignore[arg-type]
        for match in _TOKEN.finditer(source)
    ]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A node without children: its source text and its offset in the pattern."""

    text: str
    start: int = field(compare=False)

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Letter(Leaf):
    """One literal character."""

    char: str
    fold: bool


@dataclass(frozen=True, slots=True)
class CharClass(Leaf):
    r"""A character class: ``.``, ``[…]``, ``\w``, ``\pL``."""

    fold: bool
    dot_all: bool


@dataclass(frozen=True, slots=True)
class Assertion(Leaf):
    """A zero-width assertion on the characters on either side."""

    kind: AssertionKind


@dataclass(frozen=True, slots=True)
class Sequence:
    """A concatenation of nodes."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """An alternation of nodes."""

    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A repetition of a node; ``most`` is None if there is no upper limit."""

    part: "Node"
    least: int
    most: int | None
    text: str


Node: TypeAlias = Letter | CharClass | Assertion | Sequence | Choice | Repeat


class TooDeepError(ValueError):
    """The groups of a pattern are nested deeper than ``MAX_DEPTH``."""


def parse(source: str) -> Node:
    """Return the tree of a pattern that RE2 accepts, or raise TooDeepError."""
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
    """Yield the leaves of a tree, in the order of the pattern."""
    return (
        one for one in nodes(node) if isinstance(one, Letter | CharClass | Assertion)
    )


def nodes(node: Node) -> Iterator[Node]:
    """Yield a tree and all of its subtrees, parents first."""
    yield node
    match node:
        case Sequence(parts) | Choice(parts):
            for part in parts:
                yield from nodes(part)
        case Repeat(part):
            yield from nodes(part)
        case _:
            return


def letter_runs(
    tree: Node, is_wanted: Callable[[Letter], bool]
) -> Iterator[list[Letter]]:
    """Yield the runs of adjacent letters that are wanted."""
    run: list[Letter] = []
    for leaf in leaves(tree):
        if not isinstance(leaf, Letter) or not is_wanted(leaf):
            continue
        if run and leaf.start != run[-1].end:
            yield run
            run = []
        run.append(leaf)
    if run:
        yield run


def bracket_parts(text: str) -> list[str]:
    """Return the items between the brackets of ``[…]``, without a leading ``^``."""
    return _BRACKET_PART.findall(text[1:-1].removeprefix("^"))


def char_of(text: str) -> str:
    """Return the character that a literal or an escape denotes."""
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
    """A group being parsed: its finished alternatives and the current one."""

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
    """Return the flags in effect after a group opening or a flag token."""
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
