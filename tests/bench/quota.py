"""The quota on a virtual clock, against servers that only show a 429 for the minute.

Run ``python -m tests.bench.quota`` (``--quick`` for a small part).  Each row drains
tasks at one server; the columns are the drain time over what the server's window allows
(over 20 windows and more; a fixed window's phase may cost one), the share of calls
refused, calls per dismissal and the number of refusals.  The baselines are models of
their algorithms on the same clock, set to the right limit.
"""

import argparse
import heapq
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from triaged.gate import CLEARED, WIDTH
from triaged.quota import Purpose, Quota, QuotaSettings, ServerWord

WINDOW: Final = 60.0
DAY: Final = 86_400.0
START: Final = 1_772_323_200.0  # 2026-03-01 00:00 UTC


class Server(Protocol):
    """A rate limiter somewhere else."""

    limit: int

    def take(self, now: float) -> bool:
        """Say whether a call at this moment is served."""
        ...


@dataclass
class FixedWindow:
    """Counts calls in windows whose phase nobody tells."""

    limit: int
    phase: float
    count_refused: bool = False
    _window: int = -1
    _count: int = 0

    def take(self, now: float) -> bool:
        window = int((now - self.phase) // WINDOW)
        if window != self._window:
            self._window, self._count = window, 0
        served = self._count < self.limit
        self._count += served or self.count_refused
        return served


@dataclass
class SlidingLog:
    """Counts the calls of the last window, at every moment."""

    limit: int
    count_refused: bool = False
    _calls: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> bool:
        while self._calls and self._calls[0] <= now - WINDOW:
            self._calls.popleft()
        served = len(self._calls) < self.limit
        if served or self.count_refused:
            self._calls.append(now)
        return served


@dataclass
class TokenBucket:
    """Fills evenly and holds one window's worth."""

    limit: int
    _tokens: float = -1.0
    _at: float = 0.0

    def take(self, now: float) -> bool:
        if self._tokens < 0:
            self._tokens = self.limit
        else:
            gained = (now - self._at) * self.limit / WINDOW
            self._tokens = min(self._tokens + gained, self.limit)
        self._at = now
        served = self._tokens >= 1 - 1e-9
        self._tokens -= served
        return served


@dataclass
class Drained:
    """What draining so many tasks took."""

    seconds: float
    calls: int
    refused: int
    done: int


class Client(Protocol):
    """A strategy: when its next call may leave, and what it makes of answers."""

    width: int

    def ready_at(self, now: float) -> float:
        """Return when to ask for the next call; now or earlier means at once."""
        ...

    def sent(self, now: float) -> int:
        """Note that a call leaves; return a name for it."""
        ...

    def answered(
        self, now: float, name: int, *, served: bool, word: ServerWord
    ) -> None:
        """Note what came back."""
        ...


class Ours:
    """The product's quota behind a gate as ``triaged.gate`` is."""

    width = WIDTH

    def __init__(self, settings: QuotaSettings) -> None:
        self._quota = Quota(settings)
        self._cleared: deque[int] = deque()

    def ready_at(self, now: float) -> float:
        if not self._cleared:
            admission = self._quota.admit(now, Purpose.DISMISS, CLEARED)
            self._cleared += admission.tickets
            if not admission.tickets:
                return now + 0.1 if admission.until is None else admission.until
        return now

    def sent(self, now: float) -> int:
        del now
        return self._cleared.popleft()

    def answered(
        self, now: float, name: int, *, served: bool, word: ServerWord
    ) -> None:
        if served:
            self._quota.answered(now, name, word)
        else:
            self._quota.refused(now, name, word)
            # What was cleared may not leave while the gate is closed.
            for ticket in self._cleared:
                self._quota.cancelled(now, ticket)
            self._cleared.clear()


class PlainLoop:
    """The documentation's loop: one call after the other, again when refused."""

    width = 1

    def ready_at(self, now: float) -> float:
        return now

    def sent(self, now: float) -> int:
        del now
        return 0

    def answered(
        self, now: float, name: int, *, served: bool, word: ServerWord
    ) -> None:
        pass


class Backoff(PlainLoop):
    """tenacity's random exponential wait, 1 s doubling to 60 s, for eight workers."""

    width = WIDTH

    def __init__(self) -> None:
        self._random = random.Random(1)  # noqa: S311 - not secret
        self._attempt = 0
        self._until = 0.0

    def ready_at(self, now: float) -> float:
        return max(self._until, now)

    def answered(
        self, now: float, name: int, *, served: bool, word: ServerWord
    ) -> None:
        self._attempt = 0 if served else self._attempt + 1
        if not served:
            most = min(60.0, 2.0 ** min(self._attempt, 10))
            self._until = now + self._random.uniform(0, most)


class LeakyBucket(PlainLoop):
    """aiolimiter at the right limit: a burst of it, then evenly."""

    width = WIDTH

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._level = 0.0
        self._at = START

    def ready_at(self, now: float) -> float:
        self._level = max(self._level - (now - self._at) * self._limit / WINDOW, 0.0)
        self._at = now
        over = self._level + 1 - self._limit
        return now + max(over, 0) * WINDOW / self._limit

    def sent(self, now: float) -> int:
        del now
        self._level += 1
        return 0


class SlidingLimiter(PlainLoop):
    """pyrate-limiter's sliding log at the right limit, by the moment of sending."""

    width = WIDTH

    def __init__(self, limit: int) -> None:
        self._log = SlidingLog(limit)

    def ready_at(self, now: float) -> float:
        calls = self._log._calls  # noqa: SLF001 - the same class, borrowed
        while calls and calls[0] <= now - WINDOW:
            calls.popleft()
        return calls[0] + WINDOW if len(calls) >= self._log.limit else now

    def sent(self, now: float) -> int:
        self._log.take(now)
        return 0


def drain(
    client: Client,
    server: Server,
    tasks: int,
    *,
    neighbour: float = 0.0,
    headers: bool = True,
    seed: int = 1,
    latency: tuple[float, float] = (0.05, 0.4),
    change: tuple[float, int] | None = None,
    day_limit: int = 1_000_000,
    patience: float = 1e7,
) -> Drained:
    """Send calls until so many tasks are done; a refused call's task waits again."""
    chance = random.Random(seed)  # noqa: S311 - not secret
    now, left, done, calls, refused = START, tasks, 0, 0, 0
    events: list[tuple[float, int, str, int]] = []
    names: dict[int, tuple[int, bool]] = {}
    in_flight = spent = number = 0
    wake = START
    every = WINDOW / (server.limit * neighbour) if neighbour else 0.0
    if neighbour:
        heapq.heappush(events, (START + every * chance.random(), 0, "neighbour", 0))
    while done < tasks and now < START + patience:
        while left and in_flight < client.width:
            wake = client.ready_at(now)
            if wake > now:
                break
            name, number = client.sent(now), number + 1
            took = chance.uniform(*latency)
            calls, left, in_flight = calls + 1, left - 1, in_flight + 1
            arrives = now + took * chance.uniform(0.2, 0.8)
            heapq.heappush(events, (arrives, number, "arrives", name))
            heapq.heappush(events, (now + took, number, "answer", name))
        waits = left and in_flight < client.width and wake > now
        if waits and (not events or wake < events[0][0]):
            now = wake
            continue
        now, which, kind, name = heapq.heappop(events)
        if change is not None and now >= START + change[0]:
            server.limit, change = change[1], None
        if kind == "neighbour":
            spent += server.take(now)
            heapq.heappush(events, (now + every, which, "neighbour", 0))
        elif kind == "arrives":
            served = spent < day_limit and server.take(now)
            spent += served
            names[which] = (max(day_limit - spent, 0), served)
        else:
            remaining, served = names.pop(which)
            word = ServerWord()
            if headers:
                reset = datetime.fromtimestamp(START + DAY, UTC)
                word = ServerWord(limit=day_limit, remaining=remaining, reset=reset)
            in_flight -= 1
            done, refused, left = (
                done + served,
                refused + (not served),
                left + (not served),
            )
            client.answered(now, name, served=served, word=word)
    return Drained(now - START, calls, refused, done)


def servers(limit: int, *, counted: bool) -> Iterator[tuple[str, Server]]:
    """Give each kind of server, the fixed window with two phases."""
    for phase in (7.0, 41.0):
        yield f"fixed+{phase:g}", FixedWindow(limit, phase, counted)
    yield "sliding", SlidingLog(limit, counted)
    if not counted:
        yield "bucket", TokenBucket(limit)


@dataclass
class Row:
    """One line of the table."""

    name: str
    over: float
    refused: float
    per_dismissal: float
    refusals: int


def measure(
    name: str,
    make: Callable[[], Client],
    server: Server,
    *,
    neighbour: float = 0.0,
    headers: bool = True,
    windows: int = 21,
) -> Row:
    """Drain so many windows' worth and compare with what the window allows."""
    limit = server.limit * (1 - neighbour)
    tasks = int(limit * windows)
    drained = drain(
        make(), server, tasks, neighbour=neighbour, headers=headers, patience=DAY - 60
    )
    best = (tasks / limit - 1) * WINDOW * drained.done / tasks
    # The phase of a fixed window cannot be known, so up to one may be lost to it.
    lost = WINDOW if isinstance(server, FixedWindow) else 0.0
    return Row(
        name,
        max(drained.seconds - lost, best) / best if best else 0.0,
        drained.refused / drained.calls,
        drained.calls / max(drained.done, 1),
        drained.refused,
    )


def lock_out(*, headers: bool) -> int:
    """Count the refused calls of a day whose limit is a tenth of what we were told."""
    settings = QuotaSettings(minute_limit=50, daily_limit=1_000, reserve=0.0)
    server = SlidingLog(50)
    drained = drain(
        Ours(settings), server, 1_000, headers=headers, day_limit=100, patience=DAY - 60
    )
    return drained.refused


@dataclass
class Week:
    """A simulated week on the smallest plan."""

    refused: int = 0
    most_spent: int = 0
    worst_wait: float = 0.0
    waiting: int = 0


def starter_week(days: int = 7, a_day: int = 40) -> Week:
    """Poll and dismiss for a week with so many new dismissable tasks a day."""
    chance = random.Random(3)  # noqa: S311 - not secret
    quota = Quota(QuotaSettings.for_plan("starter"))
    server = FixedWindow(10, 13.0)
    due = sorted(START + chance.random() * days * DAY for _ in range(a_day * days))
    week, now, spent, day = Week(), START, 0, 0
    waiting: list[float] = []

    def call(purpose: Purpose) -> bool:
        nonlocal now, spent, day
        while True:
            admission = quota.admit(now, purpose)
            if admission.tickets:
                break
            if admission.window == "day":
                return False
            now = max(now, admission.until or now + 0.1)
        today = int((now - START) // DAY)
        if today != day:
            day, spent = today, 0
        served = server.take(now + 0.1)
        spent += served
        week.refused += not served
        week.most_spent = max(week.most_spent, spent)
        reset = datetime.fromtimestamp(START + (today + 1) * DAY, UTC)
        word = ServerWord(limit=100, remaining=100 - spent, reset=reset)
        now += 0.3
        (quota.answered if served else quota.refused)(now, admission.tickets[0], word)
        return served

    while now < START + days * DAY:
        backlog = 0
        if call(Purpose.POLL):
            while due and due[0] <= now:
                waiting.append(due.pop(0))
            for since in waiting[:25]:
                if not call(Purpose.DISMISS):
                    break
                week.worst_wait = max(week.worst_wait, now - since)
                waiting.remove(since)
            backlog = len(waiting)
        now = max(quota.next_poll(now, 300.0, backlog=backlog), now + 1)
    late = [now - since for since in waiting]
    week.worst_wait = max([week.worst_wait, *late])
    week.waiting = len(waiting)
    return week


def table(limits: tuple[int, ...]) -> dict[str, list[Row]]:
    """Run everything; keep our rows by what was known beforehand."""
    ours: dict[str, list[Row]] = {"known": [], "unknown": [], "neighbour": []}
    for limit in limits:
        for counted in (False, True):
            for kind, server in servers(limit, counted=counted):
                for headers in (True, False):
                    tags = [kind, str(limit)]
                    tags += ["counted"] * counted + ["no headers"] * (not headers)
                    name = " ".join(tags)
                    known = QuotaSettings(minute_limit=limit, daily_limit=10**6)
                    unknown = QuotaSettings(daily_limit=10**6)
                    for group, settings, share in (
                        ("known", known, 0.0),
                        ("unknown", unknown, 0.0),
                        ("neighbour", known, 0.3),
                    ):
                        row = measure(
                            f"{group:9} {name}",
                            partial(Ours, settings),
                            fresh(server),
                            neighbour=share,
                            headers=headers,
                            windows=max(101, 6000 // limit) if share else 21,
                        )
                        ours[group].append(row)
            _, server = next(servers(limit, counted=counted))
            for name, make in (
                ("plain loop", PlainLoop),
                ("exponential back-off", Backoff),
                ("leaky bucket", partial(LeakyBucket, limit)),
                ("sliding limiter", partial(SlidingLimiter, limit)),
            ):
                for share in (0.0, 0.3):
                    tag = f"{name} fixed {limit}{' counted' if counted else ''}"
                    tag += f" {'neighbour' if share else ''}"
                    show(measure(tag, make, fresh(server), neighbour=share))
    return ours


def fresh(server: Server) -> Server:
    """Return the same kind of server as it was at the start."""
    match server:
        case FixedWindow():
            return FixedWindow(server.limit, server.phase, server.count_refused)
        case SlidingLog():
            return SlidingLog(server.limit, server.count_refused)
        case _:
            return TokenBucket(server.limit)


def show(row: Row) -> None:
    """Print one line."""
    print(
        f"{row.name:44} {row.over:6.3f} {row.refused:8.2%} {row.per_dismissal:6.2f}"
        f" {row.refusals:6}"
    )


def main() -> None:
    """Measure, print the table, and say which targets hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print(f"{'':44} {'drain':>6} {'refused':>8} {'calls':>6} {'refusals':>6}")
    ours = table((10, 50) if quick else (10, 50, 200))
    for rows in ours.values():
        for row in rows:
            show(row)
    changed = [
        drain(
            Ours(QuotaSettings(daily_limit=10**6)),
            FixedWindow(before, 7.0),
            (before + after) * 10,
            change=(10 * WINDOW, after),
        )
        for before, after in ((50, 30), (30, 50))
    ]
    best = 19 * WINDOW
    with_headers, without = lock_out(headers=True), lock_out(headers=False)
    week = starter_week()
    print(f"a day's lock-out: {with_headers} refused with headers, {without} without")
    print(
        f"a week on starter: {week.refused} refused, at most {week.most_spent} of 100"
        f" calls a day, longest wait {week.worst_wait / 3600:.1f} h,"
        f" {week.waiting} still waiting"
    )
    failed = False

    def target(name: str, value: float, most: float, form: str = ".3f") -> None:
        nonlocal failed
        verdict = "PASS" if value <= most else "FAIL"
        failed |= verdict == "FAIL"
        print(f"{verdict}: {name} {value:{form}}, wanted at most {most:{form}}")

    target("known limit, drain", max(r.over for r in ours["known"]), 1.02)
    target("known limit, refused", max(r.refused for r in ours["known"]), 0, ".2%")
    target(
        "neighbour, refused", max(r.refused for r in ours["neighbour"]), 0.005, ".2%"
    )
    target("unknown limit, drain", max(r.over for r in ours["unknown"]), 1.05)
    target(
        "unknown limit, refusals", max(r.refusals for r in ours["unknown"]), 3, ".0f"
    )
    over = max(max(d.seconds - WINDOW, best) / best for d in changed)
    target("changed limit, drain", over, 1.10)
    target(
        "changed limit, refused", max(d.refused / d.calls for d in changed), 0.01, ".2%"
    )
    target("lock-out with headers, refused", with_headers, 1, ".0f")
    target("lock-out without headers, refused", without, 12, ".0f")
    target("week, calls a day", week.most_spent, 80, ".0f")
    target("week, refused", week.refused, 0, ".0f")
    target("week, longest wait in hours", week.worst_wait / 3600, 24, ".1f")
    sys.exit(failed)


if __name__ == "__main__":
    main()
