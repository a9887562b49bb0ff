"""The agreement of a rule with people: a share with its confidence interval."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Final

from triaged.rules.task import HumanDecision

# The 97.5th percentile of the normal distribution, for a 95 % interval.
_Z: Final = 1.959963984540054

# The final statuses; dismissed first, since most observed tasks end there.
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
        """Count human decisions."""
        said = list(words)
        approved = sum(word is HumanDecision.APPROVED for word in said)
        return cls(len(said) - approved, approved)

    @property
    def total(self) -> int:
        """The number of tasks on which people have decided."""
        return self.dismissed + self.approved

    @property
    def value(self) -> float | None:
        """The share (0 to 1) that people dismissed too; None without any decisions."""
        return self.dismissed / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % Wilson interval of the share, or None."""
        return wilson_interval(self.dismissed, self.total) if self.total else None

    def __str__(self) -> str:
        """Format the share with its confidence interval."""
        if self.value is None or self.interval is None:
            return "no decisions yet"
        low, high = self.interval
        return f"{self.value:.0%} (95%: {low:.0%} to {high:.0%})"


def human_decision_for(status: str) -> HumanDecision:
    """Return the human decision that leads to this final status."""
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
