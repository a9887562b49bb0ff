"""The fault script: its syntax, and which call meets which fault."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.sandbox.faults import (
    DESCRIPTIONS,
    LIST_KINDS,
    OPERATIONS,
    Fault,
    FaultKind,
    FaultScript,
    parse_fault,
)


def drawn(script: FaultScript, operations: str) -> str:
    """Draw for d(ismiss) and l(ist) calls; an x for each fault."""
    names = {"d": "dismiss", "l": "list"}
    return "".join(
        "x" if script.next_fault(names[each]) else "." for each in operations
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("list:500", Fault(operation="list", kind=FaultKind.ERROR_500)),
        (
            "dismiss:drop-after-effect:3",
            Fault(operation="dismiss", kind=FaultKind.DROP_AFTER_EFFECT, count=3),
        ),
        (
            "any:daily-429:2@5",
            Fault(operation="any", kind=FaultKind.DAY_LIMIT, count=2, skip=5),
        ),
        (
            " approve:html:p=0.1 ",
            Fault(operation="approve", kind=FaultKind.HTML, probability=0.1),
        ),
        (
            "list:slow=1.5:2",
            Fault(operation="list", kind=FaultKind.SLOW, count=2, value=1.5),
        ),
        (
            "list:slow",
            Fault(operation="list", kind=FaultKind.SLOW),
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
        ("dismiss:drop-after-efect", "did you mean 'drop-after-effect'?"),
        ("dismiss:zzz", r"unknown fault 'zzz' \(known: 429, daily-429, "),
        ("dismiss:500:0", "at least 1"),
        ("dismiss:500:-1", "count is an integer"),
        ("dismiss:500:²", "count is an integer"),
        ("dismiss:500:1@", "skip is an integer"),
        ("dismiss:500:p=1.5", "probability is from 0 to 1"),
        ("dismiss:500:p=nan", "probability is from 0 to 1"),
        ("dismiss:500:p=often", "probability is from 0 to 1"),
        ("dismiss:500=3", "only these take a value: slow"),
        ("dismiss:slow=-1", "value is from 0"),
        ("dismiss:paged", "paged is for lists"),
    ],
)
def test_mistakes_are_explained(text: str, said: str) -> None:
    """The message of a mistake names what is expected."""
    with pytest.raises(ValueError, match=said):
        parse_fault(text)


faults = st.builds(
    Fault,
    operation=st.sampled_from(OPERATIONS),
    kind=st.sampled_from(FaultKind),
    count=st.integers(1, 99),
    skip=st.integers(0, 99),
).filter(lambda fault: fault.kind not in LIST_KINDS or fault.matches("list"))


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
    kinds = [script.next_fault("dismiss") for _ in range(4)]

    assert [fault and str(fault.kind) for fault in kinds] == ["500", None, "502", None]


def test_active_tells_what_is_left() -> None:
    """Counts and skips are shown as they are now."""
    script = FaultScript([parse_fault("list:500:2@1"), parse_fault("any:html:p=0.5")])
    script.next_fault("list")
    script.next_fault("list")

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


def test_every_kind_is_described() -> None:
    """The help of the command has a line for each kind."""
    assert set(DESCRIPTIONS) == set(FaultKind)
