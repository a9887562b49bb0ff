"""How far a rule agrees with people: a share with its interval."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Final

from triaged.rules.task import HumanDecision

# The 97.5th percentile of the normal distribution, for a 95 % interval.
_Z: Final = 1.959963984540054

# The statuses that say what became of a task, dismissed first: most will be there.
DISMISSED_STATUS: Final = "dismissed"
APPROVED_STATUSES: Final = ("approved", "completed", "failed")
FINAL_STATUSES: Final = (DISMISSED_STATUS, *APPROVED_STATUSES)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What people did with the tasks that a rule would have dismissed."""

    dismissed: int
    approved: int

    @classmethod
    def of(cls, words: Iterable[HumanDecision]) -> "Agreement":
        """Count what people said."""
        said = list(words)
        approved = sum(word is HumanDecision.APPROVED for word in said)
        return cls(len(said) - approved, approved)

    @property
    def total(self) -> int:
        """Count the tasks on which people have spoken."""
        return self.dismissed + self.approved

    @property
    def value(self) -> float | None:
        """Return the share that people dismissed too; None where they said nothing."""
        return self.dismissed / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % Wilson interval of the share."""
        return wilson_interval(self.dismissed, self.total) if self.total else None

    def __str__(self) -> str:
        """Say the share and how sure it is."""
        if self.value is None or self.interval is None:
            return "no decisions yet"
        low, high = self.interval
        return f"{self.value:.0%} (95%: {low:.0%} to {high:.0%})"


def human_decision_for(status: str) -> HumanDecision:
    """Return what a person must have done for a task to have this status."""
    return (
        HumanDecision.DISMISSED
        if status == DISMISSED_STATUS
        else HumanDecision.APPROVED
    )


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share (Wilson 1927)."""
    share, z2 = hits / trials, _Z * _Z
    middle = share + z2 / (2 * trials)
    spread = _Z * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    scale = 1 + z2 / trials
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)
