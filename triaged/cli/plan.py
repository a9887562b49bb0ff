"""``triaged plan``: what a cycle would do now, and why."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from triaged.cli import exit_codes
from triaged.cli.options import (
    API,
    LEDGER_OPTIONS,
    QUOTA_OPTIONS,
    RULES_OPTIONS,
    Format,
    with_format,
    with_settings,
)
from triaged.cli.output import console, echo, echo_json, escape_json, table, truncate
from triaged.cli.plan_file import write_plan
from triaged.clock import SystemClock
from triaged.leadlex import protocol
from triaged.quota import Purpose
from triaged.rules.duration import format_duration
from triaged.rules.evaluate import age_of
from triaged.rules.explain_json import decision_to_dict
from triaged.rules.task import Decision, LeaveCause, Task, parse_timestamp
from triaged.rulesfile.loader import CompiledRules, load_rules
from triaged.settings import Settings
from triaged.triage.assessment import Judge
from triaged.triage.guard import GuardResult, History, apply_guard
from triaged.workspace import open_workspace


class TimestampParam(click.ParamType[datetime]):
    """A moment with its time zone, in ISO 8601."""

    name = "moment"

    def convert(
        self,
        value: str | datetime,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        moment = value if isinstance(value, datetime) else parse_timestamp(value)
        if moment is None:
            example = "2026-03-01T00:00:00Z"
            self.fail(
                f"expected a moment such as {example}, found {value!r}", param, ctx
            )
        return moment


now_option = click.option(
    "--now",
    metavar="TIME",
    type=TimestampParam(),
    help="Set the clock (ISO 8601, with zone).",
)


# Without the ledger nothing is held, vetoed or spent.
EMPTY_HISTORY: Final = History(held_since=None)


# asyncio.run writes the repr of what it returns, tasks and all.
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Preview:
    """What a cycle would do with the tasks as they are now."""

    rules: CompiledRules
    tasks: Sequence[Task]
    guarded: GuardResult
    now: datetime

    def is_incomplete(self) -> bool:
        """Say whether a belt would keep a cycle from doing all that the rules want."""
        left = self.guarded.left
        return bool(left[LeaveCause.OVER_CAP] or self.guarded.breaker)


@click.command
@click.option(
    "--tasks",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A list answer as the API gives it; nothing is asked of the API.",
)
@click.option(
    "--out",
    metavar="PLAN",
    type=click.Path(path_type=Path),
    help="Write the dismissals to a file that `triaged apply` takes.",
)
@now_option
@with_format
@with_settings(*API, *RULES_OPTIONS, *QUOTA_OPTIONS, *LEDGER_OPTIONS)
def plan(
    *,
    settings: Settings,
    tasks: Path | None,
    out: Path | None,
    now: datetime | None,
    form: Format,
) -> None:
    """Show what a cycle would do now and why; never writes."""
    if out is not None:
        _refuse_no_place(out)
    outlook = look(settings, tasks, now)
    if form is Format.JSON:
        echo_json(outlook_json(outlook, settings))
    else:
        _show_outlook(outlook)
    if out is not None:
        _write_plan(out, outlook, settings)
    sys.exit(exit_codes.INCOMPLETE if outlook.is_incomplete() else exit_codes.OK)


def look(settings: Settings, file: Path | None, now: datetime | None) -> Preview:
    """Decide on the tasks of a file, or on those that are pending now."""
    rules, _ = load_rules(settings.rules, now=now or SystemClock().now())
    if file is None:
        return asyncio.run(_look_at_api(settings, rules, now))
    tasks = read_tasks(file)
    moment = now or SystemClock().now()
    decisions = rules.engine.decide(tasks, now=moment)
    guarded = apply_guard(decisions, rules.ruleset, EMPTY_HISTORY, now=moment)
    return Preview(rules=rules, tasks=tasks, guarded=guarded, now=moment)


def read_tasks(file: Path) -> list[Task]:
    """Read a list answer from a file."""
    try:
        return protocol.decode_list(file.read_bytes())
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise click.BadParameter(f"{file}: {why}", param_hint="--tasks") from error
    except ValueError as error:
        raise click.BadParameter(
            f'{file} is no list answer {{"data": {{"tasks": […]}}}}: {error}',
            param_hint="--tasks",
        ) from error


async def _look_at_api(
    settings: Settings, rules: CompiledRules, now: datetime | None
) -> Preview:
    async with open_workspace(settings, SystemClock()) as workspace:
        listed = await workspace.reader.list_tasks(purpose=Purpose.OTHER)
        moment = now or workspace.clock.now()
        guarded, _ = Judge(workspace.ledger).assess(
            rules,
            listed.tasks,
            now=moment,
            clock_skew=workspace.rate_limiter.clock_skew,
        )
    return Preview(rules=rules, tasks=listed.tasks, guarded=guarded, now=moment)


def outlook_json(outlook: Preview, settings: Settings) -> dict[str, Any]:
    """Return what ``plan --format json`` prints."""
    guarded = outlook.guarded
    return {
        "workspace": settings.workspace,
        "now": outlook.now.isoformat(),
        "rules_sha256": outlook.rules.ruleset.sha256,
        "decisions": [decision_to_dict(decision) for decision in guarded.decisions],
        "dismiss": len(guarded.to_dismiss),
        "left": {str(cause): n for cause, n in sorted(guarded.left.items())},
        "breaker": guarded.breaker,
        "incomplete": outlook.is_incomplete(),
    }


def _show_outlook(outlook: Preview) -> None:
    rows = [_row(decision, outlook.now) for decision in outlook.guarded.decisions]
    if rows:
        headings = ("task", "type", "age", "decision", "why", "description")
        console().print(table(headings, rows))
    left = outlook.guarded.left
    echo(
        f"\n{len(rows)} listed: {len(outlook.guarded.to_dismiss)} to dismiss, ", end=""
    )
    causes = ", ".join(f"{number} {cause}" for cause, number in left.most_common())
    echo(f"{sum(left.values())} left{f' ({causes})' if causes else ''}.")
    if outlook.guarded.breaker is not None:
        echo(f"The breaker is open: {outlook.guarded.breaker}.")
    watched = Counter(o.rule for d in outlook.guarded.decisions for o in d.observed)
    for rule, number in watched.most_common():
        echo(f"Rule {rule} only observes: it would want {number}.")


def _refuse_no_place(out: Path) -> None:
    """Refuse, before a call is spent, what could not be written afterwards."""
    if out.is_dir():
        raise click.BadParameter(f"{out} is a directory", param_hint="--out")
    if not out.parent.is_dir():
        why = f"there is no directory {out.parent} to write {out.name} to"
        raise click.BadParameter(why, param_hint="--out")


def _write_plan(out: Path, outlook: Preview, settings: Settings) -> None:
    text = write_plan(
        outlook.guarded.to_dismiss,
        workspace=settings.workspace,
        api_url=settings.api_url,
        made_at=outlook.now,
        rules_sha256=outlook.rules.ruleset.sha256,
    )
    try:
        out.write_text(escape_json(text), encoding="utf-8")
    except OSError as error:
        why = f"{out} cannot be written: {error.strerror or type(error).__name__}"
        raise click.BadParameter(why, param_hint="--out") from error


def _row(decision: Decision, now: datetime) -> tuple[str, ...]:
    task, age = decision.task, age_of(decision.task, now)
    if decision.is_dismissal:
        verb, why = f"dismiss: {decision.reason}", decision.rule or ""
    else:
        verb, why = "leave", str(decision.cause)
        why += f" ({decision.rule})" if decision.rule else ""
    return (
        truncate(task.id or "—", 40),
        truncate(task.type or "—", 20),
        show_age(age),
        verb,
        why,
        truncate(task.description or "—"),
    )


def show_age(age: timedelta | None) -> str:
    """Write an age as people say it: the largest unit only."""
    if age is None:
        return "?"
    text = format_duration(age)
    for unit in "dhms":
        if unit in text:
            return text[: text.index(unit) + 1]
    return text
