"""The fault script: its syntax, and which call meets which fault."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.sandbox.faults import (
    OPERATIONS,
    SLOW_SECONDS,
    Fault,
    FaultKind,
    FaultScript,
    parse_fault,
)


def drawn(script: FaultScript, operations: str) -> str:
    """Draw for d(ismiss) and l(ist) calls; an x for each fault."""
    names = {"d": "dismiss", "l": "list"}
    return "".join("x" if script.draw(names[each]) else "." for each in operations)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("list:500", Fault(operation="list", kind=FaultKind.ERROR_500)),
        (
            "dismiss:cut-after:3",
            Fault(operation="dismiss", kind=FaultKind.CUT_AFTER, count=3),
        ),
        (
            "any:429-day:2@5",
            Fault(operation="any", kind=FaultKind.DAY_LIMIT, count=2, skip=5),
        ),
        (
            " approve:html:p=0.1 ",
            Fault(operation="approve", kind=FaultKind.HTML, probability=0.1),
        ),
        (
            "list:slow=1.5:2",
            Fault(operation="list", kind=FaultKind.SLOW, count=2, seconds=1.5),
        ),
        (
            "list:slow",
            Fault(operation="list", kind=FaultKind.SLOW, seconds=SLOW_SECONDS),
        ),
    ],
)
def test_syntax(text: str, fault: Fault) -> None:
    """The short form says everything that a fault is made of."""
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected OPERATION:FAULT"),
        ("dismiss", "expected OPERATION:FAULT"),
        ("dismiss:500:1:2", "expected OPERATION:FAULT"),
        ("dismis:500", "did you mean 'dismiss'?"),
        ("dismiss:cut-aftr", "did you mean 'cut-after'?"),
        ("dismiss:zzz", r"unknown fault 'zzz' \(known: 429, 429-day, "),
        ("dismiss:500:0", "at least 1"),
        ("dismiss:500:-1", "count is a whole number"),
        ("dismiss:500:²", "count is a whole number"),
        ("dismiss:500:1@", "skip is a whole number"),
        ("dismiss:500:p=1.5", "probability is from 0 to 1"),
        ("dismiss:500:p=nan", "probability is from 0 to 1"),
        ("dismiss:500:p=often", "probability is from 0 to 1"),
        ("dismiss:500=3", "only slow faults"),
        ("dismiss:slow=-1", "seconds is from 0"),
    ],
)
def test_mistakes_are_explained(text: str, said: str) -> None:
    """Somebody who typed it wrong learns what would have been right."""
    with pytest.raises(ValueError, match=said):
        parse_fault(text)


faults = st.builds(
    Fault,
    operation=st.sampled_from(OPERATIONS),
    kind=st.sampled_from(FaultKind),
    count=st.integers(1, 99),
    skip=st.integers(0, 99),
)


@given(fault=faults)
def test_text_and_fault_agree(fault: Fault) -> None:
    """What a fault renders as reads back as the same fault."""
    assert parse_fault(str(fault)) == fault


def test_text_and_chance_agree() -> None:
    """A probability reads back too."""
    assert str(parse_fault("list:html:p=0.25")) == "list:html:p=0.25"


def test_skips_then_counts_matching_calls_only() -> None:
    """Calls of other operations neither meet the fault nor use it up."""
    script = FaultScript([parse_fault("dismiss:500:2@1")])

    assert drawn(script, "ldldldld") == "...x.x.."
    assert script.active() == []


def test_any_meets_every_operation() -> None:
    """``any`` counts all calls together."""
    assert drawn(FaultScript([parse_fault("any:500:3")]), "ldldl") == "xxx.."


def test_faults_come_in_order() -> None:
    """The first one due is met; the next begins where it ended."""
    script = FaultScript([parse_fault("dismiss:500:1"), parse_fault("any:502:1@1")])
    kinds = [script.draw("dismiss") for _ in range(4)]

    assert [fault and str(fault.kind) for fault in kinds] == ["500", None, "502", None]


def test_active_tells_what_is_left() -> None:
    """Counts and skips are shown as they are now."""
    script = FaultScript([parse_fault("list:500:2@1"), parse_fault("any:html:p=0.5")])
    script.draw("list")
    script.draw("list")

    assert [str(fault) for fault in script.active()] == ["list:500:1", "any:html:p=0.5"]


def test_chance_is_seeded() -> None:
    """The same seed meets the same calls; and about as many as it says."""
    first, again, other = (
        drawn(FaultScript([parse_fault("list:500:p=0.3")], seed=seed), "l" * 500)
        for seed in (7, 7, 8)
    )

    assert first == again != other
    assert 100 < first.count("x") < 200


def test_clear_forgets() -> None:
    """After clearing, nothing goes wrong any more."""
    script = FaultScript([parse_fault("any:500:9")])
    script.clear()

    assert drawn(script, "ld") == ".."
