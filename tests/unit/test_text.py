"""Tests of text from outside, made safe to look at."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.text import escape_unprintable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Find 20 CEOs", "Find 20 CEOs"),
        ("Hans Müller, 東京 \U0001f600", "Hans Müller, 東京 \U0001f600"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\r\n\tb\0\x7f", r"a\r\n\tb\x00\x7f"),
        ("a\x9bb", r"a\x9bb"),
        ("a\u202eb\u200bc\u2028d", r"a\u202eb\u200bc\u2028d"),
        ("a\U000e0041b", r"a\U000e0041b"),
        ("a\ud800b", r"a\ud800b"),
    ],
)
def test_what_moves_a_cursor_is_escaped(text: str, shown: str) -> None:
    """Letters of all scripts stay; controls, formats and what is no text do not."""
    assert escape_unprintable(text) == shown


@pytest.mark.parametrize(
    "text",
    ["Việt Nam e\u0302\u0301", "न्दी शक्ति", "กี่", "שָׁלוֹם", "😀\ufe0f", "1\ufe0f\u20e3"],
)
def test_letters_keep_their_marks(text: str) -> None:
    """Accents, vowels and emoji styles of all languages stay as they are."""
    assert escape_unprintable(text) == text


def test_a_pile_of_marks_is_cut() -> None:
    """What would grow over the lines around it, or hide a message, is escaped."""
    assert escape_unprintable("Z" + "\u0300" * 20 + "a\u0300") == (
        "Z" + "\u0300" * 8 + r"\u0300" * 12 + "a\u0300"
    )
    assert escape_unprintable("x" + "\U000e0100" * 9).endswith(r"\udb40\udd00")


def test_json_with_a_pile_of_marks_stays_the_same_json() -> None:
    """Cutting a pile in a JSON text changes how it looks, not what it says."""
    text = json.dumps(["x" + "\U000e0100\u0300" * 90], ensure_ascii=False)

    assert escape_unprintable(text) != text
    assert json.loads(escape_unprintable(text)) == json.loads(text)


def test_what_is_to_be_kept_is_kept() -> None:
    """A traceback keeps its lines and nothing else."""
    assert escape_unprintable("a\n\x1bb\tc", keep="\n") == "a\n\\x1bb\\tc"


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_shown(text: str) -> None:
    """Whatever comes in, what comes out is printable, and showing it is repeatable."""
    shown = escape_unprintable(text)

    assert shown.isprintable()
    assert escape_unprintable(shown) == shown
    assert shown.encode().decode() == shown
