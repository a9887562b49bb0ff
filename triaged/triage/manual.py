"""Manual dismissals: they use the same dispatcher and ledger as rules.

A manual request is exempt from the limits that exist because rules act unattended
(holds, minimum age, share, cap per cycle). It is not exempt from protection, vetoes,
the daily cap, the quota and the check of the clock.
"""

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from triaged.ledger import DispatchLock, Ledger
from triaged.ledger.dismissals import Source
from triaged.rules.context import ambiguous_rows, build_context
from triaged.rules.decide import is_protected
from triaged.rules.rule import Ruleset
from triaged.rules.task import LeaveCause, Task
from triaged.triage.dispatcher import Dispatcher
from triaged.triage.last_check import RulesInForce
from triaged.triage.requests import (
    DismissRequest,
    DispatchOrigin,
    DispatchResult,
    HaltReason,
)


@dataclass(frozen=True, slots=True)
class ManualDismissal:
    """A task that a person wants to dismiss, and the reason code."""

    task: Task
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualScreening:
    """The requests that may be sent, and the causes that block the others."""

    accepted: tuple[ManualDismissal, ...]
    refused: tuple[tuple[ManualDismissal, LeaveCause], ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ManualDispatch:
    """The origin of manual dismissals, and the list that they were chosen from.

    ``listed_at`` is when that list was requested.
    """

    source: Source
    tasks: Sequence[Task]
    listed_at: datetime
    while_paused: bool = False


def screen_manual(
    ledger: Ledger,
    ruleset: Ruleset,
    wanted: Sequence[ManualDismissal],
    tasks: Sequence[Task],
    *,
    now: datetime,
    clock_skew: timedelta,
) -> ManualScreening:
    """Check requests against protection, vetoes, the ledger and the daily cap.

    The day of the cap is the server's, whose clock is ahead by ``clock_skew``.
    """
    context = build_context(ruleset.conditions(), tasks, now=now)
    ambiguous = ambiguous_rows(tasks)
    clear = {task.id for row, task in enumerate(tasks) if row not in ambiguous}
    vetoed = ledger.vetoes.task_ids()
    confirmed = ledger.dismissals.confirmed([w.task.id or "" for w in wanted])
    unresolved = ledger.dismissals.unresolved_task_ids()
    spent = sum(ledger.dismissals.count_by_rule(now, skew=clock_skew).values())
    room = ruleset.safety.max_dismissals_per_day - spent
    accepted: list[ManualDismissal] = []
    refused: list[tuple[ManualDismissal, LeaveCause]] = []
    for each in wanted:
        task, cause = each.task, None
        if task.id is None or task.id not in clear:
            # Listed twice with different content: it is unknown which entry is meant.
            cause = LeaveCause.MALFORMED
        elif not task.is_pending or task.id in confirmed:
            cause = LeaveCause.NOT_PENDING
        elif is_protected(ruleset, task, context):
            cause = LeaveCause.PROTECTED
        elif task.id in vetoed:
            cause = LeaveCause.VETOED
        elif task.id in unresolved:
            cause = LeaveCause.HELD
        elif len(accepted) >= room:
            cause = LeaveCause.OVER_CAP
        clear.discard(task.id)  # identical entries are one task
        if cause is None:
            accepted.append(each)
        else:
            refused.append((each, cause))
    return ManualScreening(accepted=tuple(accepted), refused=tuple(refused))


async def dispatch_manual(
    wanted: Sequence[ManualDismissal],
    origin: ManualDispatch,
    *,
    dispatcher: Dispatcher,
    lock: DispatchLock,
    rules: RulesInForce,
    stop: asyncio.Event,
) -> DispatchResult:
    """Dismiss the chosen tasks, once no other process on this ledger dismisses.

    The dispatcher checks each task again: since the list was shown, a daemon may have
    used up the daily cap, or another person may have vetoed or protected the task.

    Raises:
        LedgerError: the ledger cannot be written, so nothing is done.
        ConfigError, RuleTestsFailed: no rules are in force.

    """
    async with lock.acquired(stop.is_set) as is_held:
        if not is_held:
            return DispatchResult(
                attempts=(), remaining=len(wanted), halt=HaltReason.STOPPING
            )
        dispatcher.ledger.verify()
        dispatcher.rate_limiter.expire_dismissals()
        in_force = rules()
        now, ruleset = dispatcher.clock.now(), in_force.ruleset
        dispatcher.ledger.rulesets.save(ruleset.sha256, in_force.source, at=now)
        return await dispatcher.dispatch(
            [_request(each, ruleset) for each in wanted],
            DispatchOrigin(
                source=origin.source,
                cycle=uuid.uuid4().hex[:12],
                listed_at=origin.listed_at,
                context=build_context(ruleset.conditions(), origin.tasks, now=now),
                while_paused=origin.while_paused,
            ),
            rules=rules,
            stop=stop,
        )


def _request(wanted: ManualDismissal, ruleset: Ruleset) -> DismissRequest:
    return DismissRequest(
        task=wanted.task,
        rule=None,
        reason=wanted.reason,
        rules_sha256=ruleset.sha256,
        trace=json.dumps({"protect": [], "rules": [], "closest_rule": None}),
    )
