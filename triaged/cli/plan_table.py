"""Prints a plan as a table: the changes, then totals by rule and by cause."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from triaged.cli.output import (
    cause_in_words,
    causes_in_words,
    echo,
    number_or_dash,
    print_table,
    truncate,
)
from triaged.cli.task_ids import printable
from triaged.rules.duration import format_duration
from triaged.rules.evaluate import age_of
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Decision, LeaveCause, Task
from triaged.triage.guard import GuardResult, History

# Tasks left for these causes are final; all others are only delayed.
_FINAL: Final = frozenset({LeaveCause.NOT_PENDING, LeaveCause.MALFORMED})


# No repr, because asyncio.run formats that of its result, with all tasks.
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Preview:
    """What a cycle would do with the current tasks.

    ``short_ids`` maps each task id to a prefix that is unique among known ids.
    """

    ruleset: Ruleset
    tasks: Sequence[Task]
    guarded: GuardResult
    history: History
    now: datetime
    short_ids: Mapping[str, str]
    may_lack_tasks: bool = False

    def is_incomplete(self) -> bool:
        """Return whether a cycle would not do everything that the rules propose."""
        left = self.guarded.left
        is_limited = bool(left[LeaveCause.OVER_CAP] or self.guarded.breaker)
        return is_limited or self.may_lack_tasks


def show_plan(preview: Preview, *, everything: bool, verbose: bool) -> None:
    """Print the tasks that change, or all tasks, and the totals."""
    rows = [
        (task_id, *(_type_and_age(decision.task, preview) if verbose else ()), *rest)
        for decision in preview.guarded.decisions
        for task_id, *rest in _rows(decision, preview, everything=everything)
    ]
    if rows:
        details = ("type", "age") if verbose else ()
        print_table(("task", *details, "decision", "reason", "description"), rows)
        echo("")
    _show_totals(preview, verbose=verbose)
    if preview.guarded.breaker is not None:
        echo(f"The breaker is open: {preview.guarded.breaker}.", colour="red")
        by_rule = waiting_by_rule(preview.guarded)
        told = ", ".join(
            f"{rule} wants {causes.total()}" for rule, causes in by_rule.items()
        )
        echo(f"Nothing is dismissed until that changes: {told}.")


def waiting_by_rule(guarded: GuardResult) -> dict[str, Counter[LeaveCause]]:
    """Count, by rule and cause, the tasks whose dismissal is delayed."""
    found = {
        rule: Counter({c: n for c, n in causes.items() if c not in _FINAL})
        for rule, causes in guarded.wanted.items()
    }
    kept = [(rule, causes) for rule, causes in found.items() if causes]
    kept.sort(key=lambda item: (-item[1].total(), item[0]))
    return dict(kept)


def _rows(
    decision: Decision, preview: Preview, *, everything: bool
) -> Iterable[tuple[str, ...]]:
    """Yield the rows of a task: its dismissal or hold, and each observation."""
    task = decision.task
    shown = preview.short_ids.get(task.id or "", task.id or "—")
    text = truncate(task.description or "—")
    for observed in decision.observed:
        what = f"would dismiss ({observed.rule}, observing)"
        yield printable(shown), what, observed.reason, text
    if decision.is_dismissal:
        what = f"dismiss ({decision.rule})"
    elif decision.cause is LeaveCause.HELD:
        what = _hold(decision, preview)
    elif everything:
        rule = f" ({decision.rule})" if decision.rule else ""
        what = f"leave: {cause_in_words(decision.cause)}{rule}"
    else:
        return
    yield printable(shown), what, decision.reason or "—", text


def _hold(decision: Decision, preview: Preview) -> str:
    """Say until when a task is on hold, which is not known of a rejected one."""
    unknown = f"on hold ({decision.rule})"
    rule = preview.ruleset.rule(decision.rule or "")
    task_id = decision.task.id or ""
    if rule is None or not rule.hold or task_id in preview.history.recently_rejected:
        return unknown
    since = (preview.history.held_since or {}).get((task_id, rule.name), preview.now)
    try:
        return f"on hold until {since + rule.hold:%Y-%m-%d %H:%M} UTC ({rule.name})"
    except OverflowError:
        return unknown


def _type_and_age(task: Task, preview: Preview) -> tuple[str, ...]:
    return truncate(task.type or "—", 20), format_age(age_of(task, preview.now))


def _show_totals(preview: Preview, *, verbose: bool) -> None:
    guarded = preview.guarded
    due = Counter(d.rule or "" for d in guarded.to_dismiss)
    seen = Counter(o.rule for d in guarded.decisions for o in d.observed)
    waiting = {
        rule: causes_in_words(dict(causes.most_common()))
        for rule, causes in waiting_by_rule(guarded).items()
    }
    rows = [
        (
            rule.name,
            number_or_dash(due[rule.name]),
            number_or_dash(seen[rule.name]),
            waiting.get(rule.name, "—"),
        )
        for rule in preview.ruleset.rules
        if rule.reason is not None
        and rule.mode is not Mode.OFF
        and (verbose or due[rule.name] or seen[rule.name] or rule.name in waiting)
    ]
    if rows:
        headings = ("rule", "dismiss", "would dismiss", "waiting")
        print_table(headings, rows)
        echo("")
    left = guarded.left
    told = ", ".join(f"{n} {cause_in_words(c)}" for c, n in left.most_common())
    echo(
        f"{len(guarded.decisions)} listed: {len(guarded.to_dismiss)} to dismiss,"
        f" {sum(left.values())} left{f' ({told})' if told else ''}."
    )


def format_age(age: timedelta | None) -> str:
    """Format an age in its largest unit only."""
    if age is None:
        return "?"
    text = format_duration(age)
    for unit in "dhms":
        if unit in text:
            return text[: text.index(unit) + 1]
    return text
