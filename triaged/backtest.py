"""Rules against what people did: what each would have dismissed of it.

A pure function of rules and past tasks.  It looks at each rule alone, whatever its mode
and whatever comes before it, because that is what a person wants to trust or not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import sqrt
from typing import Final

from triaged.engine.listing import Listing, ordered_duplicates
from triaged.engine.model import Task
from triaged.engine.rules import Mode, Rule, Ruleset
from triaged.engine.truth import holds

# The 97.5th percentile of the normal distribution, for a 95 % interval.
_Z: Final = 1.959963984540054

APPROVED_STATUSES: Final = ("approved", "completed", "failed")
DISMISSED_STATUS: Final = "dismissed"


class Word(StrEnum):
    """What a person did with a task."""

    APPROVED = "approved"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A task that a person decided on; ``at`` is when, or now where nobody knows."""

    task: Task
    word: Word
    at: datetime
    is_time_known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How one rule fares: what it would dismiss, and what people did with those.

    ``low`` and ``high`` are the 95 % Wilson interval of the agreement; all three are
    None where the rule would dismiss nothing.
    """

    rule: str
    reason: str
    mode: Mode
    dismissed: int
    approved: int
    agreement: float | None
    low: float | None
    high: float | None
    counterexamples: tuple[Sample, ...]

    @property
    def would_dismiss(self) -> int:
        """Count the tasks that the rule would have dismissed."""
        return self.dismissed + self.approved


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """All rules' records, and what could not be known."""

    records: tuple[Record, ...]
    approved: int
    dismissed: int
    ours: int
    times_unknown: int
    uses_duplicates: bool


def run_backtest(ruleset: Ruleset, samples: Sequence[Sample], *, ours: int) -> Backtest:
    """Judge each dismissing rule by what people did; ``ours`` were left out before."""
    duplicates = ordered_duplicates(ruleset.conditions())
    return Backtest(
        records=tuple(
            _record(rule, ruleset, samples)
            for rule in ruleset.rules
            if rule.reason is not None
        ),
        approved=sum(sample.word is Word.APPROVED for sample in samples),
        dismissed=sum(sample.word is Word.DISMISSED for sample in samples),
        ours=ours,
        times_unknown=sum(not sample.is_time_known for sample in samples),
        uses_duplicates=bool(duplicates),
    )


def listing_of(ruleset: Ruleset, at: datetime) -> Listing:
    """Return what is known of a past moment: the time, and nothing of other tasks."""
    return Listing(at, {d: {} for d in ordered_duplicates(ruleset.conditions())})


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share (Wilson 1927)."""
    share, z2 = hits / trials, _Z * _Z
    middle = share + z2 / (2 * trials)
    spread = _Z * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    scale = 1 + z2 / trials
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)


def _record(rule: Rule, ruleset: Ruleset, samples: Iterable[Sample]) -> Record:
    wanted = [sample for sample in samples if _wants(rule, ruleset, sample)]
    counter = tuple(sample for sample in wanted if sample.word is Word.APPROVED)
    dismissed = len(wanted) - len(counter)
    low, high = wilson(dismissed, len(wanted)) if wanted else (None, None)
    return Record(
        rule=rule.name,
        reason=rule.reason or "",
        mode=rule.mode,
        dismissed=dismissed,
        approved=len(counter),
        agreement=dismissed / len(wanted) if wanted else None,
        low=low,
        high=high,
        counterexamples=counter,
    )


def _wants(rule: Rule, ruleset: Ruleset, sample: Sample) -> bool:
    listing = listing_of(ruleset, sample.at)
    if any(holds(c, sample.task, listing) is not False for c in ruleset.protect):
        return False
    return holds(rule.match, sample.task, listing) is True
