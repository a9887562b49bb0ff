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
from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import KeyRejected, LexiError, RateLimited
from triaged.leadlex.models import DISMISSED, PENDING
from triaged.ledger import DispatchLock, Ledger
from triaged.ledger.dismissals import DismissalRecord, Outcome, Source
from triaged.ledger.flags import FlagName
from triaged.quota import Purpose
from triaged.rules.context import EvaluationContext, build_context, duplicate_conditions
from triaged.rules.explain import explain
from triaged.rules.explain_json import dump_trace
from triaged.rules.task import Decision, LeaveCause, ProposedDismissal, Task
from triaged.rulesfile.loader import CompiledRules
from triaged.triage.assessment import Judge, next_holds
from triaged.triage.dispatcher import Dispatcher
from triaged.triage.feedback import FeedbackCollector
from triaged.triage.guard import GuardResult, History
from triaged.triage.rate_limiter import RateLimitedReader, RateLimiter
from triaged.triage.reconcile import resolve_missing, split_pending
from triaged.triage.report import CycleReport, CycleResult
from triaged.triage.requests import DismissRequest, DispatchResult, record_attempt

log = structlog.get_logger()


class Cycle:
    """Runs cycles for one workspace; without a gate it is a dry run."""

    def __init__(
        self,
        *,
        reader: RateLimitedReader,
        dispatcher: Dispatcher | None,
        dispatch_lock: DispatchLock,
        ledger: Ledger,
        rate_limiter: RateLimiter,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._dispatcher = dispatcher
        self._dispatch_lock = dispatch_lock
        self._ledger = ledger
        self._rate_limiter = rate_limiter
        self._clock = clock
        self._judge = Judge(ledger)
        self._people = FeedbackCollector(reader, ledger, rate_limiter, clock)

    async def run(self, rules: CompiledRules, *, stop: asyncio.Event) -> CycleReport:
        """Run one cycle; what LeadLex or the quota denies ends up in the report.

        Raises:
            LedgerError: nothing can be remembered, so nothing is done.
        """
        started, clock = self._clock.monotonic(), self._clock.now()
        cycle_id = uuid.uuid4().hex[:12]
        with structlog.contextvars.bound_contextvars(cycle=cycle_id):
            async with self._dispatch_lock.acquired():
                self._rate_limiter.expire_dismissals()
                round_ = _CycleState(cycle_id, clock)
                try:
                    await self._run(round_, rules, stop)
                except (LexiError, QuotaExhausted) as error:
                    round_.error = error
                return round_.report(self._clock.monotonic() - started)

    async def _run(
        self, round_: "_CycleState", rules: CompiledRules, stop: asyncio.Event
    ) -> None:
        listed = await self._reader.list_tasks(PENDING)
        listed_at = self._clock.now()
        round_.record_list(listed.tasks)
        await self._reconcile(round_, listed.tasks)
        skew = self._rate_limiter.clock_skew
        guarded, history = self._judge.assess(
            rules, listed.tasks, now=listed_at, clock_skew=skew
        )
        round_.screened = guarded
        context = build_context(rules.ruleset.conditions(), listed.tasks, now=listed_at)
        with self._ledger.transaction():
            self._record_decisions(round_, rules, guarded, history, context)
        if self._dispatcher is not None and guarded.to_dismiss:
            round_.carried = await self._dispatcher.dispatch(
                build_requests(guarded.to_dismiss, rules, context),
                source=Source.DAEMON,
                cycle=round_.id,
                stop=stop,
                listed_at=listed_at,
            )
        if round_.is_idle() and not stop.is_set():
            pending = {task.id for task in listed.tasks if task.id}
            await self._people.refresh_if_due(pending, now=self._clock.now())

    async def _reconcile(self, round_: "_CycleState", tasks: Sequence[Task]) -> None:
        """Find out what became of the dismissals that nobody knows about."""
        entries = self._ledger.dismissals.unresolved()
        if not entries:
            return
        pending = {task.id for task in tasks if task.is_pending and task.id}
        waiting, vanished = split_pending(entries, pending)
        found = [(entry, Outcome.FAILED) for entry in waiting]
        self._record_outcomes(round_, found)
        if vanished:
            await self._reconcile_missing(round_, vanished)

    async def _reconcile_missing(
        self, round_: "_CycleState", vanished: Sequence[DismissalRecord]
    ) -> None:
        """Ask once, for all at once, which of them are dismissed."""
        try:
            listed = await self._reader.list_tasks(DISMISSED, purpose=Purpose.OTHER)
        except KeyRejected:
            raise
        except LexiError as error:
            # They stay unknown until a later list tells; the others need not wait.
            round_.error = error
            return
        dismissed = {task.id for task in listed.tasks if task.id}
        confirmed = self._ledger.dismissals.confirmed([e.task_id for e in vanished])
        self._record_outcomes(round_, resolve_missing(vanished, dismissed, confirmed))

    def _record_outcomes(
        self, round_: "_CycleState", found: Sequence[tuple[DismissalRecord, Outcome]]
    ) -> None:
        at = self._clock.now()
        with self._ledger.transaction():
            for entry, outcome in found:
                self._ledger.dismissals.record_outcome(entry.id, outcome, at=at)
                record_attempt(self._ledger, entry.rule, entry.reason, outcome)
        for entry, outcome in found:
            log.info(
                "dismissal.resolved",
                task=entry.task_id,
                rule=entry.rule,
                reason=entry.reason,
                outcome=outcome,
            )
        round_.resolved += found

    def _record_decisions(
        self,
        round_: "_CycleState",
        rules: CompiledRules,
        guarded: GuardResult,
        history: History,
        context: EvaluationContext,
    ) -> None:
        judgements, flags = self._ledger.decisions, self._ledger.flags
        sha256, at = rules.ruleset.sha256, context.now
        judgements.save_ruleset(sha256, rules.source, at=at)
        judgements.save(
            guarded.decisions,
            rules_sha256=sha256,
            context=context,
            duplicates=duplicate_conditions(rules.ruleset.conditions()),
            at=at,
        )
        judgements.replace_holds(next_holds(rules.ruleset, guarded, history, at))
        ripe = list(guarded.observed)
        if self._dispatcher is None:
            ripe += [
                (d.task, ProposedDismissal(d.rule or "", d.reason or ""))
                for d in guarded.to_dismiss
            ]
        round_.observed = judgements.record_observations(ripe, at=at)
        for rule, reason in round_.observed:
            flags.increment("observed", rule, reason)
        if guarded.breaker is None:
            flags.clear(FlagName.BREAKER)
        elif flags.set(FlagName.BREAKER, note=guarded.breaker, at=at):
            log.warning("breaker.opened", reason=guarded.breaker)


class _CycleState:
    """What one cycle has come to know so far; becomes its report."""

    def __init__(self, cycle_id: str, started_at: datetime) -> None:
        self.id = cycle_id
        self._started_at = started_at
        self._pending: Counter[str] | None = None
        self._oldest_at: datetime | None = None
        self.resolved: list[tuple[DismissalRecord, Outcome]] = []
        self.observed: list[ProposedDismissal] = []
        self.screened: GuardResult | None = None
        self.carried: DispatchResult | None = None
        self.error: LexiError | QuotaExhausted | None = None

    def record_list(self, tasks: Sequence[Task]) -> None:
        """Count what was listed."""
        pending = [task for task in tasks if task.is_pending]
        self._pending = Counter(task.type or "" for task in pending)
        moments = [t.created_at for t in pending if t.created_at is not None]
        self._oldest_at = min(moments, default=None)

    def is_idle(self) -> bool:
        """Say whether nothing is left to do, so that there is time for questions."""
        return self._result() is CycleResult.OK

    def report(self, seconds: float) -> CycleReport:
        """Sum up."""
        guarded, dispatched = self.screened, self.carried
        error = self.error or (dispatched.error if dispatched else None)
        return CycleReport(
            id=self.id,
            started_at=self._started_at,
            duration_seconds=seconds,
            result=self._result(),
            listed=self._pending is not None,
            pending=self._pending or {},
            oldest_at=self._oldest_at,
            left_by_cause=guarded.left if guarded else {},
            matched_rules=_matched(guarded.decisions) if guarded else frozenset(),
            attempts=dispatched.attempts if dispatched else (),
            resolved=tuple(self.resolved),
            observed=tuple(self.observed),
            backlog=self._backlog(),
            breaker=guarded.breaker if guarded else None,
            halt=dispatched.halt if dispatched else None,
            error=error,
        )

    def _backlog(self) -> int:
        """Count the dismissals that are due but wait for a later cycle."""
        if self.screened is None:
            return 0
        undone = self.carried.remaining if self.carried else 0
        return undone + self.screened.left[LeaveCause.OVER_CAP]

    def _result(self) -> CycleResult:
        if self.screened is None:
            scarce = isinstance(self.error, QuotaExhausted | RateLimited)
            return CycleResult.INCOMPLETE if scarce else CycleResult.FAILED
        unknown = self.carried.count_outcome(Outcome.UNKNOWN) if self.carried else 0
        cut = self.error is not None or self.screened.breaker is not None
        if cut or unknown or self._backlog():
            return CycleResult.INCOMPLETE
        return CycleResult.OK


def build_requests(
    due: Sequence[Decision], rules: CompiledRules, context: EvaluationContext
) -> list[DismissRequest]:
    """Put what explains it beside each dismissal that is due."""
    return [
        DismissRequest(
            task=decision.task,
            rule=decision.rule,
            reason=decision.reason or "",
            rules_sha256=rules.ruleset.sha256,
            trace=dump_trace(explain(rules.ruleset, decision.task, context)),
        )
        for decision in due
    ]


def _matched(decisions: Sequence[Decision]) -> frozenset[str]:
    rules = {d.rule for d in decisions if d.rule is not None}
    return frozenset(rules | {o.rule for d in decisions for o in d.observed})
