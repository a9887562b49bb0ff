"""The quota's windows, without any server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.sandbox.limits import Limits, Window, WindowName

DAY = 86_400.0
MIDNIGHT = 20_000 * DAY


def limits(
    *,
    minute: int | None = 2,
    day: int | None = 5,
    refused_count: bool = False,
    phase: float = 0,
) -> Limits:
    return Limits(
        minute=Window(limit=minute, seconds=60, phase=phase),
        day=Window(limit=day, seconds=DAY, phase=phase),
        refused_count=refused_count,
    )


def test_minute_is_full_after_its_calls_and_empty_in_the_next() -> None:
    """A fixed window forgets everything at its end, and not a moment before."""
    quota = limits()

    verdicts = [
        quota.consume(MIDNIGHT + at).exceeded for at in (0, 58, 59.999, 60, 60, 60)
    ]

    assert verdicts == [None, None, WindowName.MINUTE, None, None, WindowName.MINUTE]


def test_day_is_named_before_the_minute() -> None:
    """When both are spent, the day is what keeps the caller waiting."""
    quota = limits(minute=1, day=1)
    quota.consume(MIDNIGHT)

    assert quota.consume(MIDNIGHT).exceeded is WindowName.DAY
    assert quota.consume(MIDNIGHT + DAY - 0.001).exceeded is WindowName.DAY
    assert quota.consume(MIDNIGHT + DAY).exceeded is None


def test_allowance_describes_the_day_alone() -> None:
    """Limit, remaining and reset are those of the day, after the call itself."""
    allowance = limits().consume(MIDNIGHT + 10)

    assert (allowance.limit, allowance.remaining) == (5, 4)
    assert allowance.reset == MIDNIGHT + DAY


def test_retry_after_names_the_window_that_refused() -> None:
    """A full minute asks for seconds, a full day for the rest of the day."""
    quota = limits(minute=1, day=2)
    quota.consume(MIDNIGHT + 10)
    minute = quota.consume(MIDNIGHT + 10.5).retry_after
    quota.consume(MIDNIGHT + 60)
    day = quota.consume(MIDNIGHT + 60).retry_after

    assert (minute, day) == (50, DAY - 60)


@pytest.mark.parametrize(("refused_count", "left"), [(False, 3), (True, 1)])
def test_refused_calls_count_only_where_told(*, refused_count: bool, left: int) -> None:
    """Whether a 429 costs quota is unknown of the API, so both can be rehearsed."""
    quota = limits(refused_count=refused_count)
    for _ in range(4):
        quota.consume(MIDNIGHT)

    assert quota.peek(MIDNIGHT).remaining == left


def test_phase_moves_the_windows() -> None:
    """With a phase, windows begin at other moments than midnight UTC."""
    quota = limits(minute=1, phase=25)
    quota.consume(MIDNIGHT)

    assert quota.consume(MIDNIGHT + 24).exceeded is WindowName.MINUTE
    assert quota.consume(MIDNIGHT + 25).exceeded is None
    assert quota.peek(MIDNIGHT + 26).reset == MIDNIGHT + DAY + 25


def test_no_limit_is_unlimited_and_zero_is_none() -> None:
    """None lets everything through; zero lets nothing through."""
    free, closed = limits(minute=None, day=None), limits(day=0)
    for _ in range(100):
        free.consume(MIDNIGHT)

    assert free.consume(MIDNIGHT).exceeded is None
    assert free.left_in_minute(MIDNIGHT) is None
    assert closed.consume(MIDNIGHT).exceeded is WindowName.DAY


@pytest.mark.parametrize(("limit", "seconds"), [(-1, 60.0), (1, 0.0)])
def test_windows_make_sense(limit: int, seconds: float) -> None:
    """A negative limit or an empty window is refused."""
    with pytest.raises(ValueError, match=r"not negative|lasts more"):
        Window(limit=limit, seconds=seconds)


@given(
    gaps=st.lists(st.floats(0, 40), max_size=80),
    minute=st.integers(0, 6),
    day=st.integers(0, 40),
    refused_count=st.booleans(),
)
def test_no_window_ever_lets_more_through(
    gaps: list[float], minute: int, day: int, *, refused_count: bool
) -> None:
    """Whatever the arrivals, each window lets at most its limit through."""
    quota = limits(minute=minute, day=day, refused_count=refused_count)
    now, passed = MIDNIGHT, []
    for gap in gaps:
        now += gap
        if quota.consume(now).exceeded is None:
            passed.append(now)

    minutes = [int(at // 60) for at in passed]
    assert len(passed) <= day
    assert all(minutes.count(each) <= minute for each in set(minutes))
