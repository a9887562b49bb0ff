"""Compares rules with human decisions on past tasks.

A pure function of rules and past tasks. Each rule is evaluated alone, regardless of its
mode and of the rules before it, because the result is to show whether this rule can be
trusted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from triaged.rules.context import EvaluationContext, duplicate_conditions
from triaged.rules.decide import is_protected
from triaged.rules.evaluate import evaluate
from triaged.rules.explain import ConditionResult, explain_condition
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import HumanDecision, Task
from triaged.triage.agreement import Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledTask:
    """A task that a person decided on, and when; the current time if unknown."""

    task: Task
    label: HumanDecision
    evaluated_at: datetime
    time_is_known: bool


@dataclass(frozen=True, slots=True)
class FalsePositive:
    """A task that a person approved although a rule matches it, and why it matches."""

    task: Task
    result: ConditionResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The results of one rule on the tasks that it would have dismissed."""

    rule: str
    reason: str
    mode: Mode
    agreement: Agreement
    false_positives: tuple[FalsePositive, ...]


# No repr, because asyncio.run formats that of its result, with all tasks.
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Backtest:
    """The records of all rules, and what could not be evaluated."""

    records: tuple[Record, ...]
    approved: int
    dismissed: int
    ours: int
    unknown_times: int
    uses_duplicates: bool


def run_backtest(
    ruleset: Ruleset, samples: Sequence[LabeledTask], *, ours: int
) -> Backtest:
    """Compare each dismiss rule with human decisions; ``ours`` counts excluded ones."""
    duplicates = duplicate_conditions(ruleset.conditions())
    everyone = Agreement.of(sample.label for sample in samples)
    # The context of a past time has no other tasks, so nothing is a duplicate.
    at_their_time = [
        (sample, EvaluationContext(sample.evaluated_at, {d: {} for d in duplicates}))
        for sample in samples
    ]
    unprotected = [
        (sample, context)
        for sample, context in at_their_time
        if not is_protected(ruleset, sample.task, context)
    ]
    return Backtest(
        records=tuple(
            _record(rule, unprotected)
            for rule in ruleset.rules
            if rule.reason is not None
        ),
        approved=everyone.approved,
        dismissed=everyone.dismissed,
        ours=ours,
        unknown_times=sum(not sample.time_is_known for sample in samples),
        uses_duplicates=bool(duplicates),
    )


def _record(
    rule: Rule, samples: Iterable[tuple[LabeledTask, EvaluationContext]]
) -> Record:
    wanted = [
        (sample, context)
        for sample, context in samples
        if evaluate(rule.match, sample.task, context) is True
    ]
    return Record(
        rule=rule.name,
        reason=rule.reason or "",
        mode=rule.mode,
        agreement=Agreement.of(sample.label for sample, _ in wanted),
        false_positives=tuple(
            FalsePositive(
                sample.task, explain_condition(rule.match, sample.task, context)
            )
            for sample, context in wanted
            if sample.label is HumanDecision.APPROVED
        ),
    )
