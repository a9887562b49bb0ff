"""The only way to dismiss a task: last check, quota, intent, call, outcome.

The dispatcher holds the only reference to the dismiss call; the daemon and every
command use it. Rules and guard, or a person, have decided before. A decision may be
outdated by the time its request is sent, so one transaction per dismissal, directly
before its call, checks everything again, charges the quota and records the intent.
Vetoes, pauses and rules are checked once more directly before the first byte is sent.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias

import structlog

from triaged.clock import Clock
from triaged.errors import ConfigError, RuleTestsFailed
from triaged.leadlex.errors import (
    KeyRejected,
    LexiError,
    MalformedResponse,
    NoResponse,
    RateLimited,
    Unreachable,
)
from triaged.leadlex.models import Confirmation
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, Intent, Outcome, Source
from triaged.ledger.flags import FlagName
from triaged.quota import Purpose
from triaged.rules.context import EvaluationContext, iter_duplicates
from triaged.rules.decide import decide_one, is_protected
from triaged.rules.evidence import is_audited, rules_in_force
from triaged.rules.rule import Rule, Ruleset
from triaged.rules.task import LeaveCause
from triaged.rulesfile.loader import CompiledRules
from triaged.triage.guard import is_clock_wrong
from triaged.triage.rate_limiter import RateLimiter
from triaged.triage.requests import (
    Attempt,
    DismissRequest,
    DispatchResult,
    HaltReason,
    outcome_of,
    record_attempt,
)

# Enough for 200 calls a minute with responses after two seconds, and a limit to the
# outcomes that one crash can leave unknown.
MAX_CONCURRENT: Final = 8

# One unknown outcome may be chance; this many in a row indicate a server problem.
MAX_UNKNOWN_IN_A_ROW: Final = 3

# A list older than this must be requested again before anything is dismissed.
MAX_LIST_AGE: Final = timedelta(minutes=15)

_RETRY_SECONDS: Final = 0.1
# Bounds each wait, since the clock may be set meanwhile; then the quota is asked again.
_MAX_WAIT_SECONDS: Final = 60.0
_NOT_SENT: Final = "not sent"

# Returns the rules in force; raises ConfigError or RuleTestsFailed if there are none.
RulesInForce: TypeAlias = Callable[[], CompiledRules]
Refusal: TypeAlias = LeaveCause | HaltReason

log = structlog.get_logger()


class Dismisser(Protocol):
    """A client that can dismiss; a dry run has none."""

    async def dismiss(
        self,
        task_id: str,
        reason: str,
        *,
        before_send: Callable[[], None] | None = None,
    ) -> Confirmation:
        """Dismiss a task; an exception of ``before_send`` prevents the call."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOrigin:
    """The origin of requests: source, cycle, and the list that they are based on.

    ``listed_at`` is when that list was requested. ``while_paused`` permits manual
    dismissals although dismissing is paused.
    """

    source: Source
    cycle: str
    listed_at: datetime
    context: EvaluationContext
    while_paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Sends the dismissals of one workspace."""

    writer: Dismisser
    ledger: Ledger
    rate_limiter: RateLimiter
    clock: Clock
    on_attempt: Callable[[Attempt], None] = lambda _: None

    async def dispatch(
        self,
        requests: Sequence[DismissRequest],
        origin: DispatchOrigin,
        *,
        rules: RulesInForce,
        stop: asyncio.Event,
    ) -> DispatchResult:
        """Dismiss in the given order, several at a time, until done or halted.

        Calls that were sent are always awaited; ``stop`` only prevents new ones.

        Raises:
            LedgerError: an intent or outcome cannot be recorded; nothing more is sent.
        """
        return await _DispatchRun(self, requests, origin, rules, stop).run()


@dataclass(frozen=True, slots=True)
class _Call:
    """One call about to be sent: its request, its intent and its quota permit."""

    request: DismissRequest
    entry_id: str
    permit: int


class _ForbiddenError(Exception):
    """A dismissal was forbidden after its intent was recorded; nothing was sent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class _DispatchRun:
    """One run of the dispatcher over a list of requests."""

    def __init__(
        self,
        parts: Dispatcher,
        requests: Sequence[DismissRequest],
        origin: DispatchOrigin,
        rules: RulesInForce,
        stop: asyncio.Event,
    ) -> None:
        self._parts = parts
        self._queue = deque(requests)
        self._origin = origin
        self._rules = rules
        self._stop = stop
        self._admission = asyncio.Lock()
        self._attempts: list[Attempt] = []
        self._skipped: list[tuple[DismissRequest, LeaveCause]] = []
        self._halt: HaltReason | None = None
        self._halted = asyncio.Event()
        self._error: LexiError | None = None
        self._unknown_in_a_row = 0

    async def run(self) -> DispatchResult:
        """Run a bounded pool of workers until all requests are done or halted."""
        width = min(MAX_CONCURRENT, len(self._queue))
        workers = [asyncio.create_task(self._work()) for _ in range(width)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return DispatchResult(
            attempts=tuple(self._attempts),
            remaining=len(self._queue),
            skipped=tuple(self._skipped),
            halt=self._halt if self._queue else None,
            error=self._error,
        )

    async def _work(self) -> None:
        while (call := await self._next_call()) is not None:
            result = await self._send(call)
            if not isinstance(result, _ForbiddenError):
                self._record(call, result)

    async def _next_call(self) -> _Call | None:
        """Wait until the next dismissal may be sent; return None if there is none."""
        async with self._admission:
            while self._queue and self._halt is None:
                if self._stop.is_set():
                    self._halt_with(HaltReason.STOPPING)
                    break
                found = self._commit()
                if isinstance(found, _Call):
                    return found
                if found is not None:
                    await self._wait_until(found)
        return None

    def _commit(self) -> _Call | float | None:
        """Check the next request again, charge the quota and record the intent.

        Returns the call, the time at which the quota may allow it, or None if the
        request was refused or the run was halted.
        """
        parts = self._parts
        with parts.rate_limiter.transaction():
            now, request = parts.clock.now(), self._queue[0]
            ruleset = self._ruleset()
            refusal = self._refusal(request, now, ruleset)
            if refusal is None and ruleset is not None:
                refusal = self._ledger_refusal(request, now, ruleset)
            if refusal is not None:
                self._refuse(self._queue.popleft(), refusal)
                return None
            grant = parts.rate_limiter.try_acquire(Purpose.DISMISS)
            if grant.permit is None:
                if grant.reason == "day":
                    self._halt_with(HaltReason.QUOTA)
                    return None
                return grant.retry_at or now.timestamp() + _RETRY_SECONDS
            self._queue.popleft()
            entry_id = parts.ledger.dismissals.record_intent(self._intent(request, now))
        return _Call(request, entry_id, grant.permit)

    def _refusal(
        self, request: DismissRequest, now: datetime, ruleset: Ruleset | None
    ) -> Refusal | None:
        """Check a request against vetoes, pauses, clocks and the rules in force."""
        parts, origin = self._parts, self._origin
        if abs(now - origin.listed_at) > MAX_LIST_AGE:
            return HaltReason.STALE
        if is_clock_wrong(parts.rate_limiter.clock_skew):
            return HaltReason.CLOCK
        is_paused = parts.ledger.flags.get(FlagName.PAUSED) is not None
        if is_paused and not origin.while_paused:
            return HaltReason.PAUSED
        if parts.ledger.vetoes.is_vetoed(request.task.id or ""):
            return LeaveCause.VETOED
        if ruleset is None:
            return HaltReason.RULES_CHANGED
        context = replace(origin.context, now=now)
        if request.rule is None:
            # A person's decision overrides the rules, but not protection.
            protected = is_protected(ruleset, request.task, context)
            return LeaveCause.PROTECTED if protected else None
        if ruleset.sha256 != request.rules_sha256:
            return HaltReason.RULES_CHANGED
        decision = decide_one(ruleset, request.task, context)
        if (decision.rule, decision.reason) != (request.rule, request.reason):
            return decision.cause or LeaveCause.NO_RULE
        rule = ruleset.rule(request.rule)
        if rule is not None and is_audited(rule, request.task):
            return LeaveCause.AUDIT
        return decision.cause

    def _ledger_refusal(
        self, request: DismissRequest, now: datetime, ruleset: Ruleset
    ) -> LeaveCause | None:
        """Check earlier dismissals of this task and the daily cap in the ledger."""
        dismissals, task_id = self._parts.ledger.dismissals, request.task.id or ""
        if dismissals.is_unresolved(task_id):
            return LeaveCause.HELD
        if dismissals.confirmed([task_id]):
            return LeaveCause.NOT_PENDING
        rule = ruleset.rule(request.rule) if request.rule else None
        if rule is not None and self._is_kept_gone(rule, task_id):
            return LeaveCause.HELD
        today = dismissals.count_by_rule(now, skew=self._parts.rate_limiter.clock_skew)
        cap = None if rule is None else rule.max_per_day
        if sum(today.values()) >= ruleset.safety.max_dismissals_per_day or (
            cap is not None and today.get(request.rule, 0) >= cap
        ):
            return LeaveCause.OVER_CAP
        return None

    def _is_kept_gone(self, rule: Rule, task_id: str) -> bool:
        """Return whether the task kept for this copy was, or may have been, dismissed.

        The list may be older than that dismissal, or out of date.
        """
        dismissals, context = self._parts.ledger.dismissals, self._origin.context
        duplicates = iter_duplicates(rule.match)
        kept = {context.kept_for(condition, task_id) for condition in duplicates}
        ids = [each for each in kept if each is not None]
        return bool(dismissals.confirmed(ids)) or any(
            map(dismissals.is_unresolved, ids)
        )

    def _ruleset(self) -> Ruleset | None:
        try:
            changes = self._parts.ledger.rule_changes.changes()
            return rules_in_force(self._rules().ruleset, changes)
        except (ConfigError, RuleTestsFailed):
            # Without rules the protection is unknown, so nothing may be dismissed.
            return None

    def _refuse(self, request: DismissRequest, refusal: Refusal) -> None:
        if isinstance(refusal, HaltReason):
            self._queue.appendleft(request)
            self._halt_with(refusal)
            return
        self._skipped.append((request, refusal))
        log.info(
            "dismissal.skipped",
            task=request.task.id,
            rule=request.rule,
            cause=str(refusal),
        )

    async def _wait_until(self, timestamp: float) -> None:
        """Wait until a time, or until the run is halted or asked to stop."""
        seconds = timestamp - self._parts.clock.now().timestamp()
        seconds = min(max(seconds, 0.001), _MAX_WAIT_SECONDS)
        # A halt comes from another worker, and with it the end of the dispatch lock.
        waits = (
            self._parts.clock.sleep(seconds),
            self._stop.wait(),
            self._halted.wait(),
        )
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _send(self, call: _Call) -> Confirmation | LexiError | _ForbiddenError:
        """Send one call; undo its intent if it is forbidden at the last check."""

        def before_send() -> None:
            # If the ledger file was replaced, a pause in the new file would be missed.
            self._parts.ledger.verify()
            now = self._parts.clock.now()
            refusal = self._refusal(call.request, now, self._ruleset())
            if refusal is not None:
                raise _ForbiddenError(refusal)

        try:
            return await self._parts.writer.dismiss(
                call.request.task.id or "",
                call.request.reason,
                before_send=before_send,
            )
        except LexiError as error:
            return error
        except _ForbiddenError as error:
            self._undo(call, error.refusal)
            return error

    def _undo(self, call: _Call, refusal: Refusal) -> None:
        """Release the permit of an unsent call, and record its intent as failed."""
        parts = self._parts
        with parts.rate_limiter.transaction():
            not_sent = Unreachable("dismiss", message=_NOT_SENT)
            parts.rate_limiter.on_error(call.permit, not_sent)
            parts.ledger.dismissals.record_outcome(
                call.entry_id,
                Outcome.FAILED,
                at=parts.clock.now(),
                detail=f"{_NOT_SENT}: {refusal}",
            )
        self._refuse(call.request, refusal)

    def _record(self, call: _Call, result: Confirmation | LexiError) -> None:
        """Record the outcome of one call and the rate-limit headers of its response."""
        parts, request = self._parts, call.request
        error = result if isinstance(result, LexiError) else None
        with parts.rate_limiter.transaction():
            if isinstance(result, LexiError):
                outcome = self._outcome(call, result)
                parts.rate_limiter.on_error(call.permit, result)
            else:
                outcome = Outcome.CONFIRMED
                parts.rate_limiter.on_response(call.permit, result.rate_limit)
            parts.ledger.dismissals.record_outcome(
                call.entry_id,
                outcome,
                at=parts.clock.now(),
                request_id=result.request_id,
                detail=None if error is None else str(error),
            )
            record_attempt(parts.ledger, request.rule, request.reason, outcome)
        attempt = Attempt(request=request, outcome=outcome, error=error)
        self._attempts.append(attempt)
        self._apply_error_policy(call, error)
        _log(attempt, result.request_id)
        parts.on_attempt(attempt)

    def _outcome(self, call: _Call, error: LexiError) -> Outcome:
        """Return the outcome of an error, given earlier attempts on the task."""
        outcome = outcome_of(error)
        if outcome is Outcome.ALREADY_HANDLED and self._had_failed_attempt(call):
            # The earlier attempt may have taken effect after all; the next list will
            # tell.
            return Outcome.UNKNOWN
        return outcome

    def _had_failed_attempt(self, call: _Call) -> bool:
        task_id = call.request.task.id or ""
        failed = self._parts.ledger.dismissals.query(
            DismissalFilter(task_id=task_id, outcome=Outcome.FAILED)
        )
        return any(record.recheck for record in failed)

    def _apply_error_policy(self, call: _Call, error: LexiError | None) -> None:
        """Halt the run if the result of one call means that others must not be sent."""
        if isinstance(error, NoResponse | MalformedResponse):
            self._unknown_in_a_row += 1
            if self._unknown_in_a_row >= MAX_UNKNOWN_IN_A_ROW:
                self._halt_with(HaltReason.FAULTS, error)
            return
        self._unknown_in_a_row = 0
        if isinstance(error, RateLimited):
            # The call was rejected without effect: the request is sent again when the
            # quota allows.
            self._queue.appendleft(call.request)
        elif isinstance(error, KeyRejected):
            self._queue.appendleft(call.request)
            self._halt_with(HaltReason.KEY, error)
        elif isinstance(error, Unreachable):
            self._queue.appendleft(call.request)
            self._halt_with(HaltReason.UNREACHABLE, error)

    def _halt_with(self, halt: HaltReason, error: LexiError | None = None) -> None:
        if self._halt is None:
            self._halt, self._error = halt, error
            self._halted.set()

    def _intent(self, request: DismissRequest, now: datetime) -> Intent:
        return Intent(
            task=request.task,
            rule=request.rule,
            reason=request.reason,
            source=self._origin.source,
            cycle=self._origin.cycle,
            decided_at=now,
            rules_sha256=request.rules_sha256,
            trace=request.trace,
        )


def _log(attempt: Attempt, request_id: str | None) -> None:
    request, error = attempt.request, attempt.error
    write = log.info if attempt.outcome is Outcome.CONFIRMED else log.warning
    write(
        "task.dismissed" if error is None else f"dismissal.{attempt.outcome}",
        task=request.task.id,
        rule=request.rule,
        reason=request.reason,
        request_id=request_id,
        **({} if error is None else {"error": str(error)}),
    )
