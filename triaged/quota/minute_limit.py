"""The limit of calls per minute: configured, inferred from the plan, or measured.

No header reports this limit, and other clients of the same key use a part of it. Until
the first refusal, an unknown limit doubles whenever it is used up. A refusal lowers the
limit to the number of accepted calls, but not far at once, because it may be due to a
burst of another client. Accepted calls raise it again: slowly at first, then ever
faster, since many calls without a refusal indicate a higher limit.
"""

from dataclasses import dataclass
from math import inf
from typing import Final

from triaged.quota.types import PLANS

START_LIMIT: Final = float(min(plan.per_minute for plan in PLANS.values()))
GROWTH: Final = 2.0
# A refusal lowers the limit by at least DECREASE, and at most to MIN_KEPT of it.
DECREASE: Final = 0.1
MIN_KEPT: Final = 0.75
# At a constant limit, probing costs one refusal per PROBE_CALLS calls, or per
# PROBE_WINDOWS windows at a low limit, where that many calls would take hours.
PROBE_CALLS: Final = 200
PROBE_WINDOWS: Final = 20


@dataclass(slots=True)
class MinuteLimit:
    """The calls allowed in any sliding minute.

    ``configured`` comes from the settings; without it, ``inferred`` is derived from the
    daily limit in the headers. This limit is never exceeded. ``base`` is the limit
    after the last refusal, and ``accepted`` counts the calls accepted since. ``known``
    is False until a plan or a refusal determines the limit.
    """

    configured: int | None
    inferred: int | None = None
    base: float = START_LIMIT
    accepted: int = 0
    known: bool = False

    @classmethod
    def initial(cls, configured: int | None) -> "MinuteLimit":
        """Start at the configured limit, or at a low one without it."""
        if configured is None:
            return cls(configured=None)
        return cls(configured=configured, base=configured, known=True)

    @property
    def plan_limit(self) -> float:
        """Return the limit that is never exceeded."""
        return self.configured or self.inferred or inf

    @property
    def limit(self) -> int:
        """Return how many calls may be made in a minute."""
        calls = min(PROBE_CALLS + self.base, PROBE_WINDOWS * self.base)
        raised = _step(self.base) * (self.accepted / calls) ** 2 if self.known else 0.0
        return int(min(self.base + raised, self.plan_limit))

    def max_in_flight(self, used: int) -> float:
        """Return how many calls may be in flight in addition to ``used`` ones.

        Calls in flight are refused together, so their number is low near a measured
        limit.

        """
        limit = self.limit
        if limit == self.plan_limit or used < limit / 2:
            return inf
        return 1 + limit // 200

    def set_daily_limit(self, daily_limit: int) -> None:
        """Infer the plan from its daily limit."""
        plans = (p.per_minute for p in PLANS.values() if p.per_day == daily_limit)
        inferred = next(plans, None)
        if self.configured or inferred is None or inferred == self.inferred:
            return
        self.inferred = inferred
        self.base, self.accepted, self.known = self.plan_limit, 0, True

    def on_accepted(self, count: int) -> None:
        """Record an accepted call, the last of ``count`` in its minute."""
        if not self.known and count >= self.limit:
            self.base *= GROWTH
        # A limit that is not used up must not rise, since nothing tests it.
        if not self.accepted or count >= self.limit / 2:
            self.accepted += 1

    def on_refused(self, count: int) -> None:
        """Lower the limit after a refusal that followed ``count`` calls in its minute.

        A refusal without an accepted call since the last one has no effect.
        """
        if self.known and not self.accepted:
            return
        limit = self.limit
        accepted = max(count, MIN_KEPT * limit) if self.known else count
        self.base = max(min(accepted, limit - _step(limit)), 1.0)
        self.accepted, self.known = 0, True


def _step(limit: float) -> float:
    return max(DECREASE * limit, 1.0)
