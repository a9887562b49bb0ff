"""Prints a plan as a table: the changes, then totals by rule and by cause."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from triaged.cli.output import cause_in_words, echo, print_table, truncate
from triaged.cli.task_ids import printable
from triaged.rules.duration import format_duration
from triaged.rules.evaluate import age_of
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Decision, LeaveCause
from triaged.triage.guard import GuardResult, History

# Tasks left for these causes are final; all others are only delayed.
_FINAL: Final = frozenset({LeaveCause.NOT_PENDING, LeaveCause.MALFORMED})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """The data of the plan table."""

    ruleset: Ruleset
    guarded: GuardResult
    history: History
    now: datetime
    short_ids: Mapping[str, str]


def show_plan(view: PlanView, *, everything: bool, verbose: bool) -> None:
    """Print the tasks that change, or all tasks, and the totals."""
    rows = [
        (task_id, *(_type_and_age(decision, view) if verbose else ()), *rest)
        for decision in view.guarded.decisions
        for task_id, *rest in _rows(decision, view, everything=everything)
    ]
    if rows:
        details = ("type", "age") if verbose else ()
        print_table(("task", *details, "decision", "reason", "description"), rows)
        echo("")
    _show_totals(view, verbose=verbose)
    if view.guarded.breaker is not None:
        echo(f"The breaker is open: {view.guarded.breaker}.", colour="red")
        by_rule = waiting_by_rule(view.guarded)
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
    decision: Decision, view: PlanView, *, everything: bool
) -> Iterable[tuple[str, ...]]:
    """Yield the rows of a task: its dismissal or hold, and each observation."""
    task = decision.task
    shown = view.short_ids.get(task.id or "", task.id or "—")
    text = truncate(task.description or "—")
    for observed in decision.observed:
        what = f"would dismiss ({observed.rule}, observing)"
        yield printable(shown), what, observed.reason, text
    if decision.is_dismissal:
        what = f"dismiss ({decision.rule})"
    elif decision.cause is LeaveCause.HELD:
        what = _hold(decision, view)
    elif everything:
        rule = f" ({decision.rule})" if decision.rule else ""
        what = f"leave: {cause_in_words(decision.cause)}{rule}"
    else:
        return
    yield printable(shown), what, decision.reason or "—", text


def _hold(decision: Decision, view: PlanView) -> str:
    ends = hold_ends_at(decision, view)
    if ends is None:
        return f"on hold ({decision.rule})"
    return f"on hold until {ends:%Y-%m-%d %H:%M} UTC ({decision.rule})"


def hold_ends_at(decision: Decision, view: PlanView) -> datetime | None:
    """Return when a hold ends; None for a recently rejected task."""
    rule = view.ruleset.rule(decision.rule or "")
    task_id = decision.task.id or ""
    if rule is None or not rule.hold or task_id in view.history.recently_rejected:
        return None
    since = (view.history.held_since or {}).get((task_id, rule.name), view.now)
    try:
        return since + rule.hold
    except OverflowError:
        return None


def _type_and_age(decision: Decision, view: PlanView) -> tuple[str, ...]:
    task = decision.task
    return truncate(task.type or "—", 20), format_age(age_of(task, view.now))


def _show_totals(view: PlanView, *, verbose: bool) -> None:
    guarded = view.guarded
    due = Counter(d.rule or "" for d in guarded.to_dismiss)
    seen = Counter(o.rule for d in guarded.decisions for o in d.observed)
    waiting = waiting_by_rule(guarded)
    rows = [
        (
            rule.name,
            _number(due[rule.name]),
            _number(seen[rule.name]),
            _causes(waiting.get(rule.name, Counter())),
        )
        for rule in view.ruleset.rules
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


def _number(count: int) -> str:
    return f"{count:,}" if count else "—"


def _causes(causes: Counter[LeaveCause]) -> str:
    ordered = causes.most_common()
    return ", ".join(f"{n:,} {cause_in_words(c)}" for c, n in ordered) or "—"


def format_age(age: timedelta | None) -> str:
    """Format an age in its largest unit only."""
    if age is None:
        return "?"
    text = format_duration(age)
    for unit in "dhms":
        if unit in text:
            return text[: text.index(unit) + 1]
    return text
