"""``triaged apply``: dismiss the unchanged tasks of a reviewed plan."""

import asyncio
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from triaged.cli import exit_codes
from triaged.cli.confirm import confirm, question, report_dispatched, report_skipped
from triaged.cli.control import refuse_while_paused
from triaged.cli.files import read_given
from triaged.cli.log_setup import configure_logs
from triaged.cli.options import CALL_OPTIONS, LOG_OPTIONS, with_settings
from triaged.cli.output import cause_in_words, echo, print_table, truncate
from triaged.cli.plan_file import MAX_BYTES, Entry, Plan, read_plan
from triaged.cli.session import list_pending, open_session
from triaged.cli.task_ids import lookup_in, printable, shorten
from triaged.clock import SystemClock
from triaged.daemon.signals import signal_events
from triaged.leadlex.models import TaskList
from triaged.ledger.dismissals import Source
from triaged.rules.task import Decision
from triaged.rulesfile.in_force import FollowedRules, load_written_rules
from triaged.rulesfile.loader import CompiledRules
from triaged.settings import Settings
from triaged.triage.cycle import build_requests
from triaged.triage.requests import DispatchOrigin
from triaged.workspace import Workspace


@click.command
@click.argument("file", metavar="PLAN", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask, for scripts.")
@with_settings(*CALL_OPTIONS, *LOG_OPTIONS)
def apply(*, settings: Settings, file: Path, yes: bool) -> None:
    """Dismiss what a plan contains, except tasks that have changed since."""
    now = SystemClock().now()
    body = read_given(file, param="PLAN", most=MAX_BYTES)
    reviewed = read_plan(body.decode("utf-8", "replace"))
    rules, _ = load_written_rules(*settings.rules, now=now)
    reviewed.check(
        workspace=settings.workspace,
        api_url=settings.api_url,
        rules_sha256=rules.ruleset.sha256,
        now=now,
    )
    if not reviewed.entries:
        echo(f"Nothing to dismiss: {file} contains no dismissals.")
        return
    configure_logs(
        level="warning", form=settings.log_format, workspace=settings.workspace
    )
    sys.exit(asyncio.run(_apply(settings, rules, reviewed, yes=yes)))


async def _apply(
    settings: Settings, rules: CompiledRules, plan: Plan, *, yes: bool
) -> int:
    async with open_session(settings) as (workspace, activity):
        refuse_while_paused(workspace.ledger)
        listed = await list_pending(workspace, activity)
        now = workspace.clock.now()
        guarded = workspace.assess(rules, listed.tasks, now=now).guarded
        due, dropped = compare(plan.entries, guarded.decisions)
        _show(due, dropped)
        if not due:
            echo("Nothing to dismiss.")
            return exit_codes.OK
        if not yes and not confirm(question(len(due))):
            return exit_codes.OK
        with activity.show("dismissing", total=len(due)) as step:
            return await _carry_out(workspace, rules, plan, listed, due, step)


async def _carry_out(
    workspace: Workspace,
    rules: CompiledRules,
    plan: Plan,
    listed: TaskList,
    confirmed: Sequence[Decision],
    step: Callable[[], None],
) -> int:
    """Dismiss the confirmed tasks that are still due, under the dispatch lock.

    While the command waited for the confirmation, a daemon may have used up a cap, or a
    person may have vetoed a task.
    """
    ids = {decision.task.id for decision in confirmed}
    entries = [entry for entry in plan.entries if entry.task_id in ids]
    stop = asyncio.Event()
    with signal_events(asyncio.get_running_loop(), stop, None):
        async with workspace.dispatch_lock().acquired(stop.is_set) as is_held:
            if not is_held:
                echo("nothing was sent.")
                return exit_codes.INCOMPLETE
            workspace.rate_limiter.expire_dismissals()
            now = workspace.clock.now()
            assessment = workspace.assess(rules, listed.tasks, now=now)
            due, late = compare(entries, assessment.guarded.decisions)
            workspace.ledger.rulesets.save(rules.ruleset.sha256, rules.source, at=now)
            dispatched = await workspace.dispatcher(lambda _: step()).dispatch(
                build_requests(due, rules, assessment.context),
                DispatchOrigin(
                    source=Source.APPLY,
                    cycle=uuid.uuid4().hex[:12],
                    listed_at=listed.requested_at or now,
                    context=assessment.context,
                ),
                rules=FollowedRules(
                    workspace.settings.rules, rules, workspace.clock.now
                ),
                stop=stop,
            )
    for entry, why in late:
        echo(f"{printable(entry.task_id)} was left meanwhile: {why}")
    report_skipped(dispatched)
    return report_dispatched(dispatched, capped=bool(late or dispatched.skipped))


def compare(
    entries: Sequence[Entry], decisions: Sequence[Decision]
) -> tuple[list[Decision], list[tuple[Entry, str]]]:
    """Split a plan into unchanged tasks still due, and dropped ones with reasons."""
    now = {d.task.id: d for d in decisions if d.task.id is not None}
    due: list[Decision] = []
    dropped: list[tuple[Entry, str]] = []
    for entry in entries:
        decision = now.get(entry.task_id)
        if decision is None:
            dropped.append((entry, "no longer pending"))
        elif decision.task.content_hash() != entry.content_sha256:
            dropped.append((entry, "changed since"))
        elif decision.cause is not None:
            dropped.append((entry, f"left now: {cause_in_words(decision.cause)}"))
        elif (decision.rule, decision.reason) != (entry.rule, entry.reason):
            dropped.append((entry, f"now wanted by {decision.rule}"))
        else:
            due.append(decision)
    return due, dropped


def _show(due: Sequence[Decision], dropped: Sequence[tuple[Entry, str]]) -> None:
    ids = [d.task.id or "" for d in due] + [entry.task_id for entry, _ in dropped]
    shown = shorten(ids, lookup_in(ids))
    rows = [
        (f"dismiss: {d.reason}", d.rule or "", truncate(d.task.description or "—"))
        for d in due
    ]
    rows += [(f"dropped: {why}", entry.rule, "—") for entry, why in dropped]
    if rows:
        print_table(
            ("task", "decision", "rule", "description"),
            [
                (printable(shown[task_id]), *row)
                for task_id, row in zip(ids, rows, strict=True)
            ],
        )
