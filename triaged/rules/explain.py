"""Why the rules said what they said: the same judgement, as a tree people can read."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from triaged.rules.conditions import (
    Aged,
    All,
    AnyOf,
    Condition,
    Described,
    Duplicate,
    Equals,
    Matches,
    Metadata,
    Missing,
    Not,
    OneOf,
    Over,
    Pattern,
    Test,
    TypeIs,
    Under,
)
from triaged.rules.context import Listing, duplicates_in
from triaged.rules.decide import decide_one
from triaged.rules.duration import show_duration
from triaged.rules.evaluate import (
    Truth,
    age_of,
    holds,
    kleene_all,
    kleene_any,
    kleene_not,
    look_up,
)
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Cause, Decision, Json, Task, read_task

# What is shown of one value; the whole task is stored beside the explanation.
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one condition: its truth, what was wanted and what was seen.

    ``seen`` holds text from the task, which is untrusted.
    """

    what: str
    truth: Truth
    wanted: str
    seen: str
    parts: tuple["Verdict", ...] = ()


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """One rule's match, judged, and whether the rule acted on it or was reached."""

    rule: str
    mode: Mode
    wants: str
    match: Verdict
    reached: bool
    acted: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that bears on one task's decision, judged at one moment."""

    decision: Decision
    now: datetime
    protect: tuple[Verdict, ...]
    rules: tuple[RuleVerdict, ...]

    def nearest(self) -> RuleVerdict | None:
        """Return the rule that came nearest to acting but did not; None if none."""
        others = [r for r in self.rules if not r.acted and r.mode is not Mode.OFF]
        return min(others, key=lambda r: _distance(r.match), default=None)


def explain(ruleset: Ruleset, task: Task, listing: Listing) -> Explanation:
    """Judge every rule for one task and say which of them decided."""
    decision = decide_one(ruleset, task, listing)
    spoke = {dismissal.rule for dismissal in decision.observed} | {decision.rule}
    verdicts: list[RuleVerdict] = []
    reached = decision.cause in {None, Cause.LEAVE_RULE, Cause.NO_RULE}
    for rule in ruleset.rules:
        verdicts.append(
            RuleVerdict(
                rule=rule.name,
                mode=rule.mode,
                wants="leave" if rule.reason is None else f"dismiss as {rule.reason}",
                match=judge(rule.match, task, listing),
                reached=reached and rule.mode is not Mode.OFF,
                acted=rule.name in spoke,
            )
        )
        reached = reached and rule.name != decision.rule
    protect = tuple(judge(shield, task, listing) for shield in ruleset.protect)
    return Explanation(decision, listing.now, protect, tuple(verdicts))


def judge(condition: Condition, task: Task, listing: Listing) -> Verdict:
    """Answer as ``holds`` does, with the whole tree of what was seen and wanted."""
    match condition:
        case All(parts):
            verdicts = tuple(judge(part, task, listing) for part in parts)
            return _combined("all", kleene_all(v.truth for v in verdicts), verdicts)
        case AnyOf(parts):
            verdicts = tuple(judge(part, task, listing) for part in parts)
            return _combined("any", kleene_any(v.truth for v in verdicts), verdicts)
        case Not(part):
            verdict = judge(part, task, listing)
            return _combined("not", kleene_not(verdict.truth), (verdict,))
        case TypeIs(types):
            what, wanted, seen = "type", " or ".join(types), _show(task.type)
        case Described(patterns):
            what, wanted = "description", _show_patterns(patterns)
            seen = _show(task.description)
        case Aged(over, under):
            what, wanted = "age", _show_range(over, under)
            seen = _show_age(task, listing.now)
        case Metadata(path, test):
            what, wanted = f"metadata.{path}", _show_test(test)
            seen = _show(look_up(task.metadata, path))
        case Duplicate(of, keep):
            what = "duplicate"
            wanted = f"same {', '.join(of)} as another task, {keep} kept"
            seen = _show_spare(holds(condition, task, listing))
        case _:
            assert_never(condition)
    return Verdict(what, holds(condition, task, listing), wanted, seen)


def name_of(condition: Condition) -> str:
    """Say in a few words what a condition asks for, whatever the task."""
    if isinstance(condition, Not):
        return f"not: {name_of(condition.part)}"
    if isinstance(condition, All | AnyOf):
        word = "all" if isinstance(condition, All) else "any"
        return f"{word} of [{'; '.join(map(name_of, condition.parts))}]"
    known: dict[Duplicate, dict[str, bool]] = {
        duplicate: {} for duplicate in duplicates_in(condition)
    }
    nobody = Listing(datetime.min.replace(tzinfo=UTC), known)
    verdict = judge(condition, read_task({}), nobody)
    return f"{verdict.what} {verdict.wanted}"


def _combined(what: str, truth: Truth, parts: tuple[Verdict, ...]) -> Verdict:
    met = sum(part.truth is True for part in parts)
    seen = f"{met} of {len(parts)} hold"
    wanted = {"all": "every one", "any": "at least one", "not": "that it does not hold"}
    return Verdict(what, truth, wanted[what], seen, parts)


def _distance(verdict: Verdict) -> float:
    """Measure how far a verdict is from true: 0 is true, 1 is as false as can be."""
    if verdict.truth is True:
        return 0.0
    if not verdict.parts or verdict.what == "not":
        return 1.0 if verdict.truth is False else 0.5
    distances = [_distance(part) for part in verdict.parts]
    if verdict.what == "any":
        return min(distances)
    return sum(distances) / len(distances)


def _show(value: Json) -> str:
    if value is None:
        return "absent"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _show_patterns(patterns: tuple[Pattern, ...]) -> str:
    return " or ".join(f"/{pattern.source}/" for pattern in patterns)


def _show_range(over: timedelta | None, under: timedelta | None) -> str:
    bounds = []
    if over is not None:
        bounds.append(f"over {show_duration(over)}")
    if under is not None:
        bounds.append(f"under {show_duration(under)}")
    return " and ".join(bounds)


def _show_age(task: Task, now: datetime) -> str:
    age = age_of(task, now)
    if age is not None:
        return show_duration(age)
    if task.created_at is not None:
        return f"in the future ({task.created_at.isoformat()})"
    listed = task.fields.get("created_at")
    return "absent" if listed is None else f"unusable: {_show(listed)}"


def _show_test(test: Test) -> str:
    match test:
        case Equals(value):
            return f"equals {_show(value)}"
        case OneOf(values):
            return "in " + ", ".join(_show(value) for value in values)
        case Matches(patterns):
            return _show_patterns(patterns)
        case Over(bound):
            return f"over {bound}"
        case Under(bound):
            return f"under {bound}"
        case Missing(wanted):
            return "missing" if wanted else "present"
        case _:
            assert_never(test)


def _show_spare(truth: Truth) -> str:
    words = {True: "a copy of a kept task", False: "unique, or the kept one"}
    return "a field that it compares is missing" if truth is None else words[truth]
