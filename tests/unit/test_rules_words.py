"""Whole words and phrases: in any case, composition and spacing, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.rules.words import WordIndex, fold

_texts = st.text(
    st.sampled_from("aB& -_1\u00a0\u00df\u0130\u0301e\u03c3\u03c2"), max_size=12
)


def _has(phrase: str, text: str) -> bool:
    return WordIndex([phrase]).find(text) is not None


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("board", "Slides for the BOARD, urgent"),
        ("board", "on-board!"),
        ("board", "(board)"),
        ("Miller & Sons", "for MILLER\t&\u00a0\u202fsons."),
        ("white paper", "a white\n  paper"),
        ("stra\u00dfe", "STRASSE 5"),
        ("STRASSE", "in der Stra\u00dfe"),
        ("\u039f\u03b4\u03cc\u03c2", "\u039f\u0394\u038c\u03a3"),
        ("\u03bf\u03b4\u03bf\u03c3", "\u039f\u0394\u039f\u03a3 5"),
        ("\u0130stanbul", "i\u0307STANBUL"),
        ("caf\u00e9", "CAFE\u0301"),
        ("cafe\u0301", "the Caf\u00c9"),
        ("\ufb01rm", "FIRM"),
        ("C++", "use c++, now"),
        ("AT&T", "(at&t)"),
        ("a b", "a a b"),
        ("b c d", "b c b c d"),
        ("Ltd.", "Miller Ltd. & Co"),
        ("board", "the board\0\0 met"),
        ("board meeting", "\0board\0meeting\0"),
        ("\u0430\u043a\u0442", "\u041d\u043e\u0432\u044b\u0439 \u0410\u041a\u0422."),
    ],
)
def test_found(phrase: str, text: str) -> None:
    """A word is found however it is written, and white space is white space."""
    assert _has(phrase, text)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("board", "boardroom"),
        ("board", "aboard"),
        ("board", "board_2"),
        ("board", "board2"),
        ("caf", "caf\u00e9"),
        ("cafe", "cafe\u0301"),
        ("x", "x\u0302"),
        ("stanbul", "\u0130stanbul"),
        ("i", "\u0130"),
        ("white paper", "white-paper"),
        ("white paper", "whitepaper"),
        ("white paper", "white paperback"),
        ("AT&T", "at & t"),
        ("C++", "c++11"),
        ("stra\u00dfe", "stra\u00dfen"),
        ("board", ""),
        ("board", " "),
    ],
)
def test_not_found(phrase: str, text: str) -> None:
    """A part of a longer word is no word, and signs count."""
    assert not _has(phrase, text)


def test_the_first_in_the_text_is_named() -> None:
    """Of several phrases the one that comes first in the text is told."""
    index = WordIndex(["partner", "board", "board meeting", "BOARD"])

    assert index.find("the board meeting of a partner") == 1
    assert index.find("a partner of the board") == 0
    assert index.find("nothing of the kind") is None


@given(_texts, _texts)
def test_a_folded_text_is_the_same_text(phrase: str, text: str) -> None:
    """Case, composition and spacing change no answer."""
    if fold(phrase):
        assert _has(phrase, text) is _has(fold(phrase), fold(text))
        assert _has(phrase, f"\u2003{text}\n") is _has(phrase, text)


@given(_texts, _texts)
def test_surrounded_by_space_it_is_always_found(phrase: str, text: str) -> None:
    """A phrase between spaces is found in any text."""
    if fold(phrase):
        assert _has(phrase, f"{text} {phrase} {text}")
