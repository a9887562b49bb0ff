"""Texts in which a pattern probably occurs, made from the pattern itself.

They are proposals: whoever shows one has looked for the pattern in it before.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

from triaged.rules.patterns.syntax import Token, split

# Deeper patterns, and longer texts, are no example for anybody.
_MAX_DEPTH: Final = 40
_MAX_TEXT: Final = 300
_MAX_TIMES: Final = 60
_TRIES: Final = 48

_CLASSES: Final = {
    "d": "17",
    "D": "a-",
    "w": "a1_",
    "W": " -",
    "s": " \t",
    "S": "a1-",
    "C": "a",
}
_CONTROLS: Final = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "f": "\f",
    "v": "\v",
    "a": "\a",
}
_NOTHING: Final = frozenset("bBAz")
# One of each kind: for what is named by what it is not, or by a Unicode property.
_KINDS: Final = "aA1 -.éЯα中_"
_POSIX: Final = {"digit": "1", "space": " ", "punct": "-", "blank": " ", "upper": "A"}


@dataclass(frozen=True, slots=True)
class _Chars:
    """One of these texts, which are single characters but for quoted text."""

    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    """One of these alternatives, each a row of items with how often each may occur."""

    options: tuple["_Row", ...]


_Item: TypeAlias = _Chars | _Choice
_Row: TypeAlias = tuple[tuple[_Item, tuple[int, ...]], ...]


class _TooMuchError(Exception):
    """The pattern is too deep, or asks for a text that is too long."""


def samples(source: str) -> Iterator[str]:
    """Propose different texts for a valid pattern, the plainest first."""
    try:
        root = _read(split(source))
    except _TooMuchError:
        return
    seen = set()
    for number in range(_TRIES):
        chooser = _Chooser(number)
        try:
            text = _write(root, chooser, _MAX_TEXT)
        except _TooMuchError:
            continue
        if text not in seen:
            seen.add(text)
            yield text
        if chooser.left:
            return  # each way was taken already


def near_misses(text: str) -> Iterator[str]:
    """Propose texts that are nearly this one: a pattern may not occur in them."""
    yield f"x{text}"
    yield f"{text}x"
    yield text.swapcase()
    yield text[1:]
    yield text[:-1]
    yield text[::-1]


@dataclass(slots=True)
class _Chooser:
    """Takes the n-th of all ways through a pattern, the first choice varying first."""

    left: int

    def among(self, count: int) -> int:
        """Choose one of so many."""
        self.left, chosen = divmod(self.left, count)
        return chosen


def _write(item: _Item, chooser: _Chooser, room: int) -> str:
    if isinstance(item, _Chars):
        return item.options[chooser.among(len(item.options))]
    text = ""
    for part, times in item.options[chooser.among(len(item.options))]:
        if (count := times[chooser.among(len(times))]) == 0:
            continue
        # The same again each time: that way a class of rare letters gets along.
        text += _write(part, chooser, (room - len(text)) // count) * count
        if len(text) > room:
            raise _TooMuchError
    return text


# --- reading ------------------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    """A group while it is read."""

    done: list[_Row] = field(default_factory=list)
    row: list[tuple[_Item, tuple[int, ...]]] = field(default_factory=list)

    def end_alternative(self) -> None:
        self.done.append(tuple(self.row))
        self.row = []

    def close(self) -> _Choice:
        self.end_alternative()
        return _Choice(tuple(self.done))


def _read(tokens: list[Token]) -> _Choice:
    stack = [_Open()]
    for token in tokens:
        here = stack[-1]
        if token.kind == "open":
            stack.append(_Open())
            if len(stack) > _MAX_DEPTH:
                raise _TooMuchError
        elif token == ("other", "|"):
            here.end_alternative()
        elif token == ("other", ")") and len(stack) > 1:
            group = stack.pop().close()
            stack[-1].row.append((group, (1,)))
        elif token.kind == "repeat":
            if here.row:
                here.row[-1] = (here.row[-1][0], _times(token.text))
        elif token.kind != "flags":
            here.row.append((_Chars(_options(token)), (1,)))
    while len(stack) > 1:
        group = stack.pop().close()
        stack[-1].row.append((group, (1,)))
    return stack[0].close()


def _times(text: str) -> tuple[int, ...]:
    if text[0] in "*+?":
        return {"*": (0, 1, 2), "+": (1, 2), "?": (0, 1)}[text[0]]
    low, comma, high = text.rstrip("?").strip("{}").partition(",")
    least = int(low)
    if least > _MAX_TIMES:
        raise _TooMuchError
    return (least, least + 1) if comma and high != low else (least,)


def _options(token: Token) -> tuple[str, ...]:
    text = token.text
    if token.kind == "quoted":
        return (text.removeprefix(r"\Q").removesuffix(r"\E"),)
    if token.kind == "escape":
        return tuple(_escaped(text))
    if token.kind == "bracket":
        return tuple(_bracketed(text)) or ("x",)
    if text in {"^", "$"}:
        return ("",)
    return tuple("x1 ") if text == "." else (text,)


def _escaped(text: str) -> Iterator[str]:
    """Give what an escape may stand for: characters, or nothing for a boundary."""
    name = text[1:2]
    if name in _NOTHING:
        yield ""
    elif name in {"p", "P"}:
        yield from _KINDS
    elif (
        code := re.fullmatch(r"x\{?([0-9a-fA-F]+)\}?|([0-7]+)", text[1:])
    ) is not None:
        number = int(code[1], 16) if code[1] else int(code[2], 8)
        yield chr(number) if number <= 0x10FFFF else "x"  # noqa: PLR2004 (Unicode ends)
    elif name in _CLASSES:
        yield from _CLASSES[name]
    else:
        yield _CONTROLS.get(name, name)


def _bracketed(text: str) -> Iterator[str]:
    """Give a few of the characters that a bracket allows, as far as it shows them."""
    if text.startswith("[^"):
        yield from _outside(text)
        return
    parts = re.findall(
        r"\[:\^?\w*:\]|\\[pP](?:\{[^}]*\}|.)|\\x\{\w*\}|\\x\w\w|\\.|.",
        text[1:-1],
        re.DOTALL,
    )
    shown = [p for i, p in enumerate(parts) if p != "-" or i in {0, len(parts) - 1}]
    within = (char for part in shown for char in _member(part))
    yield from islice(dict.fromkeys(within), 8)


def _member(part: str) -> Iterator[str]:
    if part.startswith("[:"):
        yield _POSIX.get(part.strip("[:]"), "a")
    elif part.startswith("\\"):
        yield from _escaped(part)
    else:
        yield part


def _outside(text: str) -> Iterator[str]:
    try:
        allowed = re.compile(text)
    except re.error:  # a Unicode property, which this module's re does not know
        yield from _KINDS
        return
    yield from (char for char in _KINDS if allowed.match(char))
