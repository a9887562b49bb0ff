"""What forbids a dismissal, from each source, at each moment before it is sent."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.builders import T0, an_intent
from tests.fakes import RULES, TriageHarness
from triaged.errors import ConfigError, LedgerError
from triaged.ledger.dismissals import Outcome, Source
from triaged.ledger.flags import FlagName
from triaged.rules.task import Change, parse_task
from triaged.triage.evidence import change_mode
from triaged.triage.last_check import MAX_LIST_AGE
from triaged.triage.manual import ManualDismissal, ManualDispatch, dispatch_manual

Act = Callable[[TriageHarness], None]

TASK: Final = "t1"
PROTECT: Final = RULES.replace("rules:", "protect: [{type: contact_update}]\nrules:")
LEAVE: Final = RULES.replace(
    "rules:", "rules:\n  - {name: keep, match: {type: contact_update}, leave: true}"
)


def pause(harness: TriageHarness) -> None:
    harness.ledger.flags.set(FlagName.PAUSED, at=T0)


def veto(harness: TriageHarness) -> None:
    harness.ledger.vetoes.add(TASK, at=T0)


def protect(harness: TriageHarness) -> None:
    harness.rules(PROTECT)


def leave(harness: TriageHarness) -> None:
    harness.rules(LEAVE)


def demote(harness: TriageHarness) -> None:
    rule = harness.ready.ruleset.rule("clutter")
    assert rule is not None
    change_mode(harness.ledger, rule, Change.DEMOTED, {}, T0)


def delete_rules(harness: TriageHarness) -> None:
    harness.unusable = ConfigError.of_setting("TRIAGED_RULES", "there is no such file")


def set_clock(harness: TriageHarness) -> None:
    harness.rate_limiter.clock_skew = timedelta(hours=1)


def sleep_long(harness: TriageHarness) -> None:
    harness.clock.advance(MAX_LIST_AGE.total_seconds() + 1)


def lose_ledger(harness: TriageHarness) -> None:
    Path(harness.ledger.location).unlink()


def dismiss_elsewhere(harness: TriageHarness) -> None:
    task = parse_task(dict(harness.leadlex.tasks[TASK]))
    entry = harness.ledger.dismissals.record_intent(an_intent(task=task))
    harness.ledger.dismissals.record_outcome(entry, Outcome.CONFIRMED, at=T0)


def try_elsewhere(harness: TriageHarness) -> None:
    task = parse_task(dict(harness.leadlex.tasks[TASK]))
    harness.ledger.dismissals.record_intent(an_intent(task=task))


ACTS: Final[tuple[Act, ...]] = (
    pause, veto, protect, leave, demote, delete_rules, set_clock, sleep_long,
    lose_ledger, dismiss_elsewhere, try_elsewhere,
)  # fmt: skip
# A person overrides rules, not protection.
OVERRIDDEN: Final = frozenset({leave, demote})
# Nothing else dismisses once the dispatch lock is held.
BEFORE_DISPATCH: Final = frozenset({dismiss_elsewhere, try_elsewhere})


async def by_daemon(harness: TriageHarness) -> None:
    await harness.cycle()


async def by_hand(harness: TriageHarness) -> None:
    listed = await harness.reader.list_tasks()
    await dispatch_manual(
        [ManualDismissal(listed.tasks[0], "testing")],
        ManualDispatch(
            source=Source.HAND,
            tasks=listed.tasks,
            listed_at=listed.requested_at or harness.clock.now(),
        ),
        dispatcher=harness.dispatcher(),
        lock=harness.lock,
        rules=harness.in_force,
        stop=harness.stop,
    )


def after_the_list(harness: TriageHarness, act: Act) -> None:
    harness.leadlex.after_list = lambda: act(harness)


def waiting_for_the_quota(harness: TriageHarness, act: Act) -> None:
    """Act in the first wait: the list has used up the minute's only call."""

    def once() -> None:
        harness.clock.on_sleep = lambda: None
        act(harness)

    harness.clock.on_sleep = once


def connecting(harness: TriageHarness, act: Act) -> None:
    harness.leadlex.while_connecting = lambda: act(harness)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[TriageHarness]:
    harness = TriageHarness(tmp_path, limit=1)
    harness.leadlex.add(TASK)
    yield harness
    harness.ledger.close()


CASES: Final = [
    (act, moment)
    for moment in (after_the_list, waiting_for_the_quota, connecting)
    for act in ACTS
    if moment is not connecting or act not in BEFORE_DISPATCH
]


@pytest.mark.anyio
@pytest.mark.parametrize("source", [by_daemon, by_hand])
@pytest.mark.parametrize(("act", "moment"), CASES)
async def test_nothing_that_is_forbidden_is_sent(
    harness: TriageHarness,
    act: Act,
    moment: Callable[[TriageHarness, Act], None],
    source: Callable[[TriageHarness], Awaitable[None]],
) -> None:
    """Whenever it is forbidden before the first byte, whoever asked for it."""
    acted: list[Act] = []

    def noted(harness: TriageHarness) -> None:
        acted.append(act)
        act(harness)

    moment(harness, noted)
    with contextlib.suppress(ConfigError, LedgerError):
        await source(harness)
    is_overridden = source is by_hand and act in OVERRIDDEN

    assert acted == [act]
    assert harness.leadlex.dismissed == ([TASK] if is_overridden else [])


@pytest.mark.anyio
@pytest.mark.parametrize(
    "act", [each for each in ACTS if each not in {*BEFORE_DISPATCH, lose_ledger}]
)
async def test_what_was_not_sent_is_not_claimed(
    harness: TriageHarness, act: Act
) -> None:
    """An intent whose call was stopped at the connection failed, and is not spent."""
    connecting(harness, act)
    await harness.cycle()

    # Who slept for so long cannot tell any more that the call was not sent.
    used = 2 if act is sleep_long else 1

    assert harness.outcomes() == [(TASK, Outcome.FAILED)]
    assert harness.rate_limiter.snapshot().used_today == used
