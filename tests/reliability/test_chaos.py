"""Cycles through a proxy that cuts, delays, trickles, repeats and garbles."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.reliability.chaos_proxy import Manner, Mishap
from tests.reliability.chaos_rig import TOGETHER, rigged
from tests.reliability.report import FULL, Report
from triaged.leadlex import connection
from triaged.ledger.dismissals import Outcome
from triaged.triage.report import CycleResult

pytestmark = [pytest.mark.reliability, pytest.mark.anyio]

SEED: Final = 626
BYTE: Final = "byte" if FULL else "third byte"
PENDING, DISMISSED, DISMISS = b"status=pending", b"status=dismissed", b"/dismiss "


def groups(mishaps: Sequence[Mishap]) -> list[Sequence[Mishap]]:
    """Divide into groups that fly together."""
    return [mishaps[s : s + TOGETHER] for s in range(0, len(mishaps), TOGETHER)]


def cuts(manner: Manner, size: int, *, step: int = 1) -> list[Mishap]:
    """Cut after every number of bytes, by FIN and by RST in turn or, in full, both."""
    if FULL:
        return [Mishap(manner, n, r) for n in range(size + 1) for r in (False, True)]
    return [Mishap(manner, n, n % 2 == 1) for n in range(0, size + 1, step)]


def whole(manner: Manner, size: int, group: Sequence[Mishap]) -> tuple[int, int]:
    """Say how many requests arrive whole at least, and at most.

    What a reset overtakes before it was read is lost or not, as it happens.
    """
    if manner is Manner.CUT_ANSWER:
        return len(group), len(group)
    complete = [mishap for mishap in group if mishap.at == size]
    return sum(not mishap.reset for mishap in complete), len(complete)


async def test_dismissals_are_cut_at_every_byte(tmp_path: Path, report: Report) -> None:
    """A dismissal cut anywhere is unknown until a list tells, and done once."""
    async with rigged(tmp_path) as rig:
        request, answer = rig.proxy.sizes[b"POST"]
        for manner, size in (
            (Manner.CUT_REQUEST, request),
            (Manner.CUT_ANSWER, answer),
        ):
            which = manner.value.split()[1]
            promise = f"A dismissal whose {which} is cut, at every byte: done once"
            with report.trial("Faults", promise) as trial:
                seen: Counter[Outcome | None] = Counter()
                for group in groups(cuts(manner, size)):
                    ids = rig.restock(len(group))
                    rig.proxy.maim(DISMISS, *group)
                    cycled = await rig.cycle()
                    assert rig.proxy.forgive() == 0, cycled
                    least, most = whole(manner, size, group)
                    assert least <= rig.effects(ids) <= most, group
                    seen += rig.check_known(ids)
                    await rig.mend()
                    rig.check_over(ids)
                    trial.trials += len(group)
                trial.happened = told(seen)


async def test_lists_are_cut_anywhere(tmp_path: Path, report: Report) -> None:
    """A list cut anywhere costs its cycle: nothing is done on half a list."""
    async with rigged(tmp_path) as rig:
        ids = rig.restock(3)
        rig.proxy.maim(DISMISS, *[Mishap(Manner.CUT_REQUEST)] * 3)
        await rig.cycle()
        request, answer = rig.proxy.sizes[b"GET"]
        promise = f"A list is cut at every {BYTE}, there or back: nothing is done"
        with report.trial("Faults", promise) as trial:
            mishaps = cuts(Manner.CUT_REQUEST, request, step=3)
            mishaps += cuts(Manner.CUT_ANSWER, answer - 1, step=3)
            for mishap in mishaps:
                rig.proxy.maim(PENDING, mishap)
                cycled = await rig.cycle()
                assert cycled.result is CycleResult.FAILED, mishap
                assert rig.effects(ids) == 0, mishap
                trial.trials += 1
            await rig.mend()
            rig.check_over(ids)


async def test_settling_is_cut_at_many_bytes(tmp_path: Path, report: Report) -> None:
    """While the list that settles does not come whole, nothing is settled."""
    async with rigged(tmp_path) as rig:
        request, answer = rig.proxy.sizes[b"GET"]
        promise = "The list that settles is cut: unknown stays unknown until it comes"
        with report.trial("Faults", promise) as trial:
            mishaps = cuts(Manner.CUT_REQUEST, request, step=23)
            mishaps += cuts(Manner.CUT_ANSWER, answer - 1, step=23)
            for mishap in mishaps:
                ids = rig.restock(2)
                rig.proxy.maim(DISMISS, Mishap(Manner.DUMB), Mishap(Manner.DUMB))
                await rig.cycle()
                rig.proxy.maim(DISMISSED, mishap)
                await rig.cycle()
                assert rig.proxy.forgive() == 0
                assert rig.check_known(ids) == {Outcome.UNKNOWN: 2}, mishap
                await rig.mend()
                rig.check_over(ids)
                trial.trials += 1


# What a mishap leaves: the outcome of a dismissal, and the result of a list.
HARMLESS: Final = (Outcome.CONFIRMED, CycleResult.OK)
HARMFUL: Final = (Outcome.UNKNOWN, CycleResult.FAILED)
MISHAPS: Final = {
    Mishap(Manner.LATE, 0.1): HARMLESS,
    Mishap(Manner.LATE, 1.2): HARMFUL,
    Mishap(Manner.PIECES, 1): HARMLESS,
    Mishap(Manner.PIECES, 100): HARMLESS,
    Mishap(Manner.TRICKLE, 0.05): HARMFUL,
    Mishap(Manner.DUMB): HARMFUL,
    Mishap(Manner.DUMB, reset=True): HARMFUL,
    Mishap(Manner.DEAF): HARMLESS,
    Mishap(Manner.GARBAGE): HARMFUL,
    Mishap(Manner.INTERIM): HARMLESS,
    Mishap(Manner.REPEATED): HARMLESS,
}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the client a second for an answer and two for a call."""
    monkeypatch.setattr(connection, "READ_TIMEOUT", 1.0)
    monkeypatch.setattr(connection, "TOTAL_TIMEOUT", 2.0)


@pytest.mark.usefixtures("hasty")
async def test_each_mishap_has_its_end(tmp_path: Path, report: Report) -> None:
    """Late, in pieces, a byte at a time, dumb, reset, garbled: each as stated."""
    promise = "Late, trickling, closed, reset, garbled, repeated: the stated end"
    with report.trial("Faults", promise) as trial:
        async with rigged(tmp_path) as rig:
            for mishap, (outcome, result) in MISHAPS.items():
                ids = rig.restock(2)
                rig.proxy.maim(PENDING, mishap)
                listed = await rig.cycle()
                assert listed.result is result, mishap
                ids += rig.restock(2)
                rig.proxy.maim(DISMISS, mishap, mishap)
                await rig.cycle()
                ends = [rig.ends(task_id)[0] for task_id in ids]
                assert ends.count(outcome) >= 2, (mishap, ends)
                rig.check_known(ids)
                await rig.mend()
                rig.check_over(ids, times=2 if mishap.manner is Manner.REPEATED else 1)
                trial.trials += 2


async def test_nobody_is_there(tmp_path: Path, report: Report) -> None:
    """Reset on accept: the list fails, a dismissal stays open; later all is done."""
    promise = "Every connection is reset at once: nothing is done, nothing is lost"
    with report.trial("Faults", promise) as trial:
        async with rigged(tmp_path) as rig:
            for _ in range(5):
                ids = rig.restock(2)
                rig.proxy.rude = True
                rig.proxy.hang_up()
                assert (await rig.cycle()).result is CycleResult.FAILED
                assert rig.effects(ids) == 0
                rig.proxy.rude = False
                await rig.mend()
                rig.check_over(ids)
                trial.trials += 1


@pytest.mark.usefixtures("hasty")
async def test_an_answer_that_comes_twice_is_not_taken_for_another(
    tmp_path: Path, report: Report
) -> None:
    """Nobody takes the echo of one answer for the answer to what was asked next."""
    promise = "An answer comes twice on one connection: its echo answers nothing else"
    with report.trial("Faults", promise) as trial:
        async with rigged(tmp_path) as rig:
            for wanted in (PENDING, DISMISSED, DISMISS) * 3:
                ids = rig.restock(2)
                rig.proxy.maim(DISMISS, Mishap(Manner.DUMB), Mishap(Manner.DUMB))
                await rig.cycle()
                ids += rig.restock(2)
                rig.proxy.maim(wanted, Mishap(Manner.TWICE))
                await rig.cycle()
                rig.check_known(ids)
                rig.proxy.forgive()
                await rig.cycle()
                await rig.mend()
                rig.check_over(ids)
                trial.trials += 1


async def test_a_dismissal_that_arrives_after_its_settling(
    tmp_path: Path, report: Report
) -> None:
    """Held up beyond the list that found it undone, it is still ours, and counted."""
    promise = "A dismissal that arrives after a list settled it as undone is counted"
    with report.trial("Faults", promise) as trial:
        async with rigged(tmp_path) as rig:
            ids = rig.restock(1)
            rig.proxy.maim(DISMISS, Mishap(Manner.OVERTAKEN))
            await rig.cycle()
            await rig.cycle()
            await rig.cycle()

            rig.check_over(ids, times=2)
            trial.trials = 1


@pytest.mark.usefixtures("hasty")
async def test_all_of_it_at_random(tmp_path: Path, report: Report) -> None:
    """Whatever meets whatever, cycle by cycle: what is known is true, and done once."""
    random, ids = Random(SEED), list[str]()  # noqa: S311 - repeatable, not secret
    promise = "Mishaps at random in every cycle: each task done once, none miscounted"
    with report.trial("Faults", promise) as trial:
        async with rigged(tmp_path) as rig:
            for _ in range(1000 if FULL else 60):
                ids += rig.restock(random.randrange(5))
                for wanted in (PENDING, DISMISSED, DISMISS, DISMISS, DISMISS):
                    if random.random() < 0.4:
                        rig.proxy.maim(wanted, a_mishap(random))
                await rig.cycle()
                rig.check_known(ids)
                trial.trials += 1
            rig.proxy.forgive()
            for _ in range(4):
                await rig.mend()
            rig.check_over(ids, times=2)
            trial.happened = f"{len(ids)} tasks, each done once"


def a_mishap(random: Random) -> Mishap:
    """Draw a mishap; what takes long is left to the table above."""
    left = {Manner.TRICKLE, Manner.LATE, Manner.OVERTAKEN}
    manner = random.choice([manner for manner in Manner if manner not in left])
    at = random.randrange(1, 600) if manner is not Manner.PIECES else 50
    return Mishap(manner, at, reset=random.random() < 0.5)


def told(seen: Counter[Outcome | None]) -> str:
    """Say how calls ended at first."""
    return ", ".join(f"{n} {outcome}" for outcome, n in seen.most_common())
