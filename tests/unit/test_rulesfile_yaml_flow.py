"""Values written as YAML: read again by our own loader they are the same."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.rules.task import Json, json_equal
from triaged.rulesfile.lint.yaml_flow import can_flow, flow
from triaged.rulesfile.parser.literals import JsonValue
from triaged.rulesfile.parser.nodes import compose
from triaged.rulesfile.problems import ProblemCollector

_TEXTS: Final = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["no", "12:30", "1.10", "1e5", "0x1f", "~", "null", "true", "2026-03-01", "=",
         "<<", "- a", "a: b", "a #b", "it's", "a ", " a", "*a", "&a", "!a", "{a}",
         "1d", "1_000", ".5", "+1", "y", "", "a,b", "\u2028", "\x7f", "a\nb", "%a"]
    ),
)  # fmt: skip
_SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**45), 10**45),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1e6, 1e6).map(lambda number: round(number, 2)),
    _TEXTS,
)
_VALUES: Final[st.SearchStrategy[Json]] = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3)
    ),
    max_leaves=8,
)


def read(text: str) -> Json:
    report = ProblemCollector("rules.yaml")
    node = compose(f"value: {text}\n".encode(), report)
    value = JsonValue(null=True).read(node, report)
    assert not report.problems
    assert isinstance(value, dict)
    return value["value"]


@given(_VALUES.filter(can_flow))
def test_what_is_written_is_read_again(value: Json) -> None:
    """Any JSON value that a rules file can hold comes back as it was, on one line."""
    text = flow(value)

    assert "\n" not in text
    assert json_equal(read(text), value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"type": "audit", "age": "1d12h"}, "{type: audit, age: 1d12h}"),
        ({"description": "Find 20 lawyers"}, "{description: Find 20 lawyers}"),
        ({"description": "[TEST] it's"}, "{description: '[TEST] it''s'}"),
        (["no", "1.10", True, 1.5, None], "['no', '1.10', true, 1.5, null]"),
        ("a\nb", r'"a\nb"'),
        ('a\\n"b"\n', r'"a\\n\"b\"\n"'),
    ],
)  # fmt: skip
def test_it_looks_as_people_write(value: Json, text: str) -> None:
    """Quotes are only where they are needed."""
    assert flow(value) == text


@pytest.mark.parametrize(
    "value", [10**41, 1e300, 1e-9, {"": 1}, ["\ud800"], {"\ud800": 1}, "e\u0301", -0.0]
)
def test_what_no_file_can_hold_is_known(value: Json) -> None:
    """The loader refuses such values, so they are not to be written."""
    assert not can_flow(value)
