"""The one way to a dismissal: last check, quota, intent, call, outcome.

The dispatcher holds the only reference to the dismiss call; the daemon and every
command go through it.  What may be dismissed was decided before, by rules and guard or
by a person.  What was decided early may be forbidden by the time it is sent, so one
transaction per dismissal, directly before its call, checks everything again, charges
the quota and records the intent; and what people and rules forbid is checked once more
when the first byte is about to be sent.
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
from triaged.rules.decide import decide_one
from triaged.rules.evaluate import evaluate
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

# Enough to use 200 calls a minute when an answer takes two seconds, and no more than
# what one crash should leave unknown.
MAX_CONCURRENT: Final = 8

# One unknown outcome may be chance; this many in a row is a server in trouble.
MAX_UNKNOWN_IN_A_ROW: Final = 3

# What was listed longer ago than this is listed again before anything is dismissed.
MAX_LIST_AGE: Final = timedelta(minutes=15)

_RETRY_SECONDS: Final = 0.1
# The clock may be set while a wait is under way: then the quota is asked again.
_MAX_WAIT_SECONDS: Final = 60.0
_NOT_SENT: Final = "not sent"

# Returns the rules in force; raises ConfigError or RuleTestsFailed when there are none.
RulesInForce: TypeAlias = Callable[[], CompiledRules]
Refusal: TypeAlias = LeaveCause | HaltReason

log = structlog.get_logger()


class Dismisser(Protocol):
    """What can dismiss; a dry run has none."""

    async def dismiss(
        self,
        task_id: str,
        reason: str,
        *,
        before_send: Callable[[], None] | None = None,
    ) -> Confirmation:
        """Dismiss a task; what ``before_send`` raises keeps the call from leaving."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOrigin:
    """Where requests come from: source, cycle, and the list they were decided on.

    ``listed_at`` is when that list was asked for.  ``while_paused`` lets a person
    dismiss by hand although dismissing is paused.
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
        """Dismiss in the order given, several at a time, until done or halted.

        Calls that were sent are always awaited; ``stop`` only keeps new ones back.

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
        self._error: LexiError | None = None
        self._unknown_in_a_row = 0

    async def run(self) -> DispatchResult:
        """Run a bounded pool of workers until nothing is left, or may be sent."""
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
        """Wait until the next dismissal may be sent; None when there is none."""
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

        Returns the call; or the time at which the quota may allow it; or None when the
        request was refused or everything was halted.
        """
        parts = self._parts
        with parts.rate_limiter.transaction():
            now, request = parts.clock.now(), self._queue[0]
            refusal = self._refusal(request, now) or self._ledger_refusal(request, now)
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

    def _refusal(self, request: DismissRequest, now: datetime) -> Refusal | None:
        """Check what people, rules and clocks say of a request at this moment."""
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
        ruleset = self._ruleset()
        if ruleset is None:
            return HaltReason.RULES_CHANGED
        context = replace(origin.context, now=now)
        if request.rule is None:
            # A person's decision stands above the rules, but not above protection.
            protect = (evaluate(c, request.task, context) for c in ruleset.protect)
            is_protected = any(result is not False for result in protect)
            return LeaveCause.PROTECTED if is_protected else None
        if ruleset.sha256 != request.rules_sha256:
            return HaltReason.RULES_CHANGED
        decision = decide_one(ruleset, request.task, context)
        if (decision.rule, decision.reason) != (request.rule, request.reason):
            return decision.cause or LeaveCause.NO_RULE
        return decision.cause

    def _ledger_refusal(
        self, request: DismissRequest, now: datetime
    ) -> LeaveCause | None:
        """Check what was dismissed before, or may have been: this task, and today."""
        dismissals, task_id = self._parts.ledger.dismissals, request.task.id or ""
        if dismissals.is_unresolved(task_id):
            return LeaveCause.HELD
        if dismissals.confirmed([task_id]):
            return LeaveCause.NOT_PENDING
        ruleset = self._ruleset()
        if ruleset is None:
            return LeaveCause.NO_RULE
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
        """Return whether the task that stays for this copy was, or may be, dismissed.

        The list may be older than that dismissal, or late.
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
            return self._rules().ruleset
        except (ConfigError, RuleTestsFailed):
            # What protects is not known: nothing may be dismissed.
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
        """Wait for the quota, or until the run is to stop."""
        seconds = timestamp - self._parts.clock.now().timestamp()
        seconds = min(max(seconds, 0.001), _MAX_WAIT_SECONDS)
        timer = asyncio.create_task(self._parts.clock.sleep(seconds))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({timer, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            stopping.cancel()

    async def _send(self, call: _Call) -> Confirmation | LexiError | _ForbiddenError:
        """Send one call; what is forbidden at the last moment is undone."""

        def before_send() -> None:
            # A pause in another file at the ledger's path could not be seen.
            self._parts.ledger.verify()
            refusal = self._refusal(call.request, self._parts.clock.now())
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
        """Release the permit of a call that was not sent, and close its intent."""
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
        """Record the outcome of one call, and what its answer says of the quota."""
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
        """Return the outcome of an error for a task that may have been tried before."""
        outcome = outcome_of(error)
        if outcome is Outcome.ALREADY_HANDLED and self._had_failed_attempt(call):
            # The earlier attempt may have taken effect after all: the next list tells
            # which of the two it was.
            return Outcome.UNKNOWN
        return outcome

    def _had_failed_attempt(self, call: _Call) -> bool:
        task_id = call.request.task.id or ""
        failed = self._parts.ledger.dismissals.query(
            DismissalFilter(task_id=task_id, outcome=Outcome.FAILED)
        )
        return any(record.recheck for record in failed)

    def _apply_error_policy(self, call: _Call, error: LexiError | None) -> None:
        """Decide from one call's result whether others may still be sent."""
        if isinstance(error, NoResponse | MalformedResponse):
            self._unknown_in_a_row += 1
            if self._unknown_in_a_row >= MAX_UNKNOWN_IN_A_ROW:
                self._halt_with(HaltReason.FAULTS, error)
            return
        self._unknown_in_a_row = 0
        if isinstance(error, RateLimited):
            # It was refused, not made: the task keeps its place, the quota says when.
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
