"""The quota as a state machine: it is told the time and what happened, and answers.

Calls are charged when they are admitted.  All state can be written down and read back,
so several processes can share it through whatever keeps it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, inf
from typing import Any, Final
from zlib import crc32

from triaged.quota.day import Day
from triaged.quota.pace import Leave, Pace
from triaged.quota.values import (
    Admission,
    Purpose,
    QuotaSettings,
    QuotaView,
    ServerWord,
    WindowName,
)
from triaged.quota.window import WindowLog

# Whoever asked has died, or will not hear of it any more.
FLIGHT_SECONDS: Final = 120.0
FORMAT: Final = 1
# Doubling from a minute, this is two thirds of a day: a lock-out costs a handful.
MAX_WIDENING: Final = 12
MAX_JITTER_SECONDS: Final = 60.0
# Before anything is known, this share of the day is kept for dismissals.
FIRST_DISMISS_SHARE: Final = 0.25
_LATENCY_WEIGHT: Final = 0.2


@dataclass(slots=True)
class _Flight:
    sent_at: float
    probe: bool
    dismissal: bool


class Quota:
    """Says when calls may leave so that neither minute, day nor reserve is overrun."""

    def __init__(
        self,
        settings: QuotaSettings,
        state: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self._settings = settings
        self._seed = seed
        self._pace = Pace.fresh(settings.minute_limit)
        self._log = WindowLog(settings.minute_window)
        self._day: Day | None = None
        self._flights: dict[int, _Flight] = {}
        self._next_ticket = 1
        self._latency = 0.0
        self._closed_until = 0.0
        self._closed_window: WindowName | None = None
        self._refused_at = -inf
        self._strikes = 0
        self._interval = 0.0
        # What another version wrote is not guessed at; the headers soon tell.
        if state and state.get("format") == FORMAT:
            self._restore(state)

    def admit(self, now: float, purpose: Purpose, wanted: int = 1) -> Admission:
        """Charge up to so many calls that may leave now."""
        day = self._come_to(now)
        if now < self._closed_until:
            return Admission((), self._closed_until, self._closed_window)
        spare = day.remaining(len(self._flights)) - day.reserved(self._settings.reserve)
        # A poll with the last call could only find what then cannot be dismissed.
        if spare < (2 if purpose is Purpose.POLL else 1):
            return Admission((), self._after_reset(day), "day")
        tickets: list[int] = []
        most = min(wanted, spare)
        if self._strikes:
            # After a refusal one call goes ahead, and the others wait for its answer.
            most = min(most, 1 - len(self._flights))
            if most <= 0:
                return Admission((), None, None)
        while len(tickets) < most:
            leave = self._leave()
            if leave is Leave.BUSY:
                return Admission(tuple(tickets), None, None)
            if leave is Leave.FULL:
                until = self._log.frees_at(1 + self._log.total - self._pace.cap)
                return Admission(tuple(tickets), until, "minute")
            tickets.append(self._depart(day, now, purpose, probe=leave is Leave.PROBE))
        if len(tickets) == spare < wanted:
            return Admission(tuple(tickets), self._after_reset(day), "day")
        return Admission(tuple(tickets))

    def answered(self, now: float, ticket: int, word: ServerWord) -> None:
        """Learn from a call that the server took, whatever it said of it."""
        day = self._come_to(now)
        flight = self._land(now, ticket)
        self._hear(day, now, word)
        if flight is None:
            return
        day.dismissed += flight.dismissal
        took = max(now - flight.sent_at, 0.0)
        self._latency += _LATENCY_WEIGHT * (took - self._latency)
        if flight.sent_at > self._refused_at:
            self._strikes = 0
            self._pace.accepted(count=self._log.total, probe=flight.probe)
        else:
            self._pace.corrected(count=self._log.total)

    def refused(self, now: float, ticket: int, word: ServerWord) -> WindowName:
        """Close the gate after a 429, for everybody; say which window is blamed."""
        day = self._come_to(now)
        flight = self._flights.pop(ticket, None)
        self._hear(day, now, word)
        window: WindowName = "day" if word.remaining == 0 else "minute"
        fresh = flight is None or flight.sent_at > self._refused_at
        if fresh:
            self._refused_at = now
            self._strikes = min(self._strikes + 1, MAX_WIDENING)
        if window == "day":
            until = self._after_reset(day)
        else:
            until = min(self._after_minute(now), self._after_reset(day))
            if fresh:
                probe = flight is not None and flight.probe
                self._pace.refused(count=self._log.total, probe=probe)
            # Whether refused calls count is unknown; a slot costs less than a refusal.
            self._log.add(now)
        if word.retry_after is not None:
            until = max(until, word.retry_after.timestamp())
        if until > self._closed_until:
            self._closed_until, self._closed_window = until, window
        return window

    def unanswered(self, now: float, ticket: int) -> None:
        """Count a call that was sent and told nothing."""
        day = self._come_to(now)
        if self._land(now, ticket) is not None:
            day.unheard()

    def cancelled(self, now: float, ticket: int) -> None:
        """Give back a call that never left the machine."""
        day = self._come_to(now)
        if self._flights.pop(ticket, None) is not None:
            day.spent = max(day.spent - 1, 0)

    def abandon_dismissals(self, now: float) -> None:
        """Count dismissals in flight as sent and lost: whoever sent them has died."""
        day = self._come_to(now)
        for ticket in [t for t, flight in self._flights.items() if flight.dismissal]:
            self._land(now, ticket)
            day.unheard()

    def next_poll(self, now: float, wished: float, *, backlog: int = 0) -> float:
        """Say when to poll next, so that polls and dismissals fit into the day."""
        day = self._come_to(now)
        reset = self._after_reset(day)
        left = day.remaining(len(self._flights)) - day.reserved(self._settings.reserve)
        if left < 2:  # noqa: PLR2004 - a poll and what it may find
            return reset
        polls = left - self._kept_for_dismissals(day, now, left, backlog)
        interval = max(wished, (day.reset_at - now) / max(polls, 1))
        self._interval = interval
        at = now + interval
        if now < self._closed_until:
            at = max(at, self._closed_until)
        return min(at, max(reset, now + wished))

    def view(self, now: float) -> QuotaView:
        """Return everything that people and metrics want to know."""
        day = self._come_to(now)
        closed = now < self._closed_until
        in_flight = len(self._flights)
        return QuotaView(
            daily_limit=day.limit,
            remaining=day.remaining(in_flight),
            reserved=day.reserved(self._settings.reserve),
            reset_at=day.reset_at,
            closed_until=self._closed_until if closed else None,
            closed_window=self._closed_window if closed else None,
            minute_limit=self._pace.cap,
            spent_today=day.spent,
            spent_by_others=day.others(in_flight),
            plan_known=self._pace.settled,
            poll_interval=self._interval,
        )

    def state(self) -> dict[str, Any]:
        """Write everything down, as JSON can hold it."""
        return {
            "format": FORMAT,
            "pace": asdict(self._pace),
            "window": self._settings.minute_window,
            "log": self._log.packed(),
            "day": asdict(self._day) if self._day is not None else None,
            "flights": [
                [ticket, round(f.sent_at, 3), f.probe, f.dismissal]
                for ticket, f in self._flights.items()
            ],
            "next_ticket": self._next_ticket,
            "latency": round(self._latency, 4),
            "closed": [self._closed_until, self._closed_window],
            "refused_at": max(self._refused_at, 0.0),
            "strikes": self._strikes,
            "interval": self._interval,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        settings = self._settings
        pace = Pace(**state["pace"])
        if pace.ceiling == settings.minute_limit:
            self._pace = pace
        if state["window"] == settings.minute_window:
            self._log = WindowLog(settings.minute_window, state["log"])
        if state["day"] is not None:
            self._day = Day(**{**state["day"], "given": settings.daily_limit})
        self._flights = {
            ticket: _Flight(sent_at, probe, dismissal)
            for ticket, sent_at, probe, dismissal in state["flights"]
        }
        self._next_ticket = state["next_ticket"]
        self._latency = state["latency"]
        self._closed_until, self._closed_window = state["closed"]
        self._refused_at = state["refused_at"]
        self._strikes = state["strikes"]
        self._interval = state["interval"]

    def _come_to(self, now: float) -> Day:
        """Let time pass: free slots, give up on lost calls, begin a new day."""
        if self._day is None:
            self._day = Day.at(now, self._settings.daily_limit)
        self._log.rewind(now)
        self._log.prune(now)
        if self._closed_until > now + 8 * 86_400:
            # Only a clock that was set back by a week can get us here.
            self._closed_until = now
        for ticket, flight in list(self._flights.items()):
            if not now - FLIGHT_SECONDS < flight.sent_at <= now + 1.0:
                self._land(now, ticket)
                self._day.unheard()
        if self._day.roll(now):
            # Those in flight belong to whichever day the server says.
            self._day.spent = len(self._flights)
            if self._closed_window == "day":
                self._closed_until = min(self._closed_until, now + self._jitter(now))
        return self._day

    def _leave(self) -> Leave:
        busy = len(self._flights)
        return self._pace.leave(
            used=self._log.total + busy,
            busy=busy,
            probes=sum(flight.probe for flight in self._flights.values()),
            rate=self._latency / self._settings.minute_window,
        )

    def _depart(self, day: Day, now: float, purpose: Purpose, *, probe: bool) -> int:
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        dismissal = purpose is Purpose.DISMISS
        if probe:
            self._pace.probing()
        self._flights[ticket] = _Flight(now, probe, dismissal)
        day.spent += 1
        return ticket

    def _land(self, now: float, ticket: int) -> _Flight | None:
        flight = self._flights.pop(ticket, None)
        if flight is not None:
            self._log.add(now)
        return flight

    def _hear(self, day: Day, now: float, word: ServerWord) -> None:
        known = day.said_limit
        if not day.hear(now, word, idle=not self._flights):
            day.unheard()
        if day.said_limit is not None and day.said_limit != known:
            self._pace.expect(day.said_limit)

    def _after_minute(self, now: float) -> float:
        """Return when to ask again after the minute was full, wider each time."""
        window = self._settings.minute_window
        if self._strikes > 1:
            return now + window * 2.0 ** (self._strikes - 2)
        # The server's window began no later than our oldest call in it.
        oldest = self._log.frees_at(1)
        return now + window if oldest is None else min(max(oldest, now), now + window)

    def _after_reset(self, day: Day) -> float:
        return day.reset_at + self._jitter(day.reset_at)

    def _jitter(self, moment: float) -> float:
        """Spread those who wait for the same moment, each always by the same."""
        most = min(MAX_JITTER_SECONDS, self._settings.minute_window)
        share = float(crc32(f"{self._seed}:{moment:.0f}".encode()) / 2**32)
        return most * share

    def _kept_for_dismissals(
        self, day: Day, now: float, left: int, backlog: int
    ) -> int:
        foreseen = day.expected_dismissals(now)
        if not day.before and not day.dismissed:
            foreseen = left * FIRST_DISMISS_SHARE
        # Without polls nothing is found to dismiss, so half the calls stay theirs.
        return min(ceil(backlog + foreseen), left // 2)
