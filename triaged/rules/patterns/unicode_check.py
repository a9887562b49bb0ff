r"""Where ``\b \w \d \s``, which know ASCII alone, touch other letters; what to write.

RE2 takes such patterns, and then finds less than their author thinks.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from triaged.rules.patterns.syntax import Token

_ASCII_CLASSES: Final = frozenset({r"\w", r"\W", r"\d", r"\D", r"\s", r"\S"})
_BOUNDARIES: Final = frozenset({r"\b", r"\B"})
_ANCHORS: Final = frozenset({"^", "$", r"\A", r"\z"})


class Touch(NamedTuple):
    """An ASCII class (the token ``at`` an index) beside a letter beyond ASCII.

    ``after`` says that the letter comes after the class.
    """

    at: int
    letter: str
    after: bool


@dataclass(frozen=True, slots=True)
class _Edge:
    """What an item can begin and end with (token indices), and whether with nothing."""

    first: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    nullable: bool = True


@dataclass(slots=True)
class _Group:
    """A group while it is read: its alternatives so far, and the present one."""

    done: list[_Edge] = field(default_factory=list)
    now: _Edge = field(default_factory=_Edge)

    def end_alternative(self) -> None:
        """Begin the next alternative."""
        self.done.append(self.now)
        self.now = _Edge()

    def append(
        self, item: _Edge, times: tuple[int, int]
    ) -> list[tuple[frozenset[int], frozenset[int]]]:
        """Add an item, so often at least and at most; return what meets what."""
        before, (least, most) = self.now, times
        nullable = item.nullable or least == 0
        self.now = _Edge(
            before.first | item.first if before.nullable else before.first,
            before.last | item.last if nullable else item.last,
            before.nullable and nullable,
        )
        met = [(before.last, item.first)]
        return [*met, (item.last, item.first)] if most > 1 else met

    def close(self) -> _Edge:
        """Return the group as one item."""
        edges = [*self.done, self.now]
        return _Edge(
            frozenset().union(*(edge.first for edge in edges)),
            frozenset().union(*(edge.last for edge in edges)),
            any(edge.nullable for edge in edges),
        )


def find_touches(tokens: list[Token]) -> set[Touch]:
    """Find every ASCII class that can stand right beside a non-ASCII letter.

    The pattern must be valid; groups, alternatives and repetitions are followed.
    """
    letters = {i: letter for i, t in enumerate(tokens) if (letter := _letter(t))}
    classes = {i for i, token in enumerate(tokens) if _is_ascii_class(token)}
    if not letters or not classes:
        return set()
    touches: set[Touch] = set()
    stack = [_Group()]
    for index, token in enumerate(tokens):
        if token == ("other", ")") and len(stack) == 1:
            break  # RE2 reads some odd bracket differently; it had the last word
        if token.kind == "open":
            stack.append(_Group())
        elif token == ("other", "|"):
            stack[-1].end_alternative()
        elif token.kind not in {"flags", "repeat"}:
            if token == ("other", ")"):
                item = stack.pop().close()
            else:
                own = frozenset({index}) & (classes | letters.keys())
                item = _Edge(own, own, token.text in _BOUNDARIES | _ANCHORS)
            for left, right in stack[-1].append(item, _repetition(tokens, index)):
                touches.update(_meet(left, right, letters, classes))
    return touches


def _meet(
    left: frozenset[int],
    right: frozenset[int],
    letters: Mapping[int, str],
    classes: set[int],
) -> Iterator[Touch]:
    """Give the touches between what can stand side by side."""
    for side, other, after in ((left, right, True), (right, left, False)):
        beside = next((letters[i] for i in sorted(other) if i in letters), None)
        if beside is not None:
            yield from (Touch(i, beside, after) for i in side & classes)


def _repetition(tokens: list[Token], index: int) -> tuple[int, int]:
    """Return how often the item that ends here may occur: least, and 1 or more."""
    text = tokens[index + 1].text if index + 1 < len(tokens) else ""
    if index + 1 == len(tokens) or tokens[index + 1].kind != "repeat":
        return 1, 1
    if text[0] in "*+?":
        return int(text[0] == "+"), 1 if text[0] == "?" else 2
    low, comma, high = text.rstrip("?").strip("{}").partition(",")
    return int(low), int(high or 2) if comma else int(low)


def _letter(token: Token) -> str:
    """Return a letter beyond ASCII that the token stands for; empty if it has none."""
    if token.kind in {"quoted", "other"}:
        text = token.text
    elif token.kind == "escape":
        text = _escaped(token.text)
    elif token.kind == "bracket" and not token.text.startswith("[^"):
        text = "".join(
            map(_escaped, re.findall(r"\\x\{\w*\}|\\x\w\w|\\.|.", token.text))
        )
    else:
        text = ""
    return next((char for char in text if _is_foreign_letter(char)), "")


def _escaped(text: str) -> str:
    code = re.fullmatch(r"\\x\{?([0-9a-fA-F]{1,6})\}?", text)
    if code is None:
        return text.removeprefix("\\")
    return chr(int(code[1], 16)) if int(code[1], 16) <= 0x10FFFF else ""  # noqa: PLR2004


def _is_foreign_letter(char: str) -> bool:
    return not char.isascii() and unicodedata.category(char)[0] in "LMN"


def _is_ascii_class(token: Token) -> bool:
    if token.kind == "escape":
        return token.text in _ASCII_CLASSES | _BOUNDARIES
    if token.kind != "bracket":
        return False
    parts = re.findall(r"\[:|\\[pP]|\\.|.", token.text[1:-1], re.DOTALL)
    knows_more = any(part in {r"\p", r"\P"} for part in parts) or _letter(token)
    return not knows_more and any(p == "[:" or p in _ASCII_CLASSES for p in parts)


# --- what to write instead ----------------------------------------------------------

_INSTEAD: Final = {
    r"\w": r"[\pL\pN_]",
    r"\W": r"[^\pL\pN_]",
    r"\d": r"\pN",
    r"\D": r"\PN",
    r"\s": r"[\s\pZ]",
    r"\S": r"[^\s\pZ]",
}
_WITHIN: Final = {r"\w": r"\pL\pN_", r"\d": r"\pN", r"\s": r"\s\pZ", r"\D": r"\PN"}


def rewrite(tokens: list[Token], touches: set[Touch]) -> str | None:
    r"""Write the pattern with Unicode classes; None where no plain way is known.

    A ``\b`` at either end goes along with one that touches: half a word is no word.
    """
    sides: dict[int, set[bool]] = {}
    for touch in touches:
        sides.setdefault(touch.at, set()).add(touch.after)
    solid = [i for i, token in enumerate(tokens) if token.kind != "flags"]
    if any(tokens[index].text == r"\b" for index in sides):
        for index, after in ((solid[0], True), (solid[-1], False)):
            if tokens[index].text == r"\b":
                sides.setdefault(index, {after})
    written = [token.text for token in tokens]
    for index, found in sides.items():
        instead = _instead(tokens, index, found)
        if instead is None:
            return None
        written[index] = instead
    return "".join(written)


def _instead(tokens: list[Token], index: int, after: set[bool]) -> str | None:
    token = tokens[index]
    if token.kind == "bracket":
        swapped = token.text
        for old, new in _WITHIN.items():
            swapped = swapped.replace(old, new)
        return None if swapped == token.text else swapped
    if token.text in _INSTEAD:
        return _INSTEAD[token.text]
    if token.text != r"\b" or len(after) != 1:
        return None
    (before_letter,) = after
    if before_letter:
        return r"(?:^|[^\pL\pN_])"
    behind = tokens[index + 1 : index + 2]
    # Text that no word contains follows anyway, so nothing needs to stand for \b.
    if behind and behind[0].kind == "other" and behind[0].text in " .,;:!?-/":
        return ""
    return r"(?:$|[^\pL\pN_])"
