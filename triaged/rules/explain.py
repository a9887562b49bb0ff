"""Explains a decision: the evaluation of every rule as a readable tree."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Blank,
    Condition,
    CreatedAt,
    DescriptionIs,
    DuplicateOf,
    Equals,
    GreaterThan,
    In,
    LessThan,
    ListFile,
    MetadataMatches,
    MetadataTest,
    Missing,
    Not,
    Regex,
    TypeIn,
    Words,
)
from triaged.rules.context import EvaluationContext, iter_duplicates
from triaged.rules.decide import decide_one
from triaged.rules.duplicates import Partner
from triaged.rules.duration import format_duration
from triaged.rules.evaluate import (
    TriState,
    age_of,
    evaluate,
    kleene_all,
    kleene_any,
    kleene_not,
    local_time,
)
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import (
    Decision,
    Json,
    LeaveCause,
    Task,
    get_path,
    is_unreadable,
    parse_task,
)

# Characters shown of one value; the whole task is stored beside the explanation.
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """The result of one condition, with what was expected and what was found.

    ``actual`` holds text from the task, which is untrusted.
    """

    condition: str
    result: TriState
    expected: str
    actual: str
    children: tuple["ConditionResult", ...] = ()


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The evaluated match of one rule, and whether the rule was reached and decided."""

    rule: str
    mode: Mode
    action: str
    match: ConditionResult
    evaluated: bool
    applied: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that contributes to the decision on one task, at one time."""

    decision: Decision
    now: datetime
    protect: tuple[ConditionResult, ...]
    rules: tuple[RuleResult, ...]

    def closest_rule(self) -> RuleResult | None:
        """Return the rule that came closest to matching without doing so, or None."""
        others = [r for r in self.rules if not r.applied and r.mode is not Mode.OFF]
        return min(others, key=lambda r: _distance(r.match), default=None)


def explain(ruleset: Ruleset, task: Task, context: EvaluationContext) -> Explanation:
    """Evaluate every rule for one task and mark the one that decided."""
    decision = decide_one(ruleset, task, context)
    applied = {dismissal.rule for dismissal in decision.observed} | {decision.rule}
    results: list[RuleResult] = []
    reached = decision.cause in {None, LeaveCause.LEAVE_RULE, LeaveCause.NO_RULE}
    for rule in ruleset.rules:
        results.append(
            RuleResult(
                rule=rule.name,
                mode=rule.mode,
                action="leave" if rule.reason is None else f"dismiss as {rule.reason}",
                match=explain_condition(rule.match, task, context),
                evaluated=reached and rule.mode is not Mode.OFF,
                applied=rule.name in applied,
            )
        )
        reached = reached and rule.name != decision.rule
    protect = tuple(
        explain_condition(protection, task, context) for protection in ruleset.protect
    )
    return Explanation(decision, context.now, protect, tuple(results))


def explain_condition(
    condition: Condition, task: Task, context: EvaluationContext
) -> ConditionResult:
    """Evaluate like ``evaluate``, with the tree of expected and actual values."""
    match condition:
        case AllOf(parts):
            results = tuple(explain_condition(part, task, context) for part in parts)
            return _combine("all", kleene_all(v.result for v in results), results)
        case AnyOf(parts):
            results = tuple(explain_condition(part, task, context) for part in parts)
            return _combine("any", kleene_any(v.result for v in results), results)
        case Not(part):
            result = explain_condition(part, task, context)
            return _combine("not", kleene_not(result.result), (result,))
        case TypeIn(types):
            what, wanted, seen = "type", " or ".join(types), _format_value(task.type)
        case DescriptionIs(test):
            what, wanted = "description", _format_test(test)
            seen = _format_found(test, task.description)
        case CreatedAt(zone=zone):
            what, wanted = "created", _format_created(condition)
            moment = local_time(task, zone, context.now)
            seen = f"{moment:%a %Y-%m-%d %H:%M:%S%z}" if moment is not None else ""
            seen = seen or _format_age(task, context.now)
        case AgeBetween(over, under):
            what, wanted = "age", _format_range(over, under)
            seen = _format_age(task, context.now)
        case MetadataMatches(path, test):
            what, wanted = f"metadata.{path}", _format_test(test)
            seen = _format_found(test, get_path(task.metadata, path))
        case DuplicateOf():
            what, wanted = "duplicate", _format_wanted_duplicate(condition)
            partner = context.partner(condition, task.id)
            seen = _format_duplicate(evaluate(condition, task, context), partner)
        case _:
            assert_never(condition)
    return ConditionResult(what, evaluate(condition, task, context), wanted, seen)


def describe_condition(condition: Condition) -> str:
    """Return a short description of what a condition requires."""
    if isinstance(condition, Not):
        return f"not: {describe_condition(condition.part)}"
    if isinstance(condition, AllOf | AnyOf):
        word = "all" if isinstance(condition, AllOf) else "any"
        return f"{word} of [{'; '.join(map(describe_condition, condition.parts))}]"
    known: dict[DuplicateOf, dict[str, bool]] = {}
    known |= {duplicate: {} for duplicate in iter_duplicates(condition)}
    empty_context = EvaluationContext(datetime.min.replace(tzinfo=UTC), known)
    result = explain_condition(condition, parse_task({}), empty_context)
    return f"{result.condition} {result.expected}"


def _combine(
    what: str, truth: TriState, parts: tuple[ConditionResult, ...]
) -> ConditionResult:
    met = sum(part.result is True for part in parts)
    seen = f"{met} of {len(parts)} conditions matched"
    wanted = {"all": "all of them", "any": "at least one", "not": "no match"}
    return ConditionResult(what, truth, wanted[what], seen, parts)


def _distance(result: ConditionResult) -> float:
    """Return how far a result is from true: 0 is true, 1 is entirely false."""
    if result.result is True:
        return 0.0
    if not result.children or result.condition == "not":
        return 1.0 if result.result is False else 0.5
    distances = [_distance(part) for part in result.children]
    if result.condition == "any":
        return min(distances)
    return sum(distances) / len(distances)


def _format_value(value: Json) -> str:
    if value is None:
        return "absent"
    if isinstance(value, dict) and is_unreadable(value):
        return f"there, but unreadable: {next(iter(value.values()))}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _format_range(over: timedelta | None, under: timedelta | None) -> str:
    bounds = [f"over {format_duration(over)}"] if over is not None else []
    bounds += [f"under {format_duration(under)}"] if under is not None else []
    return " and ".join(bounds)


def _format_age(task: Task, now: datetime) -> str:
    age = age_of(task, now)
    if age is not None:
        return format_duration(age)
    if task.created_at is not None:
        return f"in the future ({task.created_at.isoformat()})"
    listed = task.raw.get("created_at")
    return "absent" if listed is None else f"unusable: {_format_value(listed)}"


def _format_test(test: MetadataTest) -> str:
    match test:
        case Equals(value):
            return f"equals {_format_value(value)}"
        case In(values, file):
            return f"in {_format_list(values, file)}"
        case Regex(patterns):
            return " or ".join(f"/{pattern.source}/" for pattern in patterns)
        case Words(phrases, file):
            return f"words {_format_list(phrases, file)}"
        case Blank(expected):
            return "blank" if expected else "not blank"
        case GreaterThan(bound):
            return f"over {bound}"
        case LessThan(bound):
            return f"under {bound}"
        case Missing(wanted):
            return "missing" if wanted else "present"
        case _:
            assert_never(test)


def _format_list(values: Sequence[Json], file: ListFile | None) -> str:
    if file is not None:
        return f"one of the {len(values)} entries of {file.name}"
    return ", ".join(_format_value(value) for value in values)


def _format_found(test: MetadataTest, value: Json) -> str:
    """Format a value, with the entry of the list that it equals or contains."""
    seen = _format_value(value)
    if not isinstance(value, str):
        return seen
    if isinstance(test, Words):
        number = test.index.find(value)
        if number is not None:
            return f"{seen}, with {_format_entry(test.phrases, test.file, number)}"
    if isinstance(test, In) and test.file is not None and value in test.values:
        number = test.values.index(value)
        return f"{seen}, {_format_entry(test.values, test.file, number)}"
    return seen


def _format_entry(values: Sequence[Json], file: ListFile | None, number: int) -> str:
    entry = _format_value(values[number])
    return entry if file is None else f"{entry} ({file.name}:{file.lines[number]})"


def _format_created(condition: CreatedAt) -> str:
    days = "/".join(day.name.lower() for day in condition.weekdays)
    hours = "" if condition.hours is None else str(condition.hours)
    return " ".join(part for part in (days, hours, condition.timezone) if part)


def _format_wanted_duplicate(condition: DuplicateOf) -> str:
    wanted = f"same {', '.join(condition.of)} as another task, {condition.keep} kept"
    if condition.similarity is not None:
        wanted += f", descriptions {condition.similarity:g} alike or more"
    if condition.ignore:
        wanted += f", {' and '.join(condition.ignore)} ignored"
    return wanted


def _format_duplicate(truth: TriState, partner: Partner | None) -> str:
    if partner is not None:
        return f"a copy of {partner.kept}, which is kept ({partner.score:g} alike)"
    words = {True: "a copy of a kept task", False: "unique, or the kept one"}
    return "a field that it compares is missing" if truth is None else words[truth]
