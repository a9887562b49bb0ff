"""Tests of the digest: when it is due, and what it contains."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0
from tests.notifications import BERLIN, daily_times, dates, some_facts
from triaged.daily_time import DailyTime, parse_daily_time
from triaged.triage.agreement import Agreement
from triaged.triage.digest import (
    MAX_EXAMPLES,
    MAX_PLANNED,
    DigestFacts,
    Hold,
    TaskLine,
    build_digest,
    digest_due,
    held_within,
    must_break_silence,
)

STEP = timedelta(minutes=7)


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN.tzinfo).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "last", "expected"),
    [
        ("2026-03-02T07:59:59", "2026-03-01T08:00", False),
        ("2026-03-02T08:00:00", "2026-03-01T08:00", True),
        ("2026-03-02T08:00:01", "2026-03-02T08:00", False),
        # Down at the time, back on the same day; then on the next one.
        ("2026-03-02T23:59:59", "2026-03-01T08:00", True),
        ("2026-03-03T07:00:00", "2026-03-01T08:00", False),
        ("2026-03-03T08:00:00", "2026-02-20T08:00", True),
        # The clock was set back: by an hour, and by a week.
        ("2026-03-02T07:30:00", "2026-03-02T08:00", False),
        ("2026-03-02T08:00:00", "2026-03-09T08:00", True),
        # The time was set to a later one, after today's digest.
        ("2026-03-02T08:30:00", "2026-03-02T06:00", False),
    ],
)
def test_a_digest_is_due_once_on_each_date(
    now: str, last: str, *, expected: bool
) -> None:
    """From its time on, unless there was one on that date; nothing is caught up."""
    assert digest_due(berlin(now), BERLIN, berlin(last)) is expected


def test_the_first_digest_waits_for_its_time_only() -> None:
    """Without an earlier one it is due from the first time on."""
    assert not digest_due(berlin("2026-03-02T07:59"), BERLIN, None)
    assert digest_due(berlin("2026-03-02T08:00"), BERLIN, None)


@given(daily_times, dates)
def test_each_date_has_its_digest_and_one_only(at: DailyTime, day: date) -> None:
    """Wherever and whenever the clocks change: one a date, as soon as it is time."""
    begin, sent = at.on(day) - timedelta(hours=20), list[datetime]()
    looks = [begin + number * STEP for number in range(750)]
    last = begin
    for now in looks:
        if digest_due(now, at, last):
            sent.append(now)
            last = now

    found = [at.date_of(moment) for moment in sent]
    assert found == sorted(set(found))
    assert all(
        timedelta(0) <= now - at.on(date_) < STEP
        for now, date_ in zip(sent, found, strict=True)
    )
    # A time after the last look of its date has none.
    looked = {at.date_of(now) for now in looks if now >= at.on(at.date_of(now))}
    assert looked - {at.date_of(begin)} == set(found)


@given(daily_times, dates, st.integers(0, 24 * 60))
def test_what_was_sent_is_not_due_again(at: DailyTime, day: date, minutes: int) -> None:
    """A digest sent now is not due at any later time of the same date."""
    now = at.on(day) + timedelta(minutes=minutes)
    later = [now + timedelta(hours=hours) for hours in range(30)]

    assert not any(
        digest_due(moment, at, now)
        for moment in later
        if at.date_of(moment) == at.date_of(now)
    )


def test_silence_lasts_a_week_across_a_change_of_time() -> None:
    """A quiet week ends with a sign of life at the usual time, also in March."""
    sent = berlin("2026-03-25T08:00:10")

    assert not must_break_silence(berlin("2026-03-31T08:00"), BERLIN, sent)
    assert must_break_silence(berlin("2026-04-01T08:00"), BERLIN, sent)
    assert must_break_silence(T0, BERLIN, None)


def test_an_eventful_day_is_ordered_for_reading() -> None:
    """Rules before people, the largest first; holds by time, those overdue from now."""
    digest = build_digest(some_facts())

    rows = [(row.rule, row.count) for row in digest.dismissed]
    assert rows == [("test-clutter", 12), ("stale-searches", 1), (None, 2)]
    assert [(row.task.task_id[:8], row.due) for row in digest.planned] == [
        ("7a3c0006", T0),
        ("7a3c0005", T0 + timedelta(hours=5)),
    ]
    assert digest.observed[0].agreement == Agreement(37, 2)
    assert [change.rule for change in digest.changes] == ["stale-searches", "old-lists"]


@pytest.mark.parametrize(
    "facts",
    [
        {"dismissed": {("a", "testing"): 1}},
        {"holds": [Hold("t", "a", T0)]},
        {"observed": {"a": 1}},
        {"decided": {"a": (0, 1)}},
        {"changes": some_facts().changes},
        {"problems": ["paused"]},
    ],
)
def test_whatever_happened_is_worth_a_digest(facts: dict[str, object]) -> None:
    """Only a day without any of these is empty."""
    day = {"workspace": "acme", "since": T0 - timedelta(days=1), "until": T0}
    nothing = build_digest(DigestFacts(**day))  # type: ignore[arg-type]
    something = build_digest(DigestFacts(**day, **facts))  # type: ignore[arg-type]

    assert nothing.is_empty
    assert not something.is_empty


@given(
    st.lists(
        st.builds(
            Hold,
            st.text(max_size=3),
            st.sampled_from("ab"),
            st.integers(-50, 50).map(lambda hours: T0 + timedelta(hours=hours)),
        ),
        max_size=60,
    ),
    st.integers(0, 10),
)
def test_a_digest_is_bounded_and_counts_everything(
    holds: list[Hold], examples: int
) -> None:
    """However much is planned and dismissed, lists are short and totals are true."""
    key = ("a", "testing")
    lines = [TaskLine(str(number), "") for number in range(examples)]
    digest = build_digest(
        some_facts(holds=holds, examples={key: lines}, dismissed={key: 99})
    )

    assert len(digest.planned) == min(digest.planned_total, MAX_PLANNED)
    assert digest.planned_total == len(held_within(holds, T0))
    assert len(digest.dismissed[0].examples) <= MAX_EXAMPLES
    assert digest.dismissed_total == 99
    dues = [row.due for row in digest.planned]
    assert dues == sorted(dues)
    assert all(T0 <= due <= T0 + timedelta(days=1) for due in dues)


def test_a_time_may_be_parsed_and_compared() -> None:
    """The same setting gives an equal value, so that a reload sees no change."""
    assert parse_daily_time("08:00 Europe/Berlin") == BERLIN
