"""Rules against what people did: what each would have dismissed of it.

A pure function of rules and past tasks.  It looks at each rule alone, whatever its mode
and whatever comes before it, because that is what a person wants to trust or not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from triaged.rules.context import Listing, ordered_duplicates
from triaged.rules.evaluate import holds
from triaged.rules.explain import Verdict, judge
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import Task, Word
from triaged.triage.agreement import Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A task that a person decided on; ``at`` is when, or now where nobody knows."""

    task: Task
    word: Word
    at: datetime
    is_time_known: bool


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A task that a person approved though the rule wants it gone, and why it does."""

    task: Task
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How one rule fares with the tasks that it would have dismissed."""

    rule: str
    reason: str
    mode: Mode
    agreement: Agreement
    counterexamples: tuple[Counterexample, ...]


# asyncio.run writes the repr of what it returns, tasks and all.
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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
    everyone = Agreement.of(sample.word for sample in samples)
    return Backtest(
        records=tuple(
            _record(rule, ruleset, samples)
            for rule in ruleset.rules
            if rule.reason is not None
        ),
        approved=everyone.approved,
        dismissed=everyone.dismissed,
        ours=ours,
        times_unknown=sum(not sample.is_time_known for sample in samples),
        uses_duplicates=bool(duplicates),
    )


def _record(rule: Rule, ruleset: Ruleset, samples: Iterable[Sample]) -> Record:
    wanted = [sample for sample in samples if _wants(rule, ruleset, sample)]
    return Record(
        rule=rule.name,
        reason=rule.reason or "",
        mode=rule.mode,
        agreement=Agreement.of(sample.word for sample in wanted),
        counterexamples=tuple(
            Counterexample(
                sample.task,
                judge(rule.match, sample.task, _listing(ruleset, sample.at)),
            )
            for sample in wanted
            if sample.word is Word.APPROVED
        ),
    )


def _wants(rule: Rule, ruleset: Ruleset, sample: Sample) -> bool:
    listing = _listing(ruleset, sample.at)
    if any(holds(c, sample.task, listing) is not False for c in ruleset.protect):
        return False
    return holds(rule.match, sample.task, listing) is True


def _listing(ruleset: Ruleset, at: datetime) -> Listing:
    """Return what is known of a past moment: the time, and nothing of other tasks."""
    return Listing(at, {d: {} for d in ordered_duplicates(ruleset.conditions())})
