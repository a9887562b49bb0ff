"""A LeadLex in memory for the model: it counts, breaks on demand, and tells all.

What no client may ever do fails here at once: a call beyond the limits or into the
reserve, a dismissal without an intent on disk, a second dismissal.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from tests.reliability.model import ListedTask
from triaged.clock import Clock
from triaged.leadlex.errors import (
    KeyRejected,
    LexiError,
    MalformedResponse,
    NoResponse,
    NotPending,
    RateLimited,
    RequestRejected,
    TaskNotFound,
    Unreachable,
)
from triaged.leadlex.models import Confirmation, TaskList
from triaged.quota import QuotaSettings, RateLimitHeaders
from triaged.rules.task import Json, parse_task

# What a fault is for the dismissal that meets it, and whether the task changes.
OUTCOMES = {
    "": "confirmed",
    "drop-after-effect": "unknown",
    "drop-before-effect": "unknown",
    "5xx": "unknown",
    "garbled": "unknown",
    "429": "failed",
    "unreachable": "failed",
    "401": "failed",
    "422": "rejected",
    "raced": "already_handled",
    "gone": "gone",
}
WITH_EFFECT = frozenset({"", "drop-after-effect", "garbled", "crash-after"})
CRASHES = frozenset({"crash-before", "crash-after"})
NEVER_SENT = frozenset({"unreachable"})
NO_HEADERS = frozenset({"drop-after-effect", "drop-before-effect", "unreachable"})


class Crash(BaseException):
    """The process dies here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What the server allows."""

    minute: int
    day: int

    @property
    def reserve(self) -> int:
        return ceil(self.day / 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedCall:
    """One call as the server met it; ``seen`` is what a list of pending tasks told."""

    what: str
    at: datetime
    task_id: str = ""
    reason: str = ""
    fault: str = ""
    seen: tuple[ListedTask, ...] | None = None


class Server:
    """The tasks of one workspace, its limits, and what was asked of it."""

    def __init__(self, clock: Clock, plan: ServerLimits) -> None:
        self._clock = clock
        self.plan = plan
        self.tasks: dict[str, dict[str, Json]] = {}
        self.faults: dict[str, str] = {}
        self.crash = 0, ""
        self.list_faults: dict[str, str] = {}
        self.asked: list[ReceivedCall] = []
        self.ours: Counter[datetime] = Counter()
        self.neighbours: Counter[datetime] = Counter()
        self.effects: Counter[str] = Counter()
        self.has_intent: Callable[[str], bool] = lambda _: False
        self._minute: Counter[int] = Counter()
        self._told: tuple[datetime, int] | None = None
        self.broken: list[str] = []

    @property
    def day(self) -> datetime:
        """Return when the present day began."""
        now = self._clock.now()
        return now.replace(hour=0, minute=0, second=0, microsecond=0)

    @property
    def remaining(self) -> int:
        """Return what the day has left for everybody."""
        return self.plan.day - self.ours[self.day] - self.neighbours[self.day]

    async def list_tasks(self, status: str = "pending") -> TaskList:
        fault = self.list_faults.get(status, "")
        shows = status == "pending" and not fault
        seen = tuple(self.pending()) if shows else None
        self._take(
            ReceivedCall(what=status, at=self._clock.now(), fault=fault, seen=seen)
        )
        self._fail("list", fault)
        tasks = [parse_task(t) for t in self.tasks.values() if t["status"] == status]
        return TaskList(tasks=tasks, rate_limit=self._rate_limit(), request_id=None)

    async def dismiss(
        self,
        task_id: str,
        reason: str,
        *,
        before_send: Callable[[], None] | None = None,
    ) -> Confirmation:
        if before_send is not None:
            before_send()
        fault = self.faults.pop(task_id, "")
        self.crash = self.crash[0] - 1, self.crash[1]
        if self.crash[0] == 0:
            fault = self.crash[1]
        now = self._clock.now()
        self._demand(self.has_intent(task_id), f"{task_id}: no intent on disk")
        self._take(
            ReceivedCall(
                what="dismiss", at=now, task_id=task_id, reason=reason, fault=fault
            )
        )
        task = self.tasks[task_id]
        self._demand(task["status"] == "pending", f"{task_id}: asked for again")
        if fault == "raced":
            task["status"] = "approved"
        if fault == "gone":
            task["status"] = "vanished"
        if fault in WITH_EFFECT:
            task["status"] = "dismissed"
            self.effects[task_id] += 1
        self._fail("dismiss", fault)
        return Confirmation(rate_limit=self._rate_limit(), request_id=None)

    @property
    def quota(self) -> QuotaSettings:
        """Return the plan as it is told to the product."""
        return QuotaSettings(minute_limit=self.plan.minute, daily_limit=self.plan.day)

    def add(self, task_id: str, text: str, created_at: datetime | None) -> None:
        """Take a pending task in."""
        self.tasks[task_id] = {
            "id": task_id,
            "type": "contact_update",
            "status": "pending",
            "description": text,
            "created_at": created_at.isoformat() if created_at else None,
        }

    def clear_faults(self) -> None:
        """Drop the faults that no call has met."""
        self.faults.clear()
        self.list_faults.clear()
        self.crash = 0, ""

    def pending(self) -> list[ListedTask]:
        """Return the pending tasks as a list shows them."""
        return [
            ListedTask(str(t["id"]), str(t["description"]), _moment(t["created_at"]))
            for t in self.tasks.values()
            if t["status"] == "pending"
        ]

    def other_process(self) -> RateLimitHeaders:
        """Take a call that shares our quota."""
        self._take(ReceivedCall(what="other", at=self._clock.now()))
        return self._rate_limit()

    def _take(self, asked: ReceivedCall) -> None:
        """Count a call against minute, day and reserve."""
        self.asked.append(asked)
        if asked.fault in NEVER_SENT:
            return
        minute = int(asked.at.timestamp() // 60)
        allowed = self.plan.day - self.plan.reserve
        self._minute[minute] += 1
        self.ours[self.day] += 1
        self._demand(self._minute[minute] <= self.plan.minute, "over the minute")
        self._demand(self.ours[self.day] <= allowed, "into the reserve")
        if self._told is not None and self._told[0] == self.day:
            left = self._told[1] - 1
            self._demand(left >= self.plan.reserve, "into the reserve, as was told")
            self._told = self.day, left

    def _fail(self, operation: str, fault: str) -> None:
        if fault in CRASHES:
            raise Crash
        if fault in NO_HEADERS:
            raise (Unreachable if fault in NEVER_SENT else NoResponse)(operation)
        if fault and (error := _error(operation, fault)):
            error.rate_limit = self._rate_limit()
            raise error

    def _rate_limit(self) -> RateLimitHeaders:
        # What remains is told truly, be it below nothing for our asking.
        remaining = max(self.remaining, 0)
        self._told = self.day, remaining
        return RateLimitHeaders(
            limit=self.plan.day,
            remaining=remaining,
            reset=self.day + timedelta(days=1),
            date=self._clock.now(),
        )

    def _demand(self, holds: bool, complaint: str) -> None:
        # Reported at the end of the step: raised here, it would pass for a crash.
        if not holds:
            self.broken.append(complaint)


def _moment(value: Json) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _error(operation: str, fault: str) -> LexiError | None:
    match fault:
        case "5xx":
            return NoResponse(operation, status=503)
        case "garbled":
            return MalformedResponse(operation, status=200)
        case "429":
            return RateLimited(operation, status=429)
        case "401":
            return KeyRejected(operation, status=401)
        case "422":
            return RequestRejected(operation, status=422)
        case "raced":
            return NotPending(operation, status=400)
        case "gone":
            return TaskNotFound(operation, status=404)
        case _:
            return None
