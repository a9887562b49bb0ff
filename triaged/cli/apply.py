"""``triaged apply``: dismiss what a reviewed plan says, less what changed since."""

import asyncio
import sys
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from triaged.cli import exit_codes
from triaged.cli.confirm import confirm
from triaged.cli.dismiss import say_carried
from triaged.cli.log_setup import configure_logs
from triaged.cli.options import (
    API,
    LEDGER_OPTIONS,
    LOG_OPTIONS,
    QUOTA_OPTIONS,
    RULES_OPTIONS,
    with_settings,
)
from triaged.cli.output import console, echo, table, truncate
from triaged.cli.plan_file import MAX_BYTES, Entry, Plan, read_plan
from triaged.clock import SystemClock
from triaged.daemon.signals import signal_events
from triaged.ledger.dismissals import Source
from triaged.quota import Purpose
from triaged.rules.context import build_context
from triaged.rules.task import Decision, Task
from triaged.rulesfile.loader import CompiledRules, load_rules
from triaged.settings import Settings
from triaged.triage.assessment import Judge
from triaged.triage.cycle import build_requests
from triaged.workspace import Workspace, open_workspace


@click.command
@click.argument("file", metavar="PLAN", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask, for scripts.")
@with_settings(*API, *RULES_OPTIONS, *QUOTA_OPTIONS, *LEDGER_OPTIONS, *LOG_OPTIONS)
def apply(*, settings: Settings, file: Path, yes: bool) -> None:
    """Dismiss exactly what a plan says, less what changed since it was made."""
    now = SystemClock().now()
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise click.BadParameter(f"{file}: {why}", param_hint="PLAN") from error
    reviewed = read_plan(text)
    rules, _ = load_rules(settings.rules, now=now)
    reviewed.check(
        workspace=settings.workspace,
        api_url=settings.api_url,
        rules_sha256=rules.ruleset.sha256,
        now=now,
    )
    configure_logs(
        level="warning", form=settings.log_format, workspace=settings.workspace
    )
    sys.exit(asyncio.run(_apply(settings, rules, reviewed, yes=yes)))


async def _apply(
    settings: Settings, rules: CompiledRules, plan: Plan, *, yes: bool
) -> int:
    async with open_workspace(settings, SystemClock()) as workspace:
        listed = await workspace.reader.list_tasks(purpose=Purpose.OTHER)
        now = workspace.clock.now()
        guarded, _ = Judge(workspace.ledger).assess(
            rules, listed.tasks, now=now, clock_skew=workspace.rate_limiter.clock_skew
        )
        due, dropped = compare(plan.entries, guarded.decisions)
        _show(due, dropped)
        if not due:
            echo("Nothing to dismiss.")
            return exit_codes.OK
        if not yes and not confirm(f"Dismiss {len(due)} for good?"):
            return exit_codes.OK
        return await _carry_out(workspace, rules, plan, listed.tasks, due, now)


async def _carry_out(
    workspace: Workspace,
    rules: CompiledRules,
    plan: Plan,
    tasks: Sequence[Task],
    agreed_on: Sequence[Decision],
    now: datetime,
) -> int:
    """Dismiss what was agreed on and holds still, now that nobody else dismisses.

    While a person thought, a daemon may have spent a cap, or somebody vetoed.
    """
    ids = {decision.task.id for decision in agreed_on}
    entries = [entry for entry in plan.entries if entry.task_id in ids]
    stop = asyncio.Event()
    with signal_events(asyncio.get_running_loop(), stop, None):
        async with workspace.dispatch_lock().acquired():
            workspace.rate_limiter.expire_dismissals()
            guarded, _ = Judge(workspace.ledger).assess(
                rules, tasks, now=now, clock_skew=workspace.rate_limiter.clock_skew
            )
            due, late = compare(entries, guarded.decisions)
            workspace.ledger.decisions.save_ruleset(
                rules.ruleset.sha256, rules.source, at=now
            )
            context = build_context(rules.ruleset.conditions(), tasks, now=now)
            dispatched = await workspace.dispatcher().dispatch(
                build_requests(due, rules, context),
                source=Source.APPLY,
                cycle=uuid.uuid4().hex[:12],
                stop=stop,
                listed_at=now,
            )
    for entry, why in late:
        echo(f"{truncate(entry.task_id, 40)} stays: {why}")
    return say_carried(dispatched, capped=bool(late))


def compare(
    entries: Sequence[Entry], decisions: Sequence[Decision]
) -> tuple[list[Decision], list[tuple[Entry, str]]]:
    """Split a plan into what still holds to the letter, and why the rest is dropped."""
    now = {d.task.id: d for d in decisions if d.task.id is not None}
    due: list[Decision] = []
    dropped: list[tuple[Entry, str]] = []
    for entry in entries:
        decision = now.get(entry.task_id)
        if decision is None:
            dropped.append((entry, "not pending any more"))
        elif decision.task.content_hash() != entry.content_sha256:
            dropped.append((entry, "changed since"))
        elif decision.cause is not None:
            dropped.append((entry, f"left now ({decision.cause})"))
        elif (decision.rule, decision.reason) != (entry.rule, entry.reason):
            dropped.append((entry, f"now wanted by {decision.rule}"))
        else:
            due.append(decision)
    return due, dropped


def _show(due: Sequence[Decision], dropped: Sequence[tuple[Entry, str]]) -> None:
    rows = [
        (d.task.id or "", f"dismiss: {d.reason}", d.rule or "", d.task.description)
        for d in due
    ]
    rows += [
        (entry.task_id, f"dropped: {why}", entry.rule, "") for entry, why in dropped
    ]
    if rows:
        shown = [
            (truncate(task, 40), what, rule, truncate(text or ""))
            for task, what, rule, text in rows
        ]
        console().print(table(("task", "what", "rule", "description"), shown))
