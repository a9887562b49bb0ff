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
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from triaged.clock import Clock
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
from triaged.ledger.dismissals import DismissalFilter, Outcome
from triaged.quota import Purpose
from triaged.rules.task import LeaveCause
from triaged.triage.last_check import LastCheck, Refusal, RulesInForce
from triaged.triage.rate_limiter import RateLimiter
from triaged.triage.requests import (
    Attempt,
    DismissRequest,
    DispatchOrigin,
    DispatchResult,
    HaltReason,
    log_attempt,
    outcome_of,
    record_attempt,
)

# Enough for 200 calls a minute with responses after two seconds, and a limit to the
# outcomes that one crash can leave unknown.
MAX_CONCURRENT: Final = 8

# One unknown outcome may be chance; this many in a row indicate a server problem.
MAX_UNKNOWN_IN_A_ROW: Final = 3

_RETRY_SECONDS: Final = 0.1
# Bounds each wait, since the clock may be set meanwhile; then the quota is asked again.
_MAX_WAIT_SECONDS: Final = 60.0
_NOT_SENT: Final = "not sent"

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
        self._check = LastCheck(parts.ledger, parts.rate_limiter, origin, rules)
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
            refusal = self._check.before_intent(request, now)
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
            intent = request.intent(self._origin, at=now)
            entry_id = parts.ledger.dismissals.record_intent(intent)
        return _Call(request, entry_id, grant.permit)

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
            refusal = self._check.before_send(call.request, self._parts.clock.now())
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
        log_attempt(attempt, result.request_id)
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
