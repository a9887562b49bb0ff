"""How many calls fit into one minute window: given, or learned from refusals.

Nobody shows the minute's limit.  More than the limit can only be found by trying, and
each failed try is a refused call, so tries are single calls with patience between.
"""

from dataclasses import dataclass
from enum import Enum, auto
from math import ceil
from typing import Final

from triaged.quota.values import PLANS

MAX_IN_FLIGHT: Final = 16
MIN_IN_FLIGHT: Final = 4
RUNGS: Final = tuple(sorted(plan.per_minute for plan in PLANS.values()))

# The last part of a limit that is not established is spent with few calls in flight:
# those are what is refused together.
CAREFUL_SHARE: Final = 0.8
CAREFUL: Final = 2
ESTABLISHED_WINDOWS: Final = 3
# How much of the limit may be added in one window: an edge may let through what a
# whole window does not.
GROWTH: Final = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many windows, and calls at least, to be content before a try."""

    windows: int
    calls: int
    most_fold: int


# A given plan is a promise: what keeps us below it is a neighbour, who comes and goes.
BELOW_PLAN: Final = Patience(windows=5, calls=500, most_fold=4)
# The plan that the day's limit tells of hardly changes while that stays.
AT_GOAL: Final = Patience(windows=40, calls=400, most_fold=1)
AT_RUNG: Final = Patience(windows=10, calls=120, most_fold=4)
# Some other limit may be anything, and change.
ELSEWHERE: Final = Patience(windows=5, calls=120, most_fold=1)
# What a try must find to be believed; a bucket lets as much through after a rest.
GAIN: Final = 0.1
GAIN_OVER_PLAN: Final = 0.3
# Going down one by one would cost a refusal each.
LEAST_DROP: Final = 0.02
# What is so near to a plan's limit is that limit.
NEARLY: Final = 1.05
# However few calls that are, nobody waits longer than this.
MOST_WINDOWS: Final = 100
# Nobody takes nearly all of a plan for long.
FAR_BELOW_WINDOWS: Final = 15


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
    limit lets us expect.  ``proven`` is the highest count in one window without a
    refusal while nothing is settled.  ``base`` is the last cap that held for long;
    ``streak`` counts accepted calls since a refusal, ``patience`` those to wait for
    before the next try, ``fails`` the tries in vain.  ``step`` is how far the present
    try may go beyond the cap, ``tries`` how much of that is left.  ``before`` bounds
    what answers to calls of the moment of a refusal may still correct.
    """

    ceiling: int | None
    cap: int
    settled: bool
    goal: int | None = None
    proven: int = 0
    base: int = 0
    streak: int = 0
    patience: int = 0
    fails: int = 0
    step: int = 1
    tries: int = 1
    before: int = 0

    @classmethod
    def fresh(cls, ceiling: int | None) -> "Pace":
        """Start from the plan, or at the smallest one when there is none."""
        known = ceiling is not None
        cap = ceiling or RUNGS[0]
        return cls(ceiling=ceiling, cap=cap, base=cap, settled=known)

    def leave(self, *, used: int, busy: int, rate: float, alone: bool = True) -> Leave:
        """Judge one more call beside ``used`` ones in the window, ``busy`` in flight.

        ``rate`` is how many windows one call takes to be answered; ``alone`` says
        that nobody else is seen to spend.
        """
        if not self.settled:
            if self.goal is not None and used >= self.goal:
                return Leave.FULL
            return Leave.YES if busy < self._exploring(used, rate) else Leave.BUSY
        if used < self.cap:
            return Leave.YES if busy < self._most(used, rate, alone) else Leave.BUSY
        if self.cap == self.ceiling or self.patience > 0:
            return Leave.FULL
        if busy:
            return Leave.BUSY
        return Leave.PROBE if used == self.cap else Leave.FULL

    def expect(self, daily_limit: int) -> None:
        """Take the plan from its daily limit, until a refusal knows better."""
        plan = (p.per_minute for p in PLANS.values() if p.per_day == daily_limit)
        self.goal = next(plan, None)

    def probing(self) -> None:
        """Note that a call beyond the limit in force has left."""
        first = self.tries == self.step
        if first and self.ceiling is None and self.streak >= self.cap:
            # What was tried before has held for a window.
            self.base = self.cap
        self.tries -= 1

    def accepted(self, *, count: int, probe: bool) -> None:
        """Learn from a call that was the last of ``count`` in its window."""
        self.streak += 1
        self.patience -= self.patience > 0
        if not self.settled:
            self.proven = max(self.proven, count)
            self.cap = max(self.cap, self.proven)
            if self.goal is not None and count >= self.goal:
                self._settle(self.goal)
        elif probe:
            self._grow(count)
        elif self.streak >= ESTABLISHED_WINDOWS * self.cap:
            self.base = self.cap

    def refused(self, *, count: int, probe: bool, least: int = 1) -> None:
        """Learn from a refusal after ``count`` accepted calls in the window.

        The limit does not fall below ``least``, unless it has been there.
        """
        accepted, self.before, self.streak = self.streak, self.cap, 0
        if not self.settled:
            self.before = count + MAX_IN_FLIGHT
            self._settle(_snap(count))
            if self.cap < count:
                # Either a plan across a window's edge, or another limit: soon tried.
                self.patience, self.before = self.cap, 0
            return
        if probe or self.base < self.cap:
            self._fall_back(count, probe=probe)
        else:
            less = self.cap - count
            if self.ceiling is None or 4 * less > self.cap:
                self.fails = 0
            if self.ceiling is not None and accepted >= self.cap:
                # A neighbour's calls come and go; the next refusal will be believed.
                less = ceil(less / 2)
            least = max(min(least, self.cap), ceil(self.cap / 2))
            self.cap = max(self.cap - max(less, ceil(LEAST_DROP * self.cap)), least)
            self.base = self.cap
        self.step = self.tries = 1
        self.patience = self._patience()

    def corrected(self, *, count: int) -> None:
        """Take into account calls that were accepted beside the refused one."""
        if self.before:
            self.cap = max(self.cap, min(count, self.before - 1))

    def _exploring(self, used: int, rate: float) -> int:
        """Return how many may be in flight while the limit may be anywhere."""
        below = max((rung for rung in RUNGS if rung <= self.proven), default=0)
        # A fixed window's edge lets up to twice the limit through, so a count between
        # a plan's limit and its double does not prove that the plan is a bigger one.
        safe = below if below < self.proven <= 2 * below else self.proven
        if used < safe:
            return in_flight(safe, rate)
        above = min((rung for rung in RUNGS if rung > used), default=None)
        if used in RUNGS or above is None:
            return 1
        most = CAREFUL if used < 2 * below else MAX_IN_FLIGHT
        return min(max(ceil(above * rate), 1), most)

    def _most(self, used: int, rate: float, alone: bool) -> int:  # noqa: FBT001
        """Return how many may be in flight below the cap."""
        established = self.streak >= ESTABLISHED_WINDOWS * self.cap
        sure = alone and (self.cap == self.ceiling or established)
        if sure or used < CAREFUL_SHARE * self.cap:
            return in_flight(self.cap, rate)
        return CAREFUL

    def _grow(self, count: int) -> None:
        """Take what was tried as the limit, and go on or rest for a window."""
        if count <= self.cap:
            # A slot has come free meanwhile, so nothing was tried.
            self.tries += 1
            return
        self.cap = count if self.ceiling is None else min(count, self.ceiling)
        self.streak = 0
        if self.tries > 0:
            return
        most = max(int(GROWTH * self.cap), 1)
        if self.ceiling is not None:
            most = min(2 * self.step, most)
        elif self.step == 1:
            # There is more than there was: go on at once, but a plan deserves doubt.
            self.step = self.tries = max(most - 1, 1)
            self.patience = self.cap if self.base in RUNGS else 0
            return
        self.step = self.tries = most
        self.patience = self.cap

    def _fall_back(self, count: int, *, probe: bool) -> None:
        """Return to what held before the try, unless the try found clearly more."""
        doubt = any(rung <= self.base <= NEARLY * rung for rung in RUNGS)
        gain = max(int((GAIN_OVER_PLAN if doubt else GAIN) * self.base), 1)
        if self.ceiling is None and probe and count > self.base + gain:
            self.fails = 0
            self.cap = min(count, self.cap)
            return
        self.before = 0
        self.fails += 1
        if self.ceiling is None:
            # More was let through than the limit, across an edge; a plan's is likelier.
            least, most = self.base / NEARLY, min(count, self.cap)
            plans = (rung for rung in RUNGS if least <= rung < most)
            self.base = max(plans, default=self.base)
        self.cap = min(self.base, self.cap)

    def _settle(self, cap: int) -> None:
        self.cap = self.base = max(cap, 1)
        self.settled, self.step, self.tries = True, 1, 1
        self.patience = self._patience()

    def _patience(self) -> int:
        """Return how many accepted calls to wait for before the next try."""
        if self.ceiling is not None:
            patience = BELOW_PLAN
        elif self.cap == self.goal:
            patience = AT_GOAL
        else:
            patience = AT_RUNG if self.cap in RUNGS else ELSEWHERE
        fold = min(1 << min(max(self.fails - 1, 0), 4), patience.most_fold)
        calls = max(patience.windows * self.cap, patience.calls)
        if 4 * self.cap < (self.ceiling or 0):
            return FAR_BELOW_WINDOWS * self.cap
        return min(fold * calls, MOST_WINDOWS * self.cap)


def in_flight(cap: int, rate: float) -> int:
    """Return how many calls in flight use the limit, with room for slow answers."""
    return min(max(ceil(2 * cap * rate) + 2, MIN_IN_FLIGHT), MAX_IN_FLIGHT)


def _snap(count: int) -> int:
    """Prefer a documented limit that explains the count, be it across an edge."""
    plausible = (rung for rung in RUNGS if rung <= count <= 2 * rung)
    return max(plausible, default=count)
