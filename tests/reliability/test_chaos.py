"""Cycles through a proxy that cuts, delays, trickles, repeats and garbles."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.reliability.chaos_proxy import FaultMode, ProxyFault
from tests.reliability.proxy_harness import TOGETHER, proxy_harness
from tests.reliability.report import FULL, Report
from triaged.leadlex import clients, connection
from triaged.ledger.dismissals import Outcome
from triaged.triage.report import CycleResult

pytestmark = [pytest.mark.reliability, pytest.mark.anyio]

SEED: Final = 626
BYTE: Final = "byte" if FULL else "third byte"
PENDING, DISMISSED, DISMISS = b"status=pending", b"status=dismissed", b"/dismiss "


def groups(proxy_faults: Sequence[ProxyFault]) -> list[Sequence[ProxyFault]]:
    """Divide into groups that fly together."""
    return [
        proxy_faults[s : s + TOGETHER] for s in range(0, len(proxy_faults), TOGETHER)
    ]


def cuts(manner: FaultMode, size: int, *, step: int = 1) -> list[ProxyFault]:
    """Cut after every number of bytes, by FIN and by RST in turn or, in full, both."""
    if FULL:
        return [
            ProxyFault(manner, n, r) for n in range(size + 1) for r in (False, True)
        ]
    return [ProxyFault(manner, n, n % 2 == 1) for n in range(0, size + 1, step)]


def whole(manner: FaultMode, size: int, group: Sequence[ProxyFault]) -> tuple[int, int]:
    """Say how many requests arrive whole at least, and at most.

    What a reset overtakes before it was read is lost or not, as it happens.
    """
    if manner is FaultMode.CUT_ANSWER:
        return len(group), len(group)
    complete = [mishap for mishap in group if mishap.at == size]
    return sum(not mishap.reset for mishap in complete), len(complete)


async def test_dismissals_are_cut_at_every_byte(tmp_path: Path, report: Report) -> None:
    """A dismissal cut anywhere is unknown until a list tells, and done once."""
    async with proxy_harness(tmp_path) as harness:
        request, answer = harness.proxy.sizes[b"POST"]
        for manner, size in (
            (FaultMode.CUT_REQUEST, request),
            (FaultMode.CUT_ANSWER, answer),
        ):
            which = manner.value.split()[1]
            guarantee = f"A dismissal whose {which} is cut, at every byte: done once"
            with report.check("Faults", guarantee) as check:
                seen: Counter[Outcome | None] = Counter()
                for group in groups(cuts(manner, size)):
                    ids = harness.restock(len(group))
                    harness.proxy.maim(DISMISS, *group)
                    cycled = await harness.cycle()
                    assert harness.proxy.forgive() == 0, cycled
                    least, most = whole(manner, size, group)
                    assert least <= harness.effects(ids) <= most, group
                    seen += harness.check_known(ids)
                    await harness.recover()
                    harness.check_over(ids)
                    check.runs += len(group)
                check.result = told(seen)


async def test_lists_are_cut_anywhere(tmp_path: Path, report: Report) -> None:
    """A list cut anywhere costs its cycle: nothing is done on half a list."""
    async with proxy_harness(tmp_path) as harness:
        ids = harness.restock(3)
        harness.proxy.maim(DISMISS, *[ProxyFault(FaultMode.CUT_REQUEST)] * 3)
        await harness.cycle()
        request, answer = harness.proxy.sizes[b"GET"]
        guarantee = f"A list is cut at every {BYTE}, there or back: nothing is done"
        with report.check("Faults", guarantee) as check:
            proxy_faults = cuts(FaultMode.CUT_REQUEST, request, step=3)
            proxy_faults += cuts(FaultMode.CUT_ANSWER, answer - 1, step=3)
            for mishap in proxy_faults:
                harness.proxy.maim(PENDING, mishap)
                cycled = await harness.cycle()
                assert cycled.result is CycleResult.FAILED, mishap
                assert harness.effects(ids) == 0, mishap
                check.runs += 1
            await harness.recover()
            harness.check_over(ids)


async def test_settling_is_cut_at_many_bytes(tmp_path: Path, report: Report) -> None:
    """While the list that settles does not come whole, nothing is settled."""
    async with proxy_harness(tmp_path) as harness:
        request, answer = harness.proxy.sizes[b"GET"]
        guarantee = "The list that settles is cut: unknown stays unknown until it comes"
        with report.check("Faults", guarantee) as check:
            proxy_faults = cuts(FaultMode.CUT_REQUEST, request, step=23)
            proxy_faults += cuts(FaultMode.CUT_ANSWER, answer - 1, step=23)
            for mishap in proxy_faults:
                ids = harness.restock(2)
                harness.proxy.maim(
                    DISMISS, ProxyFault(FaultMode.DUMB), ProxyFault(FaultMode.DUMB)
                )
                await harness.cycle()
                harness.proxy.maim(DISMISSED, mishap)
                await harness.cycle()
                assert harness.proxy.forgive() == 0
                assert harness.check_known(ids) == {Outcome.UNKNOWN: 2}, mishap
                await harness.recover()
                harness.check_over(ids)
                check.runs += 1


# What a mishap leaves: the outcome of a dismissal, and the result of a list.
HARMLESS: Final = (Outcome.CONFIRMED, CycleResult.OK)
HARMFUL: Final = (Outcome.UNKNOWN, CycleResult.FAILED)
MISHAPS: Final = {
    ProxyFault(FaultMode.LATE, 0.1): HARMLESS,
    ProxyFault(FaultMode.LATE, 1.2): HARMFUL,
    ProxyFault(FaultMode.PIECES, 1): HARMLESS,
    ProxyFault(FaultMode.PIECES, 100): HARMLESS,
    ProxyFault(FaultMode.TRICKLE, 0.05): HARMFUL,
    ProxyFault(FaultMode.DUMB): HARMFUL,
    ProxyFault(FaultMode.DUMB, reset=True): HARMFUL,
    ProxyFault(FaultMode.DEAF): HARMLESS,
    ProxyFault(FaultMode.GARBAGE): HARMFUL,
    ProxyFault(FaultMode.INTERIM): HARMLESS,
    ProxyFault(FaultMode.REPEATED): HARMLESS,
}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the client a second for an answer and two for a call."""
    monkeypatch.setattr(clients, "READ_TIMEOUT", 1.0)
    monkeypatch.setattr(connection, "TOTAL_TIMEOUT", 2.0)


@pytest.mark.usefixtures("hasty")
async def test_each_mishap_has_its_end(tmp_path: Path, report: Report) -> None:
    """Late, in pieces, a byte at a time, dumb, reset, garbled: each as stated."""
    guarantee = "Late, trickling, closed, reset, garbled, repeated: the stated end"
    with report.check("Faults", guarantee) as check:
        async with proxy_harness(tmp_path) as harness:
            for mishap, (outcome, result) in MISHAPS.items():
                ids = harness.restock(2)
                harness.proxy.maim(PENDING, mishap)
                listed = await harness.cycle()
                assert listed.result is result, mishap
                ids += harness.restock(2)
                harness.proxy.maim(DISMISS, mishap, mishap)
                await harness.cycle()
                ends = [harness.ends(task_id)[0] for task_id in ids]
                assert ends.count(outcome) >= 2, (mishap, ends)
                harness.check_known(ids)
                await harness.recover()
                harness.check_over(
                    ids, times=2 if mishap.manner is FaultMode.REPEATED else 1
                )
                check.runs += 2


async def test_no_server_answers(tmp_path: Path, report: Report) -> None:
    """Reset on accept: the list fails, a dismissal stays open; later all is done."""
    guarantee = "Every connection is reset at once: nothing is done, nothing is lost"
    with report.check("Faults", guarantee) as check:
        async with proxy_harness(tmp_path) as harness:
            for _ in range(5):
                ids = harness.restock(2)
                harness.proxy.rude = True
                harness.proxy.hang_up()
                assert (await harness.cycle()).result is CycleResult.FAILED
                assert harness.effects(ids) == 0
                harness.proxy.rude = False
                await harness.recover()
                harness.check_over(ids)
                check.runs += 1


@pytest.mark.usefixtures("hasty")
async def test_an_answer_that_comes_twice_is_not_taken_for_another(
    tmp_path: Path, report: Report
) -> None:
    """A repeated answer is not taken for the answer to the next request."""
    guarantee = "An answer comes twice on one connection: its echo answers nothing else"
    with report.check("Faults", guarantee) as check:
        async with proxy_harness(tmp_path) as harness:
            for wanted in (PENDING, DISMISSED, DISMISS) * 3:
                ids = harness.restock(2)
                harness.proxy.maim(
                    DISMISS, ProxyFault(FaultMode.DUMB), ProxyFault(FaultMode.DUMB)
                )
                await harness.cycle()
                ids += harness.restock(2)
                harness.proxy.maim(wanted, ProxyFault(FaultMode.TWICE))
                await harness.cycle()
                harness.check_known(ids)
                harness.proxy.forgive()
                await harness.cycle()
                await harness.recover()
                harness.check_over(ids)
                check.runs += 1


async def test_a_dismissal_that_arrives_after_its_settling(
    tmp_path: Path, report: Report
) -> None:
    """Held up beyond the list that found it undone, it is still ours, and counted."""
    guarantee = "A dismissal that arrives after a list settled it as undone is counted"
    with report.check("Faults", guarantee) as check:
        async with proxy_harness(tmp_path) as harness:
            ids = harness.restock(1)
            harness.proxy.maim(DISMISS, ProxyFault(FaultMode.OVERTAKEN))
            await harness.cycle()
            await harness.cycle()
            await harness.cycle()

            harness.check_over(ids, times=2)
            check.runs = 1


@pytest.mark.usefixtures("hasty")
async def test_all_of_it_at_random(tmp_path: Path, report: Report) -> None:
    """Whatever meets whatever, cycle by cycle: what is known is true, and done once."""
    random, ids = Random(SEED), list[str]()  # noqa: S311 - repeatable, not secret
    guarantee = "Mishaps at random in every cycle: each task done once, none miscounted"
    with report.check("Faults", guarantee) as check:
        async with proxy_harness(tmp_path) as harness:
            for _ in range(1000 if FULL else 60):
                ids += harness.restock(random.randrange(5))
                for wanted in (PENDING, DISMISSED, DISMISS, DISMISS, DISMISS):
                    if random.random() < 0.4:
                        harness.proxy.maim(wanted, a_proxy_fault(random))
                await harness.cycle()
                harness.check_known(ids)
                check.runs += 1
            harness.proxy.forgive()
            for _ in range(4):
                await harness.recover()
            harness.check_over(ids, times=2)
            check.result = f"{len(ids)} tasks, each done once"


def a_proxy_fault(random: Random) -> ProxyFault:
    """Draw a mishap; what takes long is left to the table above."""
    left = {FaultMode.TRICKLE, FaultMode.LATE, FaultMode.OVERTAKEN}
    manner = random.choice([manner for manner in FaultMode if manner not in left])
    at = random.randrange(1, 600) if manner is not FaultMode.PIECES else 50
    return ProxyFault(manner, at, reset=random.random() < 0.5)


def told(seen: Counter[Outcome | None]) -> str:
    """Say how calls ended at first."""
    return ", ".join(f"{n} {outcome}" for outcome, n in seen.most_common())
