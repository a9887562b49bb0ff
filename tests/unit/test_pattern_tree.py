"""The tree of a pattern: it reads as RE2 does, and what it says of matching is true."""

import random
from itertools import product

import pytest
import re2
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from triaged.rules.patterns.chars import candidates, takes
from triaged.rules.patterns.reach import can_match, find_dead_part
from triaged.rules.patterns.syntax import (
    MAX_DEPTH,
    Assertion,
    CharClass,
    Choice,
    Letter,
    Node,
    Repeat,
    Sequence,
    TooDeepError,
    leaves,
    parse,
    split,
)
from triaged.rules.patterns.universal import matches_every_line

_QUIET = re2.Options()
_QUIET.log_errors = False
_PIECES = st.sampled_from(
    [
        *"aab1 -_\n:,",
        *("(", "(?:", "(?i)", "(?i:", "(?m)", "(?s)", "(?-i)", "(?P<n>", ")", ")", "|"),
        *("*", "+", "?", "{2}", "{0,2}", "{1,}", "{01}", "{,2}", "{", "}"),
        *("^", "$", r"\b", r"\B", r"\A", r"\z", "."),
        *(r"\w", r"\W", r"\d", r"\s", r"\pL", r"\PL", r"\p{Greek}", r"\x41", r"\x{e9}"),
        *("[ab]", "[^a]", "[", "]", "[^", "[]a]", "[[:alpha:]]", "[)-[:x]", r"[\d-z]"),
        *(
            r"\Q",
            r"\E",
            r"\Qa.\E",
            r"\.",
            r"\n",
            r"\101",
            r"\0",
            "é",
            "K",
            "k",
            "\u017f",
        ),
    ]
)
_PATTERNS = st.lists(_PIECES, max_size=9).map("".join)
_TEXTS = ["".join(t) for n in range(3) for t in product("ab\n -é", repeat=n)]


def valid(source: str) -> re2._Regexp:
    try:
        return re2.compile(source, _QUIET)
    except re2.error:
        return reject()


def write(node: Node, dice: random.Random) -> str:
    """Write a text that the tree says the node takes, assertions left aside."""
    match node:
        case Letter() | CharClass():
            taken = sorted(c for c in candidates(node) if takes(node, c))
            return dice.choice(taken) if taken else "\ufffd"
        case Assertion():
            return ""
        case Sequence(parts):
            return "".join(write(part, dice) for part in parts)
        case Choice(options):
            return write(dice.choice(options), dice)
        case Repeat(part, least, most):
            times = dice.randint(least, least + 2 if most is None else most)
            return "".join(write(part, dice) for _ in range(times))


@given(_PATTERNS)
def test_every_pattern_of_re2_has_a_tree(source: str) -> None:
    """The leaves stand in the pattern where they say, in order, without overlap."""
    valid(source)

    end = 0
    for leaf in leaves(parse(source)):
        assert leaf.start >= end
        assert source[leaf.start : leaf.end] == leaf.text
        end = leaf.end


@given(_PATTERNS, st.integers(0, 10_000))
def test_re2_finds_what_the_tree_writes(source: str, seed: int) -> None:
    """A text that is written by the tree of a pattern is matched by it as a whole."""
    compiled = valid(source)
    tree = parse(source)
    found = list(leaves(tree))
    assume(not any(isinstance(leaf, Assertion) for leaf in found))
    assume(all(not isinstance(leaf, CharClass) or leaf.text != r"\C" for leaf in found))
    text = write(tree, random.Random(seed))  # noqa: S311
    assume("\ufffd" not in text)

    assert compiled.fullmatch(text)


@given(_PATTERNS)
def test_what_is_said_of_matching_is_true(source: str) -> None:
    """What can match nothing never matches; what matches every line always does."""
    compiled = valid(source)
    tree = parse(source)
    found = [text for text in _TEXTS if compiled.search(text)]

    if not can_match(tree):
        assert found == []
        assert find_dead_part(tree) is not None
    if matches_every_line(tree):
        assert [text for text in _TEXTS if "\n" not in text and text not in found] == []


_SMALL = st.recursive(
    st.sampled_from(["a", "-", r"\n", ".", r"\w", r"\W", "^", "$", r"\b", r"\B"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        inner.map(lambda source: f"(?:{source})*"),
    ),
    max_leaves=5,
)


@given(_SMALL)
@example(r"\w\ba")  # the letter of a class's name is no character beyond words
def test_nothing_is_missed(source: str) -> None:
    """A small pattern without a match in any short text is said to have none."""
    compiled = valid(source)
    texts = ["".join(t) for n in range(5) for t in product("ab-\n", repeat=n)]
    found = [text for text in texts if compiled.search(text)]
    lines = [text for text in texts if "\n" not in text]

    assert can_match(parse(source)) is bool(found)
    assert matches_every_line(parse(source)) is all(line in found for line in lines)


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        (r"(?i)a(?-i)b(c(?i)d)e", ["a:i", "b", "c", "d:i", "e"]),
        (r"(?i:a)b", ["a:i", "b"]),
        (r"a{01}", ["a", "{", "0", "1", "}"]),
        (r"\Qa.b\Ec", ["a", ".", "b", "c"]),
        (r"\x41\101\x{41}", ["A", "A", "A"]),
        (r"é-[)-[:alpha:]", ["é", "-", "[)-[:alpha:]"]),
        (r"[]-a]b", ["[]-a]", "b"]),
    ],
)
def test_leaves(source: str, texts: list[str]) -> None:
    """Flags reach as far as RE2 lets them, and each escape is its character."""
    shown = [
        leaf.char + (":i" if leaf.fold else "")
        if isinstance(leaf, Letter)
        else leaf.text
        for leaf in leaves(parse(source))
    ]

    assert shown == texts


def test_deep_groups_are_no_tree() -> None:
    """The limit is on the edge, and a flat pattern of any length is no matter."""
    deep = MAX_DEPTH - 1

    assert parse("(" * deep + "a" + ")" * deep) == parse("a")
    with pytest.raises(TooDeepError):
        parse("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH)


@given(st.text(alphabet=r"aé\bwdsWDSQEx()[]{}^$|?*+.,:-<>=!iP0129", max_size=24))
def test_no_token_is_lost(source: str) -> None:
    """Valid or not, the tokens joined again are the pattern."""
    assert "".join(token.text for token in split(source)) == source
