"""Clocks that jump, stand still or are wrong, on machines in this process."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.e2e.harness import RULES
from tests.reliability.clock_harness import JUMPS, Site, site
from tests.reliability.report import FULL, Report
from triaged.rules.task import LeaveCause

pytestmark = [pytest.mark.reliability, pytest.mark.anyio]

SEED: Final = 622
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
TOLERANCE: Final = timedelta(minutes=2)

# What a small plan allows, and what of a day is left to others.
A_MINUTE, A_DAY, RESERVE = 10, 100, 20

HELD: Final = RULES.replace(
    "  - name: clutter\n", "  - name: clutter\n    hold: 24h\n", 1
)


@pytest.mark.parametrize("seconds", [119, -119, 121, -121, 3600, -86_400, 40_000_000])
async def test_a_wrong_clock(tmp_path: Path, seconds: int, report: Report) -> None:
    """Two minutes off all goes on; beyond, nothing is dismissed until it is right."""
    within = abs(seconds) < TOLERANCE.total_seconds()
    what = "goes on" if within else "dismisses nothing, says why, recovers"
    how = "within" if within else "beyond"
    guarantee = f"A clock off the server's, {how} two minutes: {what}"
    with report.check("Clocks", guarantee) as check:
        async with site(tmp_path) as here:
            here.restock(3)
            here.machine.error = timedelta(seconds=seconds)
            first = await here.cycle()
            done = here.done()
            here.machine.error = timedelta(0)
            here.machine.pass_by(MINUTE)
            second = await here.cycle()

            assert done == (set(here.ids) if within else set())
            assert (first.breaker is None) == within
            assert within or first.left_by_cause == {LeaveCause.BREAKER: 3}
            assert within or f"{-seconds:+} s off" in (first.breaker or "")
            assert second.breaker is None
            assert sorted(here.confirmed()) == sorted(here.done()) == here.ids
            check.runs = 2


@pytest.mark.parametrize(
    ("date", "is_trusted"),
    [
        ("Sat, 31 Dec 2016 23:59:60 GMT", True),
        ("not a date", True),
        ("", True),
        ("Mon, 02 Mar 2026 06:00:00 +9999", True),
        ("Mon, 02 Mar 2026 06:00:00", True),
        ("Fri, 31 Dec 9999 23:59:59 GMT", False),
        ("Mon, 01 Jan 0001 00:00:00 GMT", False),
        ("Thu, 01 Jan 1970 00:00:00 GMT", False),
    ],
)
async def test_an_odd_date(
    tmp_path: Path,
    date: str,
    is_trusted: bool,
    monkeypatch: pytest.MonkeyPatch,
    report: Report,
) -> None:
    """An unreadable Date tells nothing; one that is years off is a wrong clock."""
    monkeypatch.setattr("triaged.sandbox.app.format_datetime", lambda *_, **__: date)
    what = "tells nothing of the clock" if is_trusted else "opens the breaker"
    which = "cannot be read" if is_trusted else "is years off"
    guarantee = f"A `Date` that {which} {what}, and breaks nothing"
    with report.check("Clocks", guarantee) as check:
        async with site(tmp_path) as here:
            here.restock(2)
            cycled = await here.cycle()

            assert (cycled.breaker is None) == is_trusted
            assert here.done() == (set(here.ids) if is_trusted else set())
            check.runs = 1


@dataclass(slots=True)
class Totals:
    """What jumps cost, added up: calls refused, and calls beyond the day's share."""

    jumps: int = 0
    calls: int = 0
    refused: int = 0
    beyond: int = 0


async def test_jumps_between_and_within_cycles(tmp_path: Path, report: Report) -> None:
    """Whatever the clock does, the server sees no more than its limits allow."""
    random, totals = Random(SEED), Totals()  # noqa: S311 - repeatable, not secret
    guarantee = "Jumps from a minute to years, between and within cycles: within limits"
    with report.check("Clocks", guarantee) as check:
        for number in range(100 if FULL else 5):
            directory = tmp_path / str(number)
            directory.mkdir()
            async with site(directory, minute=A_MINUTE, day=A_DAY) as here:
                await leap(here, random, totals)
                check_limits(here, totals)
            check.runs = totals.jumps
        assert totals.refused <= totals.jumps
        # The clock of the boot tells how long a day is, whatever the wall clock does.
        assert totals.beyond == 0
        check.result = (
            f"{totals.calls:,} calls; {totals.refused} refused by the minute,"
            f" {totals.beyond} into a day's reserve; no task done twice or lost"
        )


async def leap(here: Site, random: Random, totals: Totals) -> None:
    """Live through forty cycles with jumps before and within them."""
    for _ in range(40):
        here.restock(random.randrange(15))
        jump = random.choice(JUMPS) if random.random() < 0.3 else timedelta(0)
        # No poll is further away than the day's reset, however the clock was set.
        assert here.wait_for_next_poll(5 * MINUTE, jump) <= DAY + HOUR
        if random.random() < 0.3:
            here.machine.suspend(random.choice([MINUTE, HOUR, 3 * DAY]))
        if is_within := random.random() < 0.3:
            operation = random.choice(["list", "dismiss"])
            here.within(operation, 1, adds(here, random.choice(JUMPS)))
        totals.jumps += bool(jump) + is_within
        error, before = here.machine.error, len(here.done())
        await here.cycle()
        if abs(error) > TOLERANCE and here.machine.error == error:
            assert len(here.done()) == before
        if random.random() < 0.5:
            here.machine.error = timedelta(0)


def check_limits(here: Site, totals: Totals) -> None:
    """Look at the calls by the server's own windows, and at what was done."""
    taken = [call for call in here.calls() if call.status != "429"]
    minutes = Counter(int(call.at.timestamp() // 60) for call in taken)
    days = Counter(int(call.at.timestamp() // 86_400) for call in taken)
    assert max(minutes.values()) <= A_MINUTE
    assert max(days.values()) <= A_DAY
    totals.calls += len(here.calls())
    totals.refused += len(here.calls()) - len(taken)
    totals.beyond += sum(max(n - (A_DAY - RESERVE), 0) for n in days.values())
    assert here.machine.longest_nap <= DAY.total_seconds()
    assert sorted(here.confirmed()) == sorted(here.done())
    assert all(
        here.sandbox.world.store.request_count(each) <= 1 for each in here.done()
    )


def adds(here: Site, jump: timedelta) -> Callable[[], None]:
    def add() -> None:
        here.machine.error += jump

    return add


async def test_nothing_is_caught_up_after_a_suspension(
    tmp_path: Path, report: Report
) -> None:
    """After hours asleep there is one list, not one for every poll that was missed."""
    guarantee = (
        "A machine asleep for hours, between or within cycles: nothing caught up"
    )
    with report.check("Clocks", guarantee) as check:
        async with site(tmp_path) as here:
            for hours in (1, 8, 24, 400):
                here.restock(2)
                here.machine.suspend(hours * HOUR)
                before = len(here.calls())
                await here.cycle()
                spent = len(here.calls()) - before
                assert spent == 3
                assert here.wait_for_next_poll(5 * MINUTE, timedelta(0)) >= 5 * MINUTE
                here.restock(2)
                here.within("list", 1, lambda: here.machine.suspend(8 * HOUR))
                await here.cycle()
                await here.cycle()
                assert here.done() == set(here.ids)
                check.runs += 2


async def test_a_list_of_before_the_suspension_is_too_old(
    tmp_path: Path, report: Report
) -> None:
    """What was listed before the machine slept is listed again before more is done."""
    guarantee = "Asleep amid dismissals: the rest waits for a fresh list"
    with report.check("Clocks", guarantee) as check:
        async with site(tmp_path, minute=1000, day=10_000) as here:
            here.restock(25)
            here.within("dismiss", 1, lambda: here.machine.suspend(8 * HOUR))
            first = await here.cycle()
            done = len(here.done())
            await here.cycle()

            assert str(first.halt) == "stale"
            assert done < 25
            assert here.done() == set(here.ids)
            assert sorted(here.confirmed()) == sorted(here.done())
            check.runs, check.result = 1, f"{done} of 25 were on their way"


@pytest.mark.parametrize("days", [-10, 10])
async def test_a_wrong_clock_does_not_change_a_hold(
    tmp_path: Path, days: int, report: Report
) -> None:
    """A hold of a day is a day, though it began while the clock was wrong."""
    guarantee = "A hold of 24h that began with the clock days off is 24h"
    with report.check("Clocks", guarantee) as check:
        async with site(tmp_path, rules=HELD) as here:
            here.restock(1)
            here.machine.error = timedelta(days=days)
            await here.cycle()
            here.machine.error = timedelta(0)
            here.machine.pass_by(HOUR)
            await here.cycle()
            early = len(here.done())
            here.machine.pass_by(DAY)
            await here.cycle()

            assert early == 0
            assert here.done() == set(here.ids)
            check.runs = 1
