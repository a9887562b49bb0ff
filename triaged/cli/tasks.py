"""``triaged plan`` and ``triaged explain``: what a cycle would do now, and why."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text
from rich.tree import Tree

from triaged.cli import exits
from triaged.cli.options import (
    API,
    LEDGER,
    QUOTA,
    RULES,
    Format,
    with_format,
    with_settings,
)
from triaged.clock import SystemClock
from triaged.cycle import Judge
from triaged.engine.duration import show_duration
from triaged.engine.explain import explain as explain_task
from triaged.engine.listing import Listing, ordered_duplicates, survey
from triaged.engine.model import Cause, Decision, Task, parse_moment, read_task
from triaged.engine.truth import age_of
from triaged.errors import TriagedError
from triaged.guard import Past, Screened, screen
from triaged.leadlex import wire
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Search
from triaged.ledger.judgements import Judgement
from triaged.ledger.store import FILE
from triaged.planfile import write_plan
from triaged.quota import Purpose
from triaged.render import (
    add_verdict,
    console,
    rule_tree,
    say,
    shorten,
    table,
)
from triaged.rulefile.load import parse
from triaged.rules import Rules, load_rules
from triaged.settings import Settings
from triaged.trace import decision_json, explanation_json
from triaged.workspace import open_workspace


class _Moment(click.ParamType[datetime]):
    """A moment with its time zone, in ISO 8601."""

    name = "moment"

    def convert(
        self,
        value: str | datetime,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        moment = value if isinstance(value, datetime) else parse_moment(value)
        if moment is None:
            example = "2026-03-01T00:00:00Z"
            self.fail(
                f"expected a moment such as {example}, found {value!r}", param, ctx
            )
        return moment


_now_option = click.option(
    "--now", metavar="TIME", type=_Moment(), help="Set the clock (ISO 8601, with zone)."
)


class UnknownTask(TriagedError):
    """Neither the ledger nor the list knows the task."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        """Say which."""
        return f"no task {self.task_id!r} in the ledger or among the pending ones"


# Without the ledger nothing is held, vetoed or spent.
NO_LEDGER: Final = Past(held_since=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a cycle would do with the tasks as they are now."""

    rules: Rules
    tasks: Sequence[Task]
    screened: Screened
    now: datetime

    def is_incomplete(self) -> bool:
        """Say whether a belt would keep a cycle from doing all that the rules want."""
        left = self.screened.left
        return bool(left[Cause.OVER_CAP] or self.screened.breaker)


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
@_now_option
@with_format
@with_settings(*API, *RULES, *QUOTA, *LEDGER)
def plan(
    *,
    settings: Settings,
    tasks: Path | None,
    out: Path | None,
    now: datetime | None,
    form: Format,
) -> None:
    """Show what a cycle would do now and why; never writes."""
    outlook = look(settings, tasks, now)
    if form is Format.JSON:
        say(json.dumps(outlook_json(outlook, settings), indent=2, ensure_ascii=False))
    else:
        _show_outlook(outlook)
    if out is not None:
        _write_plan(out, outlook, settings)
    sys.exit(exits.INCOMPLETE if outlook.is_incomplete() else exits.DONE)


@click.command
@click.argument("task_id", required=False)
@click.option(
    "--task",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A task as JSON, judged as new.",
)
@_now_option
@with_format
@with_settings(*API, *RULES, *QUOTA, *LEDGER)
def explain(
    *,
    settings: Settings,
    task_id: str | None,
    task: Path | None,
    now: datetime | None,
    form: Format,
) -> None:
    """Show each rule's conditions for one task: seen, wanted and concluded."""
    if (task_id is None) == (task is None):
        raise click.BadParameter("give a TASK_ID or --task FILE")
    shown = (
        _explain_file(settings, task, now)
        if task is not None
        else _explain_id(settings, task_id or "", now)
    )
    if form is Format.JSON:
        say(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        _show_explanation(shown)


def look(settings: Settings, file: Path | None, now: datetime | None) -> Outlook:
    """Decide on the tasks of a file, or on those that are pending now."""
    rules, _ = load_rules(settings.rules, now=now or SystemClock().now())
    if file is None:
        return asyncio.run(_look_at_api(settings, rules, now))
    tasks = read_tasks(file)
    moment = now or SystemClock().now()
    decisions = rules.engine.decide(tasks, now=moment)
    screened = screen(decisions, rules.ruleset, NO_LEDGER, now=moment)
    return Outlook(rules=rules, tasks=tasks, screened=screened, now=moment)


def read_tasks(file: Path) -> list[Task]:
    """Read a list answer from a file."""
    try:
        return wire.decode_list(file.read_bytes())
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise click.BadParameter(f"{file}: {why}", param_hint="--tasks") from error
    except ValueError as error:
        raise click.BadParameter(
            f'{file} is no list answer {{"data": {{"tasks": […]}}}}: {error}',
            param_hint="--tasks",
        ) from error


async def _look_at_api(
    settings: Settings, rules: Rules, now: datetime | None
) -> Outlook:
    async with open_workspace(settings, SystemClock()) as workspace:
        listed = await workspace.reader.list_tasks(purpose=Purpose.HAND)
        moment = now or workspace.clock.now()
        screened, _ = Judge(workspace.ledger).assess(
            rules, listed.tasks, now=moment, clock_skew=workspace.meter.clock_skew
        )
    return Outlook(rules=rules, tasks=listed.tasks, screened=screened, now=moment)


def outlook_json(outlook: Outlook, settings: Settings) -> dict[str, Any]:
    """Return what ``plan --format json`` prints."""
    screened = outlook.screened
    return {
        "workspace": settings.workspace,
        "now": outlook.now.isoformat(),
        "rules_sha256": outlook.rules.ruleset.sha256,
        "decisions": [decision_json(decision) for decision in screened.decisions],
        "dismiss": len(screened.due),
        "left": {str(cause): n for cause, n in sorted(screened.left.items())},
        "breaker": screened.breaker,
        "incomplete": outlook.is_incomplete(),
    }


def _show_outlook(outlook: Outlook) -> None:
    rows = [_row(decision, outlook.now) for decision in outlook.screened.decisions]
    if rows:
        headings = ("task", "type", "age", "decision", "why", "description")
        console().print(table(headings, rows))
    left = outlook.screened.left
    say(f"\n{len(rows)} listed: {len(outlook.screened.due)} to dismiss, ", end="")
    causes = ", ".join(f"{number} {cause}" for cause, number in left.most_common())
    say(f"{sum(left.values())} left{f' ({causes})' if causes else ''}.")
    if outlook.screened.breaker is not None:
        say(f"The breaker is open: {outlook.screened.breaker}.")
    watched = Counter(o.rule for d in outlook.screened.decisions for o in d.observed)
    for rule, number in watched.most_common():
        say(f"Rule {rule} only observes: it would want {number}.")


def _write_plan(out: Path, outlook: Outlook, settings: Settings) -> None:
    text = write_plan(
        outlook.screened.due,
        workspace=settings.workspace,
        api_url=settings.api_url,
        made_at=outlook.now,
        rules_sha256=outlook.rules.ruleset.sha256,
    )
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise click.BadParameter(f"{out}: {why}", param_hint="--out") from error


def _row(decision: Decision, now: datetime) -> tuple[str, ...]:
    task, age = decision.task, age_of(decision.task, now)
    if decision.dismisses:
        verb, why = f"dismiss: {decision.reason}", decision.rule or ""
    else:
        verb, why = "leave", str(decision.cause)
        why += f" ({decision.rule})" if decision.rule else ""
    return (
        shorten(task.id or "—", 40),
        shorten(task.type or "—", 20),
        show_age(age),
        verb,
        why,
        shorten(task.description or "—"),
    )


def show_age(age: timedelta | None) -> str:
    """Write an age as people say it: the largest unit only."""
    if age is None:
        return "?"
    text = show_duration(age)
    for unit in "dhms":
        if unit in text:
            return text[: text.index(unit) + 1]
    return text


def _explain_file(
    settings: Settings, file: Path, now: datetime | None
) -> dict[str, Any]:
    try:
        value = wire.parse_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{file}: {error}", param_hint="--task") from error
    if not isinstance(value, dict) or "data" in value:
        raise click.BadParameter(
            f"{file} must hold one task, an object", param_hint="--task"
        )
    moment = now or SystemClock().now()
    rules, _ = load_rules(settings.rules, now=moment)
    task = read_task(value)
    listing = survey(rules.ruleset.conditions(), [task], now=moment)
    decision = screen(
        rules.engine.decide([task], now=moment), rules.ruleset, NO_LEDGER, now=moment
    ).decisions[0]
    return _explanation("file", rules, task, listing, decision)


def _explain_id(
    settings: Settings, task_id: str, now: datetime | None
) -> dict[str, Any]:
    if now is None and (settings.state_dir / FILE).exists():
        with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
            remembered = _from_ledger(ledger, task_id)
        if remembered is not None:
            return remembered
    outlook = look(settings, None, now)
    listing = survey(outlook.rules.ruleset.conditions(), outlook.tasks, now=outlook.now)
    for decision in outlook.screened.decisions:
        if decision.task.id == task_id:
            return _explanation("list", outlook.rules, decision.task, listing, decision)
    raise UnknownTask(task_id)


def _from_ledger(ledger: Ledger, task_id: str) -> dict[str, Any] | None:
    """Explain by what was stored when it was decided, whatever the rules say today."""
    dismissals = ledger.dismissals.find(Search(task_id=task_id, newest=1))
    if not dismissals:
        judgement = ledger.judgements.last(task_id)
        return None if judgement is None else _rejudged(ledger, judgement)
    entry = dismissals[0]
    about_dismissal = {
        "source": "ledger",
        "task_id": task_id,
        "task": entry.task,
        "decided_at": entry.decided_at.isoformat(),
        "rules_sha256": entry.rules_sha256,
        "dismissal": {
            "rule": entry.rule,
            "reason": entry.reason,
            "outcome": entry.outcome or "unknown",
            "source": entry.source,
            "detail": entry.detail,
        },
    }
    return {**about_dismissal, **entry.trace}


def _rejudged(ledger: Ledger, judgement: Judgement) -> dict[str, Any] | None:
    text = ledger.judgements.rules_text(judgement.rules_sha256)
    if text is None:
        return None
    ruleset = parse(text.encode(), "rules in the ledger").ruleset
    task = read_task(judgement.task)
    duplicates = ordered_duplicates(ruleset.conditions())
    copies = zip(duplicates, judgement.copies, strict=True)
    listing = Listing(
        judgement.decided_at,
        {
            duplicate: {} if copy is None else {judgement.task_id: copy}
            for duplicate, copy in copies
        },
    )
    explanation = explain_task(ruleset, task, listing)
    decision = explanation.decision._replace(
        cause=judgement.cause, rule=judgement.rule, reason=judgement.reason
    )
    return {
        "source": "ledger",
        "task_id": judgement.task_id,
        "task": judgement.task,
        "decided_at": judgement.decided_at.isoformat(),
        "rules_sha256": judgement.rules_sha256,
        **explanation_json(explanation),
        "decision": decision_json(decision),
    }


def _explanation(
    source: str, rules: Rules, task: Task, listing: Listing, decision: Decision
) -> dict[str, Any]:
    return {
        "source": source,
        "task_id": task.id,
        "task": dict(task.fields),
        "decided_at": listing.now.isoformat(),
        "rules_sha256": rules.ruleset.sha256,
        **explanation_json(explain_task(rules.ruleset, task, listing)),
        "decision": decision_json(decision),
    }


def _show_explanation(shown: dict[str, Any]) -> None:
    decision, out = shown["decision"], console()
    if decision["decision"] == "dismiss":
        verdict = f"dismiss as {decision['reason']}, by rule {decision['rule']}"
    else:
        by = f", rule {decision['rule']}" if decision["rule"] else ""
        verdict = f"leave: {decision['cause']}{by}"
    where = {"ledger": "as decided", "list": "judged", "file": "judged"}
    say(f"{shown['task_id']}: {verdict}")
    say(f"{where[shown['source']]} at {shown['decided_at']}")
    say(f"description: {shorten(str(shown['task'].get('description', '—')), 200)}")
    if "dismissal" in shown:
        dismissal = shown["dismissal"]
        say(f"dismissal: {dismissal['outcome']} (wanted by {dismissal['source']})")
    if shown["protect"]:
        tree = Tree(Text("protect (true or unknown keeps the task)", style="bold"))
        for verdict_ in shown["protect"]:
            add_verdict(tree, verdict_)
        out.print(tree)
    for rule in shown["rules"]:
        out.print(rule_tree(rule))
    if shown["nearest"]:
        say(f"Nearest rule that did not act: {shown['nearest']}")
