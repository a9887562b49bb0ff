"""Texts made from patterns: mostly hits, and always an end."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.rules.patterns.re2_pattern import InvalidPatternError, compile_pattern
from triaged.rules.patterns.samples import near_misses, samples


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^\s*\[?TEST\b", "TEST"),
        (r"(?i)\blorem ipsum\b", "lorem ipsum"),
        (r"(?i)\b(board|court)\b", "board"),
        (r"Q\d board", "Q1 board"),
        (r"ceos?", "ceo"),
        (r"\[TEST\]", "[TEST]"),
        (r"[A-F]{2}-[0-9]+", "AA-0"),
        (r"[[:digit:]]{2,4}", "11"),
        (r"[^a-z]{2}x", "AAx"),
        (r"\x41\x{42}\103", "ABC"),
        (r"\Q[x]\E", "[x]"),
        (r"(?:a|b)*c", "c"),
        (r"(?P<name>a(?:b|c))$", "ab"),
        (r"a\tb\.", "a\tb."),
        ("é[éü]", "éé"),
        (r"\pL+", "a"),
        (r"\p{Greek}", "a"),
        (r"^.$", "x"),
        (r"x{0}y", "y"),
    ],
)
def test_the_plainest_text_comes_first(pattern: str, text: str) -> None:
    """What a person would write for the pattern is proposed before anything else."""
    assert next(samples(pattern)) == text


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\s*\[?TEST\b",
        r"(?i)(urgent|asap)!+",
        r"[^\pL]x",
        r"\p{Greek}{2}",
        r"(?m)^a$",
        r"[\d-]{3}",
        r"[]x]",
        r"(a|)b",
        r"\D\W\S",
        r"(?s)a.b",
        r"[\x{430}-\x{44f}]+",
        r"((a{2}){3}){4}",
    ],
)
def test_the_pattern_occurs_in_one_of_them(pattern: str) -> None:
    """Of the texts proposed for a valid pattern, RE2 finds it in at least one."""
    compiled = compile_pattern(pattern)

    assert any(compiled.search(text) for text in samples(pattern))


@pytest.mark.parametrize(
    "pattern", ["(" * 60 + "a" + ")" * 60, "a{900}", "(a{20}){20}"]
)
def test_what_would_be_no_example_is_not_proposed(pattern: str) -> None:
    """Too deep, or longer than anybody reads: nothing rather than a monster."""
    assert list(samples(pattern)) == []


@pytest.mark.parametrize("pattern", ["a*b*c*d*e*", "[a-h]{5}", "(a|b|c)(d|e|f)+"])
def test_proposals_end_and_differ(pattern: str) -> None:
    """However many ways there are, a few texts come, each once."""
    found = list(samples(pattern))

    assert 1 < len(found) < 50
    assert len(set(found)) == len(found)


_PIECES = st.sampled_from(
    [*"ab1é()[]|*+?.^$-{},:", r"\d", r"\b", r"\pL", "[^a]", "{2}", "(?i)", "(?:", "[[:"]
)


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_any_text_is_taken_for_a_pattern(pattern: str) -> None:
    """Valid or not, proposals come and end; for a valid one they are texts to try."""
    found = list(islice(samples(pattern), 100))

    assert len(found) < 100
    try:
        compiled = compile_pattern(pattern)
    except InvalidPatternError:
        return
    assert all(compiled.search(text) in {True, False} for text in found)


def test_near_misses_are_near() -> None:
    """They are the text with a little more, a little less, or turned around."""
    assert "xTEST" in near_misses("TEST")
    assert "test" in near_misses("TEST")
    assert "TES" in near_misses("TEST")
