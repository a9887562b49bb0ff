"""One round: list, settle what was unknown, decide, guard, dismiss, remember.

It knows neither schedule nor signals; the daemon and ``run --once`` call it.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import structlog

from triaged.clock import Clock
from triaged.errors import QuotaSpent
from triaged.leadlex.errors import KeyRefused, LexiError, RateLimited
from triaged.leadlex.models import DISMISSED, PENDING
from triaged.ledger import GateLock, Ledger
from triaged.ledger.dismissals import Entry, Outcome, Source
from triaged.ledger.flags import MarkName
from triaged.quota import Purpose
from triaged.rules.context import Listing, ordered_duplicates, survey
from triaged.rules.explain import explain
from triaged.rules.explain_json import trace_text
from triaged.rules.task import Cause, Decision, Dismissal, Task
from triaged.rulesfile.loader import Rules
from triaged.triage.assessment import Judge, new_holds
from triaged.triage.dispatcher import Gate
from triaged.triage.feedback import People
from triaged.triage.guard import Past, Screened
from triaged.triage.rate_limiter import Meter, MeteredReader
from triaged.triage.reconcile import still_pending, vanished_outcomes
from triaged.triage.report import CycleReport, Result
from triaged.triage.requests import Carried, Order, count

log = structlog.get_logger()


class Cycle:
    """Runs cycles for one workspace; without a gate it is a dry run."""

    def __init__(
        self,
        *,
        reader: MeteredReader,
        gate: Gate | None,
        gate_lock: GateLock,
        ledger: Ledger,
        meter: Meter,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._gate = gate
        self._gate_lock = gate_lock
        self._ledger = ledger
        self._meter = meter
        self._clock = clock
        self._judge = Judge(ledger)
        self._people = People(reader, ledger, meter, clock)

    async def run(self, rules: Rules, *, stop: asyncio.Event) -> CycleReport:
        """Run one cycle; what LeadLex or the quota denies ends up in the report.

        Raises:
            LedgerError: nothing can be remembered, so nothing is done.
        """
        started, clock = self._clock.monotonic(), self._clock.now()
        cycle_id = uuid.uuid4().hex[:12]
        with structlog.contextvars.bound_contextvars(cycle=cycle_id):
            async with self._gate_lock.held():
                self._meter.abandon_dismissals()
                round_ = _Round(cycle_id, clock)
                try:
                    await self._go(round_, rules, stop)
                except (LexiError, QuotaSpent) as error:
                    round_.error = error
                return round_.report(self._clock.monotonic() - started)

    async def _go(self, round_: "_Round", rules: Rules, stop: asyncio.Event) -> None:
        listed = await self._reader.list_tasks(PENDING)
        listed_at = self._clock.now()
        round_.see(listed.tasks)
        await self._settle(round_, listed.tasks)
        skew = self._meter.clock_skew
        screened, past = self._judge.assess(
            rules, listed.tasks, now=listed_at, clock_skew=skew
        )
        round_.screened = screened
        listing = survey(rules.ruleset.conditions(), listed.tasks, now=listed_at)
        with self._ledger.transaction():
            self._remember(round_, rules, screened, past, listing)
        if self._gate is not None and screened.due:
            round_.carried = await self._gate.carry_out(
                make_orders(screened.due, rules, listing),
                source=Source.DAEMON,
                cycle=round_.id,
                stop=stop,
                listed_at=listed_at,
            )
        if round_.is_at_ease() and not stop.is_set():
            pending = {task.id for task in listed.tasks if task.id}
            await self._people.ask_when_due(pending, now=self._clock.now())

    async def _settle(self, round_: "_Round", tasks: Sequence[Task]) -> None:
        """Find out what became of the dismissals that nobody knows about."""
        entries = self._ledger.dismissals.open()
        if not entries:
            return
        pending = {task.id for task in tasks if task.is_pending and task.id}
        waiting, vanished = still_pending(entries, pending)
        found = [(entry, Outcome.FAILED) for entry in waiting]
        self._write_down(round_, found)
        if vanished:
            await self._settle_vanished(round_, vanished)

    async def _settle_vanished(
        self, round_: "_Round", vanished: Sequence[Entry]
    ) -> None:
        """Ask once, for all at once, which of them are dismissed."""
        try:
            listed = await self._reader.list_tasks(DISMISSED, purpose=Purpose.SETTLE)
        except KeyRefused:
            raise
        except LexiError as error:
            # They stay unknown until a later list tells; the others need not wait.
            round_.error = error
            return
        dismissed = {task.id for task in listed.tasks if task.id}
        confirmed = self._ledger.dismissals.confirmed([e.task_id for e in vanished])
        self._write_down(round_, vanished_outcomes(vanished, dismissed, confirmed))

    def _write_down(
        self, round_: "_Round", found: Sequence[tuple[Entry, Outcome]]
    ) -> None:
        at = self._clock.now()
        with self._ledger.transaction():
            for entry, outcome in found:
                self._ledger.dismissals.settle(entry.id, outcome, at=at)
                count(self._ledger, entry.rule, entry.reason, outcome)
        for entry, outcome in found:
            log.info(
                "dismissal.settled",
                task=entry.task_id,
                rule=entry.rule,
                reason=entry.reason,
                outcome=outcome,
            )
        round_.settled += found

    def _remember(
        self,
        round_: "_Round",
        rules: Rules,
        screened: Screened,
        past: Past,
        listing: Listing,
    ) -> None:
        judgements, marks = self._ledger.judgements, self._ledger.marks
        sha256, at = rules.ruleset.sha256, listing.now
        judgements.remember_rules(sha256, rules.text, at=at)
        judgements.remember(
            screened.decisions,
            rules_sha256=sha256,
            listing=listing,
            duplicates=ordered_duplicates(rules.ruleset.conditions()),
            at=at,
        )
        judgements.replace_holds(new_holds(rules.ruleset, screened, past, at))
        ripe = list(screened.ripe)
        if self._gate is None:
            ripe += [
                (d.task, Dismissal(d.rule or "", d.reason or "")) for d in screened.due
            ]
        round_.observed = judgements.observe(ripe, at=at)
        for rule, reason in round_.observed:
            marks.add("observed", rule, reason)
        if screened.breaker is None:
            marks.remove(MarkName.BREAKER)
        elif marks.put(MarkName.BREAKER, note=screened.breaker, at=at):
            log.warning("breaker.opened", why=screened.breaker)


class _Round:
    """What one cycle has come to know so far; becomes its report."""

    def __init__(self, cycle_id: str, started_at: datetime) -> None:
        self.id = cycle_id
        self._started_at = started_at
        self._pending: Counter[str] | None = None
        self._oldest_at: datetime | None = None
        self.settled: list[tuple[Entry, Outcome]] = []
        self.observed: list[Dismissal] = []
        self.screened: Screened | None = None
        self.carried: Carried | None = None
        self.error: LexiError | QuotaSpent | None = None

    def see(self, tasks: Sequence[Task]) -> None:
        """Count what was listed."""
        pending = [task for task in tasks if task.is_pending]
        self._pending = Counter(task.type or "" for task in pending)
        moments = [t.created_at for t in pending if t.created_at is not None]
        self._oldest_at = min(moments, default=None)

    def is_at_ease(self) -> bool:
        """Say whether nothing is left to do, so that there is time for questions."""
        return self._result() is Result.OK

    def report(self, seconds: float) -> CycleReport:
        """Sum up."""
        screened, carried = self.screened, self.carried
        error = self.error or (carried.error if carried else None)
        return CycleReport(
            id=self.id,
            started_at=self._started_at,
            seconds=seconds,
            result=self._result(),
            listed=self._pending is not None,
            pending=self._pending or {},
            oldest_at=self._oldest_at,
            left=screened.left if screened else {},
            matched=_matched(screened.decisions) if screened else frozenset(),
            attempts=carried.attempts if carried else (),
            settled=tuple(self.settled),
            observed=tuple(self.observed),
            backlog=self._backlog(),
            breaker=screened.breaker if screened else None,
            halt=carried.halt if carried else None,
            error=error,
        )

    def _backlog(self) -> int:
        """Count the dismissals that are due but wait for a later cycle."""
        if self.screened is None:
            return 0
        undone = self.carried.undone if self.carried else 0
        return undone + self.screened.left[Cause.OVER_CAP]

    def _result(self) -> Result:
        if self.screened is None:
            scarce = isinstance(self.error, QuotaSpent | RateLimited)
            return Result.INCOMPLETE if scarce else Result.FAILED
        unknown = self.carried.count(Outcome.UNKNOWN) if self.carried else 0
        cut = self.error is not None or self.screened.breaker is not None
        if cut or unknown or self._backlog():
            return Result.INCOMPLETE
        return Result.OK


def make_orders(due: Sequence[Decision], rules: Rules, listing: Listing) -> list[Order]:
    """Put what explains it beside each dismissal that is due."""
    return [
        Order(
            task=decision.task,
            rule=decision.rule,
            reason=decision.reason or "",
            rules_sha256=rules.ruleset.sha256,
            trace=trace_text(explain(rules.ruleset, decision.task, listing)),
        )
        for decision in due
    ]


def _matched(decisions: Sequence[Decision]) -> frozenset[str]:
    rules = {d.rule for d in decisions if d.rule is not None}
    return frozenset(rules | {o.rule for d in decisions for o in d.observed})
