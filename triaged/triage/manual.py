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
from triaged.rules.context import survey
from triaged.rules.evaluate import holds
from triaged.rules.rule import Ruleset
from triaged.rules.task import Cause, Task
from triaged.triage.requests import Carried, Order
from triaged.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Wish:
    """One task that a person wants dismissed, and the reason code."""

    task: Task
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """Which wishes may be carried out, and why the others may not."""

    granted: tuple[Wish, ...]
    denied: tuple[tuple[Wish, Cause], ...]


def sift(
    workspace: Workspace,
    ruleset: Ruleset,
    wishes: Sequence[Wish],
    tasks: Sequence[Task],
    *,
    now: datetime,
) -> Sifted:
    """Hold wishes against protection, vetoes, what is done and the cap of the day."""
    listing = survey(ruleset.conditions(), tasks, now=now)
    vetoed = workspace.ledger.marks.vetoed()
    confirmed = workspace.ledger.dismissals.confirmed([w.task.id or "" for w in wishes])
    spent = sum(workspace.ledger.dismissals.spent_on(now).values())
    room = ruleset.safety.max_dismissals_per_day - spent
    granted: list[Wish] = []
    denied: list[tuple[Wish, Cause]] = []
    seen: set[str] = set()
    for wish in wishes:
        task, cause = wish.task, None
        if task.id is None or task.id in seen:
            # Listed twice, nobody knows which of the two is meant.
            cause = Cause.MALFORMED
        elif not task.is_pending or task.id in confirmed:
            cause = Cause.NOT_PENDING
        elif any(holds(c, task, listing) is not False for c in ruleset.protect):
            cause = Cause.PROTECTED
        elif task.id in vetoed:
            cause = Cause.VETOED
        elif len(granted) >= room:
            cause = Cause.OVER_CAP
        seen.add(task.id or "")
        if cause is None:
            granted.append(wish)
        else:
            denied.append((wish, cause))
    return Sifted(granted=tuple(granted), denied=tuple(denied))


async def carry_out(
    workspace: Workspace,
    ruleset: Ruleset,
    wishes: Sequence[Wish],
    tasks: Sequence[Task],
    *,
    source: Source,
    listed_at: datetime,
    stop: asyncio.Event,
) -> tuple[Carried, Sifted]:
    """Dismiss what is granted still, once nobody else on this state directory does.

    While a person thought, a daemon may have spent the day's cap, or somebody vetoed.

    Raises:
        LedgerError: nothing can be remembered, so nothing is done.
    """
    async with workspace.gate_lock().held():
        workspace.meter.abandon_dismissals()
        now = workspace.clock.now()
        sifted = sift(workspace, ruleset, wishes, tasks, now=now)
        carried = await workspace.gate().carry_out(
            [_order(wish, ruleset) for wish in sifted.granted],
            source=source,
            cycle=uuid.uuid4().hex[:12],
            stop=stop,
            listed_at=listed_at,
        )
    return carried, sifted


def _order(wish: Wish, ruleset: Ruleset) -> Order:
    return Order(
        task=wish.task,
        rule=None,
        reason=wish.reason,
        rules_sha256=ruleset.sha256,
        trace=json.dumps({"protect": [], "rules": [], "nearest": None}),
    )
