"""``triaged plan``: what a cycle would do now, and why."""

import asyncio
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from triaged.cli import exit_codes
from triaged.cli.files import read_given, refuse_no_directory, write_out
from triaged.cli.options import CALL_OPTIONS, Format, Parsed, with_format, with_settings
from triaged.cli.output import count_of, echo, echo_json, escape_json
from triaged.cli.plan_file import write_plan
from triaged.cli.plan_table import Preview, show_plan
from triaged.cli.session import list_pending, open_session
from triaged.cli.task_ids import either, lookup_in, shorten
from triaged.clock import SystemClock
from triaged.leadlex import protocol
from triaged.rules.context import build_context
from triaged.rules.explain_json import decision_to_dict
from triaged.rules.task import Task, parse_timestamp
from triaged.rulesfile.in_force import load_written_rules
from triaged.rulesfile.loader import CompiledRules
from triaged.settings import Settings
from triaged.triage.guard import History, apply_guard

# Some editors write it at the start of UTF-8 files.
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def _timestamp(text: str) -> datetime:
    moment = parse_timestamp(text)
    if moment is None:
        example = "2026-03-01T00:00:00Z"
        raise ValueError(f"expected a timestamp such as {example}, found {text!r}")
    return moment


now_option = click.option(
    "--now",
    metavar="TIME",
    type=Parsed(_timestamp),
    help="Set the clock (ISO 8601, with zone).",
)


# The history without a ledger: no holds, vetoes or counted dismissals.
EMPTY_HISTORY: Final = History(held_since=None)


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
@click.option("--all", "everything", is_flag=True, help="Show every task.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Show type, age and rule details too."
)
@now_option
@with_format
@with_settings(*CALL_OPTIONS)
def plan(
    *,
    settings: Settings,
    tasks: Path | None,
    out: Path | None,
    everything: bool,
    verbose: bool,
    now: datetime | None,
    form: Format,
) -> None:
    """Show what a cycle would do now and why."""
    if out is not None:
        if out.is_dir():
            raise click.BadParameter(f"{out} is a directory", param_hint="--out")
        refuse_no_directory(out)
    preview = make_preview(settings, tasks, now)
    if form is Format.JSON:
        echo_json(preview_json(preview, settings))
    else:
        show_plan(preview, everything=everything, verbose=verbose)
    if out is not None:
        _write_plan(out, preview, settings)
    sys.exit(exit_codes.INCOMPLETE if preview.is_incomplete() else exit_codes.OK)


def make_preview(
    settings: Settings, file: Path | None, now: datetime | None
) -> Preview:
    """Decide on the tasks of a file, or on the tasks that are pending now."""
    # Tests in the file use their own times; --now applies to the tasks only.
    rules, _ = load_written_rules(*settings.rules, now=SystemClock().now())
    if file is None:
        return asyncio.run(_preview_of_api(settings, rules, now))
    return preview_of(rules, read_tasks(file), now)


def preview_of(
    rules: CompiledRules, tasks: Sequence[Task], now: datetime | None
) -> Preview:
    """Decide on tasks that no ledger knows."""
    moment = now or SystemClock().now()
    decisions = rules.engine.decide(tasks, now=moment)
    guarded = apply_guard(
        decisions,
        rules.ruleset,
        EMPTY_HISTORY,
        build_context(rules.ruleset.conditions(), tasks, now=moment),
    )
    ids = [task.id for task in tasks if task.id]
    return Preview(
        ruleset=rules.ruleset,
        tasks=tasks,
        guarded=guarded,
        history=EMPTY_HISTORY,
        now=moment,
        short_ids=shorten(ids, lookup_in(ids)),
    )


def read_tasks(file: Path) -> list[Task]:
    """Read a list response from a file."""
    body = read_given(file, param="--tasks")
    try:
        return protocol.decode_list(body.removeprefix(BYTE_ORDER_MARK))
    except ValueError as error:
        raise click.BadParameter(
            f'{file} is no list answer {{"data": {{"tasks": […]}}}}: {error}',
            param_hint="--tasks",
        ) from error


async def _preview_of_api(
    settings: Settings, rules: CompiledRules, now: datetime | None
) -> Preview:
    async with open_session(settings) as (workspace, activity):
        listed = await list_pending(workspace, activity)
        moment = now or workspace.clock.now()
        assessment = workspace.assess(rules, listed.tasks, now=moment)
        ids = [task.id for task in listed.tasks if task.id]
        known = either(lookup_in(ids), workspace.ledger.task_ids)
        return Preview(
            ruleset=assessment.rules.ruleset,
            tasks=listed.tasks,
            guarded=assessment.guarded,
            history=assessment.history,
            now=moment,
            short_ids=shorten(ids, known),
            may_lack_tasks=listed.incomplete is not None,
        )


def preview_json(preview: Preview, settings: Settings) -> dict[str, Any]:
    """Return what ``plan --format json`` prints."""
    guarded = preview.guarded
    return {
        "workspace": settings.workspace,
        "now": preview.now.isoformat(),
        "rules_sha256": preview.ruleset.sha256,
        "decisions": [decision_to_dict(decision) for decision in guarded.decisions],
        "dismiss": len(guarded.to_dismiss),
        "left": {str(cause): n for cause, n in sorted(guarded.left.items())},
        "breaker": guarded.breaker,
        "incomplete": preview.is_incomplete(),
    }


def _write_plan(out: Path, preview: Preview, settings: Settings) -> None:
    text = write_plan(
        preview.guarded.to_dismiss,
        workspace=settings.workspace,
        api_url=settings.api_url,
        made_at=preview.now,
        rules_sha256=preview.ruleset.sha256,
    )
    write_out(out, escape_json(text))
    count = len(preview.guarded.to_dismiss)
    next_step = f"; triaged apply {shlex.quote(str(out))}" if count else ""
    echo(f"{out}: {count_of(count, 'dismissal')}{next_step}", error=True)
