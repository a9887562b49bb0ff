"""Rules against what people did: what each would have dismissed of it.

A pure function of rules and past tasks.  It looks at each rule alone, whatever its mode
and whatever comes before it, because that is what a person wants to trust or not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from triaged.rules.context import EvaluationContext, duplicate_conditions
from triaged.rules.evaluate import evaluate
from triaged.rules.explain import ConditionResult, explain_condition
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import HumanDecision, Task
from triaged.triage.agreement import Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledTask:
    """A task that a person decided on, and when: now where that is not known."""

    task: Task
    label: HumanDecision
    evaluated_at: datetime
    time_is_known: bool


@dataclass(frozen=True, slots=True)
class FalsePositive:
    """A task that a person approved though the rule wants it gone, and why it does."""

    task: Task
    result: ConditionResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How one rule fares with the tasks that it would have dismissed."""

    rule: str
    reason: str
    mode: Mode
    agreement: Agreement
    false_positives: tuple[FalsePositive, ...]


# asyncio.run writes the repr of what it returns, tasks and all.
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Backtest:
    """All rules' records, and what could not be known."""

    records: tuple[Record, ...]
    approved: int
    dismissed: int
    ours: int
    unknown_times: int
    uses_duplicates: bool


def run_backtest(
    ruleset: Ruleset, samples: Sequence[LabeledTask], *, ours: int
) -> Backtest:
    """Judge each dismissing rule by what people did; ``ours`` were left out before."""
    duplicates = duplicate_conditions(ruleset.conditions())
    everyone = Agreement.of(sample.label for sample in samples)
    return Backtest(
        records=tuple(
            _record(rule, ruleset, samples)
            for rule in ruleset.rules
            if rule.reason is not None
        ),
        approved=everyone.approved,
        dismissed=everyone.dismissed,
        ours=ours,
        unknown_times=sum(not sample.time_is_known for sample in samples),
        uses_duplicates=bool(duplicates),
    )


def _record(rule: Rule, ruleset: Ruleset, samples: Iterable[LabeledTask]) -> Record:
    wanted = [sample for sample in samples if _wants(rule, ruleset, sample)]
    return Record(
        rule=rule.name,
        reason=rule.reason or "",
        mode=rule.mode,
        agreement=Agreement.of(sample.label for sample in wanted),
        false_positives=tuple(
            FalsePositive(
                sample.task,
                explain_condition(
                    rule.match, sample.task, _listing(ruleset, sample.evaluated_at)
                ),
            )
            for sample in wanted
            if sample.label is HumanDecision.APPROVED
        ),
    )


def _wants(rule: Rule, ruleset: Ruleset, sample: LabeledTask) -> bool:
    context = _listing(ruleset, sample.evaluated_at)
    if any(evaluate(c, sample.task, context) is not False for c in ruleset.protect):
        return False
    return evaluate(rule.match, sample.task, context) is True


def _listing(ruleset: Ruleset, at: datetime) -> EvaluationContext:
    """Return what is known of a past moment: the time, and nothing of other tasks."""
    return EvaluationContext(
        at, {d: {} for d in duplicate_conditions(ruleset.conditions())}
    )
