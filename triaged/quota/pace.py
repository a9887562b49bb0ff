"""How many calls fit into one minute window: given, or learned from refusals.

Nobody shows the minute's limit. More than the limit can only be found by trying, and
each failed try is a refused call, so tries are single calls with long patience between.
"""

from dataclasses import dataclass
from enum import Enum, auto
from math import ceil
from typing import Final

from triaged.quota.values import PLANS

MAX_IN_FLIGHT: Final = 16
MIN_IN_FLIGHT: Final = 4
# Exploring an unknown limit, all calls in flight are refused together when it is hit.
CAUTIOUS: Final = 3

RUNGS: Final = tuple(sorted(plan.per_minute for plan in PLANS.values()))

# How many windows to be content with what is known before trying for more.  A limit
# that is some plan's hardly moves; below a given plan it is a neighbour's doing.
PATIENCE_PLAN: Final = 40
PATIENCE_OTHER: Final = 4
# Each failed try doubles the patience, up to this many windows.
PATIENCE_MOST: Final = 64
# The last part of an uncertain limit is spent with few calls in flight: those are what
# is refused together.
CAREFUL_SHARE: Final = 0.8
CAREFUL: Final = 2


class Leave(Enum):
    """Whether one more call may leave, as far as the minute is concerned."""

    YES = auto()
    PROBE = auto()
    BUSY = auto()
    FULL = auto()


@dataclass(slots=True)
class Pace:
    """The limit in force, ``cap``, and what is known of it.

    ``ceiling`` is the plan's limit and is never exceeded; ``goal`` is what the daily
    limit lets us expect. ``proven`` is the highest count in one window without a
    refusal. ``base`` is the last cap that held for a window; ``step`` is how many calls
    beyond the cap are tried next, ``tries`` how many of them are left. ``before`` is
    the cap before the last refusal, while answers to calls of that moment may still
    correct what it taught.
    """

    ceiling: int | None
    cap: int
    settled: bool
    goal: int | None = None
    proven: int = 0
    patience: int = 0
    fails: int = 0
    step: int = 1
    tries: int = 1
    base: int = 0
    streak: int = 0
    before: int = 0

    @classmethod
    def fresh(cls, ceiling: int | None) -> "Pace":
        """Start from the plan, or at the smallest one when there is none."""
        known = ceiling is not None
        cap = ceiling or RUNGS[0]
        return cls(ceiling=ceiling, cap=cap, base=cap, settled=known)

    def leave(self, *, used: int, busy: int, probes: int, rate: float) -> Leave:
        """Judge one more call beside ``used`` ones in the window, ``busy`` in flight.

        ``rate`` is how many windows one call takes to be answered.
        """
        if not self.settled:
            return self._explore(used, busy, rate)
        if used < self.cap:
            most = in_flight(self.cap, rate)
            if self.cap != self.ceiling and used >= CAREFUL_SHARE * self.cap:
                most = CAREFUL
            return Leave.YES if busy < most else Leave.BUSY
        if self.cap == self.ceiling or self.patience > 0 or self.tries <= 0:
            return Leave.FULL
        if used > self.cap + probes:
            return Leave.FULL
        return Leave.PROBE if busy < CAREFUL else Leave.BUSY

    def _explore(self, used: int, busy: int, rate: float) -> Leave:
        if self.goal is not None and used >= self.goal:
            return Leave.FULL
        return Leave.YES if busy < self._cautious(used, rate) else Leave.BUSY

    def _cautious(self, used: int, rate: float) -> int:
        """Return how many may be in flight while the limit may be anywhere."""
        below = max((rung for rung in RUNGS if rung <= self.proven), default=0)
        # A fixed window's edge lets up to twice the limit through, so a count between
        # a plan's limit and its double does not prove that the plan is a bigger one.
        safe = below if below < self.proven <= 2 * below else self.proven
        if used < safe:
            return in_flight(safe, rate)
        below = max((rung for rung in RUNGS if rung <= used), default=0)
        if below == 0:
            return CAUTIOUS
        if self.proven <= below:
            return 1
        if used < 2 * below:
            return 2
        above = min((rung for rung in RUNGS if rung > used), default=2 * used)
        return min(max(ceil(1.25 * above * rate) + 1, 2), MAX_IN_FLIGHT)

    def expect(self, daily_limit: int) -> None:
        """Take the plan from its daily limit, until a refusal knows better."""
        plan = (p.per_minute for p in PLANS.values() if p.per_day == daily_limit)
        self.goal = next(plan, None)

    def probing(self) -> None:
        """Note that a call beyond the limit in force has left."""
        if self.tries == self.step and self.ceiling is None:
            # The cap held for a window, or nothing more would be tried.
            self.base = self.cap
        self.tries -= 1

    def accepted(self, *, count: int, probe: bool) -> None:
        """Learn from a call that was the last of ``count`` in its window."""
        self.patience -= self.patience > 0
        self.proven = max(self.proven, count)
        self.streak += 1
        if self.streak >= PATIENCE_OTHER * self.cap:
            self.base = self.cap
        if not self.settled:
            self.cap = max(self.cap, self.proven)
            if self.goal is not None and count >= self.goal:
                self._settle(self.goal)
        elif probe and count > self.cap:
            self.cap = min(count, self.ceiling or count)
            self.streak = 0
            if self.tries <= 0:
                # It held; try for twice as much more, a window from now.
                self.step = min(2 * self.step, max(self.cap // 4, 1))
                self.tries, self.patience = self.step, self.cap

    def refused(self, *, count: int, probe: bool) -> None:
        """Learn from a refusal after ``count`` accepted calls in the window."""
        self.before, self.step, self.tries, self.streak = self.cap, 1, 1, 0
        if not self.settled:
            self.before = 0
            self._settle(_snap(count))
            return
        if probe or 0 < self.base < self.cap:
            # What was tried does not hold: back to what did.
            self.before = 0
            self.fails += 1
            self.cap = min(self._held(count), self.cap)
        else:
            self.fails = 0
            self.cap = max(min(count, self.cap - 1), ceil(self.cap / 2), 1)
        self.base = self.cap
        self.patience = self._patience()

    def corrected(self, *, count: int) -> None:
        """Take into account calls that were accepted beside the refused one."""
        if self.before:
            self.cap = max(self.cap, min(count, self.before - 1))

    def _held(self, count: int) -> int:
        """Return what to go back to: the last cap, or a plan's limit above it."""
        if self.ceiling is not None:
            return self.base
        return max((r for r in RUNGS if self.base <= r <= count), default=self.base)

    def _settle(self, cap: int) -> None:
        self.cap, self.settled = max(cap, 1), True
        self.base = self.cap
        self.patience = self._patience()

    def _patience(self) -> int:
        """Return how many accepted calls to wait before the next try."""
        settled = self.ceiling is not None or self.cap in RUNGS
        windows = PATIENCE_PLAN if settled else PATIENCE_OTHER
        return self.cap * min(windows << min(self.fails, 4), PATIENCE_MOST)


def in_flight(cap: int, rate: float) -> int:
    """Return how many calls in flight use the limit, with room for slow answers."""
    return min(max(ceil(2 * cap * rate) + 2, MIN_IN_FLIGHT), MAX_IN_FLIGHT)


def _snap(count: int) -> int:
    """Prefer a documented limit that explains the count, be it across an edge."""
    plausible = (rung for rung in RUNGS if rung <= count <= 2 * rung)
    return max(plausible, default=count)
