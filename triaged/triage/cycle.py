"""One cycle: list, reconcile, decide, guard, record, dispatch.

It does not know schedules and signals; the daemon and ``run --once`` call it.
"""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

import structlog

from triaged.clock import Clock
from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import KeyRejected, LexiError
from triaged.leadlex.models import DISMISSED, PENDING, TaskList
from triaged.ledger import DispatchLock, Ledger
from triaged.ledger.decisions import MAX_DECISIONS
from triaged.ledger.dismissals import DismissalRecord, Source
from triaged.ledger.flags import FlagName
from triaged.ledger.observations import NewObservation, ObservationKind
from triaged.quota import Purpose
from triaged.rules.context import EvaluationContext, duplicate_conditions
from triaged.rules.explain import explain
from triaged.rules.explain_json import dump_trace
from triaged.rules.task import Decision, ProposedDismissal
from triaged.rulesfile.loader import CompiledRules
from triaged.triage.assessment import Assessment, assess_beside, next_holds
from triaged.triage.dispatcher import Dispatcher
from triaged.triage.evidence import promote_by_evidence
from triaged.triage.feedback import FeedbackCollector
from triaged.triage.guard import is_clock_wrong
from triaged.triage.last_check import RulesInForce
from triaged.triage.rate_limiter import RateLimitedReader, RateLimiter
from triaged.triage.reconcile import Resolution, resolve_missing, resolve_pending
from triaged.triage.report import CycleReport, CycleState
from triaged.triage.requests import DismissRequest, DispatchOrigin, record_attempt

# Short transactions with pauses between them let vetoes and pauses be recorded.
_BATCH: Final = 500
_BATCH_PAUSE_SECONDS: Final = 0.005

EVIDENCE_INTERVAL: Final = timedelta(hours=1)

T = TypeVar("T")

log = structlog.get_logger()


class Cycle:
    """Runs cycles for one workspace; without a dispatcher every cycle is a dry run."""

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
        self._feedback = FeedbackCollector(reader, ledger, rate_limiter, clock)
        self._evidence_checked_at: datetime | None = None

    async def run(self, rules: RulesInForce, *, stop: asyncio.Event) -> CycleReport:
        """Run one cycle; errors of LeadLex and the quota are part of the report.

        Raises:
            LedgerError: the ledger cannot be written, so nothing is done.
        """
        started, started_at = self._clock.monotonic(), self._clock.now()
        state = CycleState(uuid.uuid4().hex[:12], started_at)
        with structlog.contextvars.bound_contextvars(cycle=state.id):
            async with self._dispatch_lock.acquired(stop.is_set) as is_held:
                if not is_held:
                    return state.report(self._clock.monotonic() - started)
                self._ledger.verify()
                self._rate_limiter.expire_dismissals()
                try:
                    await self._run(state, rules, stop)
                except (LexiError, QuotaExhausted) as error:
                    state.error = error
                return state.report(self._clock.monotonic() - started)

    async def _run(
        self, state: CycleState, rules: RulesInForce, stop: asyncio.Event
    ) -> None:
        listed = await self._reader.list_tasks(PENDING)
        state.record_list(listed.tasks, listed.incomplete)
        await self._reconcile(state, listed)
        if listed.rows_in_doubt:
            return
        self._promote_if_due(rules())
        assessment = await assess_beside(
            self._ledger,
            rules(),
            listed.tasks,
            now=self._clock.now(),
            clock_skew=self._rate_limiter.clock_skew,
        )
        state.guarded = assessment.guarded
        await self._record(state, assessment)
        if self._dispatcher is not None and assessment.guarded.to_dismiss:
            state.dispatched = await self._dispatcher.dispatch(
                build_requests(
                    assessment.guarded.to_dismiss, assessment.rules, assessment.context
                ),
                DispatchOrigin(
                    source=Source.DAEMON,
                    cycle=state.id,
                    listed_at=listed.requested_at or assessment.context.now,
                    context=assessment.context,
                ),
                rules=rules,
                stop=stop,
            )
        if state.is_idle() and not stop.is_set():
            pending = {task.id for task in listed.tasks if task.id}
            await self._feedback.refresh_if_due(pending, now=self._clock.now())

    def _promote_if_due(self, rules: CompiledRules) -> None:
        """Promote rules by evidence; a dry run does not.

        Evidence is counted over weeks, so it is not read in every cycle.
        """
        now, checked = self._clock.now(), self._evidence_checked_at
        is_recent = checked and timedelta(0) <= now - checked < EVIDENCE_INTERVAL
        if self._dispatcher is None or is_recent:
            return
        self._evidence_checked_at = now
        promote_by_evidence(
            self._ledger,
            rules.ruleset,
            now=now,
            clock_skew=self._rate_limiter.clock_skew,
        )

    async def _reconcile(self, state: CycleState, listed: TaskList) -> None:
        """Resolve the dismissals with an unknown outcome."""
        dismissals = self._ledger.dismissals
        records = dismissals.unresolved()
        checked = dismissals.to_recheck()
        if listed.incomplete is not None or not (records or checked):
            return
        pending = {task.id for task in listed.tasks if task.is_pending and task.id}
        requested_at = listed.requested_at or self._clock.now()
        failed, missing = resolve_pending(records, pending, requested_at=requested_at)
        # By a wrong clock a call may seem old that can still take effect.
        if not is_clock_wrong(self._rate_limiter.clock_skew):
            self._record_outcomes(state, failed)
        missing += [record for record in checked if record.task_id not in pending]
        if missing:
            await self._reconcile_missing(
                state, missing, is_certain=_is_readable(listed)
            )

    async def _reconcile_missing(
        self,
        state: CycleState,
        missing: Sequence[DismissalRecord],
        *,
        is_certain: bool,
    ) -> None:
        """Resolve the missing tasks by one list of all dismissed tasks.

        Unless ``is_certain``, a row of the pending tasks may be one of those missing:
        then, as where a row of this list cannot be read, only those found are settled.

        """
        try:
            listed = await self._reader.list_tasks(DISMISSED, purpose=Purpose.OTHER)
        except KeyRejected:
            raise
        except LexiError as error:
            # They stay unknown until a later cycle; the other tasks can be processed.
            state.error = error
            return
        if listed.incomplete is not None:
            state.incomplete_list = listed.incomplete
            return
        dismissed = {t.id: t for t in listed.tasks if t.id and t.status == DISMISSED}
        if not (is_certain and _is_readable(listed)):
            missing = [record for record in missing if record.task_id in dismissed]
        ids = [record.task_id for record in missing]
        confirmed = self._ledger.dismissals.confirmed(ids)
        self._record_outcomes(state, resolve_missing(missing, dismissed, confirmed))

    def _record_outcomes(self, state: CycleState, found: Sequence[Resolution]) -> None:
        at = self._clock.now()
        with self._ledger.transaction():
            for each in found:
                self._ledger.dismissals.record_outcome(
                    each.record.id,
                    each.outcome,
                    at=at,
                    detail=each.detail,
                    recheck=each.recheck,
                )
                if each.outcome is not each.record.outcome:
                    record_attempt(
                        self._ledger, each.record.rule, each.record.reason, each.outcome
                    )
        for each in found:
            log.info(
                "dismissal.resolved",
                task=each.record.task_id,
                rule=each.record.rule,
                reason=each.record.reason,
                outcome=each.outcome,
            )
            state.resolved.append((each.record, each.outcome))

    async def _record(self, state: CycleState, assessment: Assessment) -> None:
        """Record rules, decisions, holds and observations.

        What is stored already is only read: most cycles change nothing.
        """
        ledger, rules, context = self._ledger, assessment.rules, assessment.context
        guarded, at = assessment.guarded, assessment.context.now
        ledger.rulesets.save(rules.ruleset.sha256, rules.source, at=at)
        ledger.holds.replace(next_holds(assessment))
        self._record_breaker(guarded.breaker)
        duplicates = duplicate_conditions(rules.ruleset.conditions())
        saved = 0
        for batch in _batches(guarded.decisions[:MAX_DECISIONS]):
            saved += ledger.decisions.save(
                batch,
                rules_sha256=rules.ruleset.sha256,
                context=context,
                duplicates=duplicates,
                at=at,
            )
            await self._pause_after(batch)
        if saved:
            ledger.decisions.trim()
        for seen in _batches(self._observations(assessment)):
            state.observed += [
                ProposedDismissal(each.rule, each.reason)
                for each in ledger.observations.record(seen, at=at)
                if each.kind is ObservationKind.OBSERVED
            ]
            await self._pause_after(seen)

    def _observations(self, assessment: Assessment) -> list[NewObservation]:
        guarded = assessment.guarded
        observed = list(guarded.observed)
        if self._dispatcher is None:
            observed += [
                (d.task, ProposedDismissal(d.rule or "", d.reason or ""))
                for d in guarded.to_dismiss
            ]
        kinds = {
            ObservationKind.OBSERVED: observed,
            ObservationKind.AUDITED: guarded.audited,
        }
        return [
            NewObservation(
                task_id=task.id,
                rule=proposed.rule,
                reason=proposed.reason,
                fingerprint=assessment.fingerprints[proposed.rule],
                kind=kind,
            )
            for kind, seen in kinds.items()
            for task, proposed in seen
            if task.id is not None
        ]

    def _record_breaker(self, breaker: str | None) -> None:
        flags, at = self._ledger.flags, self._clock.now()
        if breaker is None:
            if flags.clear(FlagName.BREAKER):
                log.info("breaker.closed")
        elif flags.set(FlagName.BREAKER, reason=breaker, at=at):
            log.warning("breaker.opened", reason=breaker)

    async def _pause_after(self, batch: Sequence[object]) -> None:
        if len(batch) == _BATCH:
            await self._clock.sleep(_BATCH_PAUSE_SECONDS)


def _is_readable(listed: TaskList) -> bool:
    """Return whether each row says which task it is, and its status."""
    return all(task.id and task.status for task in listed.tasks)


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    starts = range(0, len(items), _BATCH)
    return [items[start : start + _BATCH] for start in starts]


def build_requests(
    due: Sequence[Decision], rules: CompiledRules, context: EvaluationContext
) -> list[DismissRequest]:
    """Build a request, with its explanation, for each dismissal that is due."""
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
