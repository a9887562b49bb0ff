"""What people ask to be dismissed: the same guard, gate and ledger as for rules.

A person's wish stands above the rules' own belts (holds, minimum age, share, cap of a
cycle), which are there because rules act unseen.  It does not stand above protection,
a veto, the cap of the day, or the quota.
"""

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from triaged.ledger.dismissals import Source
from triaged.rules.context import build_context
from triaged.rules.evaluate import evaluate
from triaged.rules.rule import Ruleset
from triaged.rules.task import LeaveCause, Task
from triaged.triage.requests import DismissRequest, DispatchResult
from triaged.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ManualDismissal:
    """One task that a person wants dismissed, and the reason code."""

    task: Task
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualScreening:
    """Which wishes may be carried out, and why the others may not."""

    accepted: tuple[ManualDismissal, ...]
    refused: tuple[tuple[ManualDismissal, LeaveCause], ...]


def screen_manual(
    workspace: Workspace,
    ruleset: Ruleset,
    wishes: Sequence[ManualDismissal],
    tasks: Sequence[Task],
    *,
    now: datetime,
) -> ManualScreening:
    """Hold wishes against protection, vetoes, what is done and the cap of the day."""
    context = build_context(ruleset.conditions(), tasks, now=now)
    vetoed = workspace.ledger.flags.vetoed()
    confirmed = workspace.ledger.dismissals.confirmed([w.task.id or "" for w in wishes])
    spent = sum(workspace.ledger.dismissals.count_by_rule(now).values())
    room = ruleset.safety.max_dismissals_per_day - spent
    granted: list[ManualDismissal] = []
    denied: list[tuple[ManualDismissal, LeaveCause]] = []
    seen: set[str] = set()
    for wish in wishes:
        task, cause = wish.task, None
        if task.id is None or task.id in seen:
            # Listed twice, nobody knows which of the two is meant.
            cause = LeaveCause.MALFORMED
        elif not task.is_pending or task.id in confirmed:
            cause = LeaveCause.NOT_PENDING
        elif any(evaluate(c, task, context) is not False for c in ruleset.protect):
            cause = LeaveCause.PROTECTED
        elif task.id in vetoed:
            cause = LeaveCause.VETOED
        elif len(granted) >= room:
            cause = LeaveCause.OVER_CAP
        seen.add(task.id or "")
        if cause is None:
            granted.append(wish)
        else:
            denied.append((wish, cause))
    return ManualScreening(accepted=tuple(granted), refused=tuple(denied))


async def dispatch_manual(
    workspace: Workspace,
    ruleset: Ruleset,
    wishes: Sequence[ManualDismissal],
    tasks: Sequence[Task],
    *,
    source: Source,
    listed_at: datetime,
    stop: asyncio.Event,
) -> tuple[DispatchResult, ManualScreening]:
    """Dismiss what is granted still, once nobody else on this state directory does.

    While a person thought, a daemon may have spent the day's cap, or somebody vetoed.

    Raises:
        LedgerError: nothing can be remembered, so nothing is done.
    """
    async with workspace.dispatch_lock().acquired():
        workspace.rate_limiter.expire_dismissals()
        now = workspace.clock.now()
        sifted = screen_manual(workspace, ruleset, wishes, tasks, now=now)
        dispatched = await workspace.dispatcher().dispatch(
            [_order(wish, ruleset) for wish in sifted.accepted],
            source=source,
            cycle=uuid.uuid4().hex[:12],
            stop=stop,
            listed_at=listed_at,
        )
    return dispatched, sifted


def _order(wish: ManualDismissal, ruleset: Ruleset) -> DismissRequest:
    return DismissRequest(
        task=wish.task,
        rule=None,
        reason=wish.reason,
        rules_sha256=ruleset.sha256,
        trace=json.dumps({"protect": [], "rules": [], "closest_rule": None}),
    )
