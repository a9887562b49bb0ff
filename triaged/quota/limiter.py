"""The rate limiter: a state machine driven by times and responses.

A call is charged when its permit is granted.  The state can be saved and loaded, so
that several processes share it through the ledger.

"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

from triaged.quota.backoff import Backoff
from triaged.quota.day import DailyWindow
from triaged.quota.minute_limit import MinuteLimit
from triaged.quota.types import (
    Grant,
    Purpose,
    QuotaSettings,
    QuotaSnapshot,
    RateLimitHeaders,
    WindowName,
)
from triaged.quota.window import SlidingWindow

FORMAT: Final = 3
# Older calls are lost: their process has died, or no response will arrive.
CALL_EXPIRY_SECONDS: Final = 120.0
MAX_JITTER: Final = 60.0
# Without a forecast, this share of the day is kept for dismissals.
DEFAULT_DISMISS_SHARE: Final = 0.25
# After a poll with the last call, nothing could be dismissed.
MIN_CALLS_FOR_POLL: Final = 2
# After a refusal, calls pause for as long as this many calls take at the limit.
RETRY_CALLS: Final = 7


@dataclass(slots=True)
class _InFlightCall:
    sent_at: float
    dismissal: bool
    # Versions before this field did not store it.
    by_daemon: bool = False


class QuotaLimiter:
    """Grants calls so that minute limit, daily limit and reserve are never exceeded.

    All times are seconds since the epoch; a 429 blocks all callers.

    """

    def __init__(
        self,
        settings: QuotaSettings,
        state: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self._settings = settings
        self._seed = seed
        self._minute = MinuteLimit.initial(settings.minute_limit)
        self._window = SlidingWindow(settings.minute_window)
        self._day: DailyWindow | None = None
        self._in_flight: dict[int, _InFlightCall] = {}
        self._next_permit = 1
        self._backoff = Backoff()
        self._interval = 0.0
        if state and state.get("format") == FORMAT:
            self._load(state)
        elif state:
            self._load_older(state)

    def acquire(
        self, now: float, purpose: Purpose, *, by_daemon: bool = False
    ) -> Grant:
        """Grant and charge one call, or return when to try again."""
        day = self._advance_to(now)
        if now < self._backoff.until:
            return Grant(None, self._backoff.until, self._backoff.reason)
        needed = MIN_CALLS_FOR_POLL if purpose is Purpose.POLL else 1
        if self._available(day) < needed:
            return Grant(None, self._next_day_start(day), "day")
        in_flight = len(self._in_flight)
        if self._backoff.consecutive_refusals and in_flight:
            return Grant(None)
        used = self._window.total + in_flight
        if (over := used + 1 - self._minute.limit) > 0:
            return Grant(None, self._window.available_at(over), "minute")
        if in_flight >= self._minute.max_in_flight(used):
            return Grant(None)
        permit, self._next_permit = self._next_permit, self._next_permit + 1
        day.used += 1
        is_dismissal = purpose is Purpose.DISMISS
        self._in_flight[permit] = _InFlightCall(now, is_dismissal, by_daemon)
        return Grant(permit)

    def on_response(self, now: float, permit: int, headers: RateLimitHeaders) -> None:
        """Record a call that the server accepted, whatever its status."""
        day = self._advance_to(now)
        call = self._finish_call(now, permit)
        self._apply_headers(day, now, headers, call)
        self._obey_retry_after(now, headers)
        if call is None:
            return
        day.dismissed += call.dismissal
        if call.sent_at > self._backoff.refused_at:
            self._backoff.consecutive_refusals = 0
            self._minute.on_accepted(self._window.total)

    def on_rate_limited(
        self, now: float, permit: int, headers: RateLimitHeaders
    ) -> WindowName:
        """Block all calls after a 429; return which window is exceeded."""
        day = self._advance_to(now)
        call = self._in_flight.pop(permit, None)
        describes_day = self._apply_headers(day, now, headers, call)
        sent_at = now if call is None else call.sent_at
        is_new = self._backoff.record_refusal(now, sent_at)
        self._obey_retry_after(now, headers)
        next_day = self._next_day_start(day)
        if headers.remaining == 0 and describes_day:
            if sent_at < day.began_at:
                # The quota of the previous day was exhausted, not that of this day.
                next_day = min(now + self._window.seconds, next_day)
            self._backoff.block_until(now, next_day, "day")
            return "day"
        self._backoff.block_until(
            now, min(self._minute_retry_at(now), next_day), "minute"
        )
        if is_new and self._window.total:
            self._minute.on_refused(self._window.total)
        # The server may count refused calls; losing a slot costs less than a refusal.
        self._window.add(now)
        return "minute"

    def on_no_response(self, now: float, permit: int) -> None:
        """Count a call that was sent without getting a response."""
        day = self._advance_to(now)
        if self._finish_call(now, permit) is not None:
            day.assume_one_used()

    def release(self, now: float, permit: int) -> None:
        """Refund a call that was not sent."""
        day = self._advance_to(now)
        if self._in_flight.pop(permit, None) is not None:
            day.used = max(day.used - 1, 0)

    def has_dismissals_in_flight(self) -> bool:
        """Return whether the outcome of a dismissal is still awaited."""
        return any(call.dismissal for call in self._in_flight.values())

    def expire_dismissals(self, now: float) -> None:
        """Count dismissals in flight as sent: the process that sent them has died."""
        self._expire(now, lambda call: call.dismissal)

    def expire_daemon_calls(self, now: float) -> None:
        """Count the calls of a daemon in flight as sent: that daemon has died."""
        self._expire(now, lambda call: call.by_daemon)

    def _expire(self, now: float, is_lost: Callable[[_InFlightCall], bool]) -> None:
        day = self._advance_to(now)
        for permit in [p for p, call in self._in_flight.items() if is_lost(call)]:
            self._finish_call(now, permit)
            day.assume_one_used()

    def next_poll(self, now: float, target: float, *, backlog: int = 0) -> float:
        """Return when to poll next, so that polls and dismissals fit into the day."""
        day = self._advance_to(now)
        next_day, left = self._next_day_start(day), self._available(day)
        if left < MIN_CALLS_FOR_POLL:
            return max(next_day, now + target, self._backoff.until)
        polls = left - self._reserved_for_dismissals(day, now, left, backlog)
        self._interval = max(target, (day.reset_at - now) / max(polls, 1))
        at = min(now + self._interval, max(next_day, now + target))
        return max(at, self._backoff.until)

    def snapshot(self, now: float) -> QuotaSnapshot:
        """Return the state for display and metrics."""
        day = self._advance_to(now)
        backoff, blocked = self._backoff, now < self._backoff.until
        in_flight = len(self._in_flight)
        return QuotaSnapshot(
            daily_limit=day.limit,
            remaining=day.remaining(in_flight),
            reserved=day.reserved(self._settings.reserve),
            reset_at=day.reset_at,
            blocked_until=backoff.until if blocked else None,
            blocked_by=backoff.reason if blocked else None,
            minute_limit=self._minute.limit,
            used_today=day.used,
            used_by_others=day.used_by_others(in_flight),
            limit_known=self._minute.known,
            poll_interval=self._interval,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "format": FORMAT,
            "minute": asdict(self._minute),
            "window": self._window.to_list(),
            "day": asdict(self._day) if self._day is not None else None,
            "in_flight": [
                [permit, call.sent_at, call.dismissal, call.by_daemon]
                for permit, call in self._in_flight.items()
            ],
            "next_permit": self._next_permit,
            "backoff": asdict(self._backoff),
            "interval": self._interval,
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        minute = MinuteLimit(**state["minute"])
        if minute.configured == self._settings.minute_limit:
            self._minute = minute
        self._window = SlidingWindow(self._settings.minute_window, state["window"])
        if state["day"] is not None:
            configured = {"configured_limit": self._settings.daily_limit}
            self._day = DailyWindow(**{**state["day"], **configured})
        self._in_flight = {
            permit: _InFlightCall(*call) for permit, *call in state["in_flight"]
        }
        self._next_permit = state["next_permit"]
        self._backoff = Backoff(**state["backoff"])
        self._interval = state["interval"]

    def _load_older(self, state: Mapping[str, Any]) -> None:
        """Load the calls of today from the state of an older version."""
        with suppress(KeyError, TypeError, ValueError):
            day = state["day"]
            self._day = DailyWindow(
                self._settings.daily_limit,
                began_at=float(day["began_at"]),
                reset_at=float(day["reset_at"]),
                used=int(day["spent"]),
                dismissed=int(day["dismissed"]),
            )

    def _advance_to(self, now: float) -> DailyWindow:
        """Free slots, expire lost calls and start a new day."""
        if self._day is None:
            self._day = DailyWindow.at(now, self._settings.daily_limit)
        self._window.on_clock_set_back(now)
        self._window.prune(now)
        self._backoff.on_clock_set_back(now)
        for permit, call in list(self._in_flight.items()):
            if not now - CALL_EXPIRY_SECONDS < call.sent_at <= now + 1.0:
                self._finish_call(now, permit)
                self._day.assume_one_used()
        self._day.roll_over(now, len(self._in_flight))
        return self._day

    def _available(self, day: DailyWindow) -> int:
        reserved = day.reserved(self._settings.reserve)
        return day.remaining(len(self._in_flight)) - reserved

    def _finish_call(self, now: float, permit: int) -> _InFlightCall | None:
        call = self._in_flight.pop(permit, None)
        if call is not None:
            self._window.add(now)
        return call

    def _apply_headers(
        self,
        day: DailyWindow,
        now: float,
        headers: RateLimitHeaders,
        call: _InFlightCall | None,
    ) -> bool:
        """Apply the headers of a response; return whether they describe the day."""
        if not day.describes_day(now, headers, self._window.seconds):
            day.assume_one_used()
            return False
        sent_at = now if call is None else call.sent_at
        in_flight = len(self._in_flight)
        if not day.apply_headers(now, headers, sent_at=sent_at, in_flight=in_flight):
            day.assume_one_used()
        if day.reported_limit is not None:
            self._minute.set_daily_limit(day.reported_limit)
        return True

    def _obey_retry_after(self, now: float, headers: RateLimitHeaders) -> None:
        if headers.retry_after is not None:
            until = headers.retry_after.timestamp()
            self._backoff.block_until(now, until, "retry_after")

    def _minute_retry_at(self, now: float) -> float:
        """Return when to try again after a refusal, increasing with each one."""
        window = self._window.seconds
        if self._backoff.consecutive_refusals > 1:
            return now + self._backoff.delay(window)
        # The window of the server started no later than its oldest call.
        oldest = self._window.available_at(1) or now + window
        pause = window * min(RETRY_CALLS / self._minute.limit, 1.0)
        return min(max(oldest, now + pause), now + window)

    def _next_day_start(self, day: DailyWindow) -> float:
        return day.starts_at(self._seed, min(MAX_JITTER, self._window.seconds))

    def _reserved_for_dismissals(
        self, day: DailyWindow, now: float, left: int, backlog: int
    ) -> int:
        expected = day.expected_dismissals(now)
        if not day.dismissed_yesterday and not day.dismissed:
            expected = left * DEFAULT_DISMISS_SHARE
        # Without polls there is nothing to dismiss, so polls get at least half of the
        # calls.
        return min(ceil(backlog + expected), left // 2)
