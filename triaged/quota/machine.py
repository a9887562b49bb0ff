"""The quota as a state machine: it is told the time and what happened, and answers.

Calls are charged when they are admitted.  All state can be written down and read back,
so several processes can share it through whatever keeps it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

from triaged.quota.closing import Closing
from triaged.quota.day import Day
from triaged.quota.others import ALONE, Others
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
FORMAT: Final = 2
MOST_JITTER: Final = 60.0
# Before anything is known, this share of the day is kept for dismissals.
FIRST_DISMISS_SHARE: Final = 0.25
_LATENCY_WEIGHT: Final = 0.2


@dataclass(slots=True)
class _Flight:
    sent_at: float
    number: int  # among the day's calls of ours
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
        self._closing = Closing()
        self._others = Others()
        self._interval = 0.0
        # What another version wrote is not guessed at; the headers soon tell.
        if state and state.get("format") == FORMAT:
            self._restore(state)

    def admit(self, now: float, purpose: Purpose, wanted: int = 1) -> Admission:
        """Charge up to so many calls that may leave now."""
        day = self._come_to(now)
        if now < self._closing.until:
            return Admission((), self._closing.until, self._closing.window)
        spare = day.remaining(len(self._flights)) - day.reserved(self._settings.reserve)
        # A poll with the last call could only find what then cannot be dismissed.
        if spare < (2 if purpose is Purpose.POLL else 1):
            return Admission((), self._after_reset(day), "day")
        tickets: list[int] = []
        most = min(wanted, spare)
        if self._closing.strikes:
            # After a refusal one call goes ahead, and the others wait for its answer.
            most = min(most, 1 - len(self._flights))
            if most <= 0:
                return Admission((), None, None)
        while len(tickets) < most:
            leave = self._leave(now)
            if leave is Leave.BUSY:
                return Admission(tuple(tickets), None, None)
            if leave is Leave.FULL:
                over = self._log.total + self._unheard(now) - self._pace.cap
                until = self._log.frees_at(1 + over)
                return Admission(tuple(tickets), until, "minute")
            tickets.append(self._depart(day, now, purpose, probe=leave is Leave.PROBE))
        if len(tickets) == spare < wanted:
            return Admission(tuple(tickets), self._after_reset(day), "day")
        return Admission(tuple(tickets))

    def answered(self, now: float, ticket: int, word: ServerWord) -> None:
        """Learn from a call that the server took, whatever it said of it."""
        day = self._come_to(now)
        flight = self._land(now, ticket)
        self._hear(day, now, word, flight)
        if flight is None:
            return
        day.dismissed += flight.dismissal
        took = max(now - flight.sent_at, 0.0)
        self._latency += _LATENCY_WEIGHT * (took - self._latency)
        if flight.sent_at > self._closing.refused_at:
            self._closing.strikes = 0
            self._pace.accepted(count=self._log.total, probe=flight.probe)
        else:
            self._pace.corrected(count=self._log.total)

    def refused(self, now: float, ticket: int, word: ServerWord) -> WindowName:
        """Close the gate after a 429, for everybody; say which window is blamed."""
        day = self._come_to(now)
        flight = self._flights.pop(ticket, None)
        self._hear(day, now, word, flight)
        window: WindowName = "day" if word.remaining == 0 else "minute"
        sent_at = now if flight is None else flight.sent_at
        fresh = self._closing.refuse(now, sent_at)
        until = self._after_reset(day)
        if window == "day" and sent_at < day.began_at:
            # The share that was used up is yesterday's.
            until = min(now + self._settings.minute_window, until)
        if window == "minute":
            until = min(self._after_minute(now), until)
            if fresh:
                probe = flight is not None and flight.probe
                # Others' calls are in the count: the cap must leave room beside them.
                least = 2 + round(self._others.rate * self._settings.minute_window)
                self._pace.refused(count=self._log.total, probe=probe, least=least)
            # Whether refused calls count is unknown; a slot costs less than a refusal.
            self._log.add(now)
        if word.retry_after is not None:
            until = max(until, word.retry_after.timestamp())
        self._closing.close(now, until, window)
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
            return max(reset, now + wished, self._closing.until)
        polls = left - self._kept_for_dismissals(day, now, left, backlog)
        self._interval = max(wished, (day.reset_at - now) / max(polls, 1))
        at = min(now + self._interval, max(reset, now + wished))
        return max(at, self._closing.until)

    def view(self, now: float) -> QuotaView:
        """Return everything that people and metrics want to know."""
        day = self._come_to(now)
        closing, closed = self._closing, now < self._closing.until
        in_flight = len(self._flights)
        return QuotaView(
            daily_limit=day.limit,
            remaining=day.remaining(in_flight),
            reserved=day.reserved(self._settings.reserve),
            reset_at=day.reset_at,
            closed_until=closing.until if closed else None,
            closed_window=closing.window if closed else None,
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
                [ticket, f.sent_at, f.number, f.probe, f.dismissal]
                for ticket, f in self._flights.items()
            ],
            "next_ticket": self._next_ticket,
            "latency": self._latency,
            "closing": asdict(self._closing),
            "others": asdict(self._others),
            "interval": self._interval,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        settings = self._settings
        pace = Pace(**state["pace"])
        if pace.ceiling == settings.minute_limit:
            self._pace = pace
        self._log = WindowLog(state["window"], state["log"])
        if state["window"] != settings.minute_window:
            self._log = self._log.resized(settings.minute_window)
        if state["day"] is not None:
            self._day = Day(**{**state["day"], "given": settings.daily_limit})
        self._flights = {
            ticket: _Flight(*flight) for ticket, *flight in state["flights"]
        }
        self._next_ticket = state["next_ticket"]
        self._latency = state["latency"]
        self._closing = Closing(**state["closing"])
        self._others = Others(**state["others"])
        self._interval = state["interval"]

    def _come_to(self, now: float) -> Day:
        """Let time pass: free slots, give up on lost calls, begin a new day."""
        if self._day is None:
            self._day = Day.at(now, self._settings.daily_limit)
        self._log.rewind(now)
        self._log.prune(now)
        self._closing.rewind(now)
        for ticket, flight in list(self._flights.items()):
            if not now - FLIGHT_SECONDS < flight.sent_at <= now + 1.0:
                self._land(now, ticket)
                self._day.unheard()
        self._others.rewind(now)
        if self._day.roll(now, len(self._flights)):
            self._others.forget_day()
        return self._day

    def _leave(self, now: float) -> Leave:
        busy, window = len(self._flights), self._settings.minute_window
        return self._pace.leave(
            used=self._log.total + busy + self._unheard(now),
            busy=busy,
            rate=self._latency / window,
            alone=self._others.rate < ALONE,
        )

    def _unheard(self, now: float) -> int:
        """Foresee others' calls since the last answer; never a reason not to ask."""
        foreseen = self._others.unheard(now, self._settings.minute_window)
        foreseen += self._others.rate >= ALONE
        return min(foreseen, self._pace.cap // 2)

    def _depart(self, day: Day, now: float, purpose: Purpose, *, probe: bool) -> int:
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        dismissal = purpose is Purpose.DISMISS
        if probe:
            self._pace.probing()
        day.spent += 1
        self._flights[ticket] = _Flight(now, day.spent, probe, dismissal)
        return ticket

    def _land(self, now: float, ticket: int) -> _Flight | None:
        flight = self._flights.pop(ticket, None)
        if flight is not None:
            self._log.add(now)
        return flight

    def _hear(
        self, day: Day, now: float, word: ServerWord, flight: _Flight | None
    ) -> None:
        known, began_at = day.said_limit, day.began_at
        sent_at = now if flight is None else flight.sent_at
        in_flight = len(self._flights)
        told = day.hear(now, word, sent_at=sent_at, in_flight=in_flight)
        if day.said_limit is not None and day.said_limit != known:
            self._pace.expect(day.said_limit)
        if day.said_limit != known or day.began_at != began_at:
            self._others.forget_day()
        if not told or word.remaining is None:
            day.unheard()
        elif flight is not None and sent_at >= day.began_at:
            # Calls are mostly counted in the order in which they leave.
            exact = not in_flight and flight.number == day.spent
            estimate, most = -word.remaining - flight.number, 2 * self._pace.cap
            for moment in self._others.hear(now, estimate, exact=exact, most=most):
                if moment + self._settings.minute_window > now:
                    self._log.add(moment)

    def _after_minute(self, now: float) -> float:
        """Return when to ask again after the minute was full, wider each time."""
        window = self._settings.minute_window
        if self._closing.strikes > 1:
            return now + self._closing.widened(window)
        # The server's window began no later than our oldest call in it.
        oldest = self._log.frees_at(1)
        return now + window if oldest is None else min(max(oldest, now), now + window)

    def _after_reset(self, day: Day) -> float:
        window = self._settings.minute_window
        return day.opens_at(self._seed, min(MOST_JITTER, window))

    def _kept_for_dismissals(
        self, day: Day, now: float, left: int, backlog: int
    ) -> int:
        foreseen = day.expected_dismissals(now)
        if not day.before and not day.dismissed:
            foreseen = left * FIRST_DISMISS_SHARE
        # Without polls nothing is found to dismiss, so half the calls stay theirs.
        return min(ceil(backlog + foreseen), left // 2)
