"""Tests of what is printed: JSON that stays JSON, lines that nobody can forge."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.cli.output import echo_json, escape_json, truncate

ANY_TEXT = st.text(st.characters(codec=None))
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=10,
)


@given(DOCUMENTS)
def test_json_is_safe_to_look_at_and_still_the_same(document: object) -> None:
    """Nothing in it moves a cursor, and whoever reads it gets what was written."""
    shown = escape_json(json.dumps(document, indent=2, ensure_ascii=False))

    assert all(line.isprintable() for line in shown.split("\n"))
    assert json.loads(shown) == document


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hans Müller, 東京 \U0001f600", "Hans Müller, 東京 \U0001f600"),
        ("a\xa0b", r"a\u00a0b"),
        ("a\x7fb\x9bc", r"a\u007fb\u009bc"),
        ("a\u202eb", r"a\u202eb"),
        ("a\U000e0041b", r"a\udb40\udc41b"),
        ("a" + "\U0001e8d0" * 9, "a" + "\U0001e8d0" * 9),
    ],
)
def test_letters_stay_and_the_unseen_is_escaped(
    capsys: pytest.CaptureFixture[str], text: str, shown: str
) -> None:
    """Text of all scripts can be read as it is; the rest is spelt as JSON spells it."""
    echo_json({"text": text})

    assert capsys.readouterr().out == f'{{\n  "text": "{shown}"\n}}\n'


def test_a_shortened_text_is_one_line() -> None:
    """A line's end in a text begins no line of ours."""
    assert truncate("a\nrules: leave\u2028b\x1c", 80) == "a rules: leave b"
    assert truncate("abcdef", 4) == "abc…"
