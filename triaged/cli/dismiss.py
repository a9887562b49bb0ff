"""``triaged dismiss``: manual and bulk dismissal, by the same dispatcher and ledger."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

import click

from triaged.cli import exit_codes, task_ids
from triaged.cli.confirm import confirm, question, report_dispatched, report_skipped
from triaged.cli.control import refuse_while_paused
from triaged.cli.log_setup import configure_logs
from triaged.cli.options import (
    CALL_OPTIONS,
    LOG_OPTIONS,
    while_paused_option,
    with_settings,
)
from triaged.cli.output import (
    cause_in_words,
    echo,
    notice,
    print_table,
    truncate,
)
from triaged.cli.plan_table import format_age
from triaged.cli.session import list_pending, open_session
from triaged.clock import SystemClock
from triaged.daemon.signals import signal_events
from triaged.ledger.dismissals import Source
from triaged.rules.duration import parse_duration
from triaged.rules.evaluate import age_of
from triaged.rules.patterns.re2_pattern import (
    InvalidPatternError,
    Re2Pattern,
    compile_pattern,
)
from triaged.rules.task import LeaveCause, Task
from triaged.rulesfile.in_force import FollowedRules, load_written_rules
from triaged.rulesfile.loader import CompiledRules
from triaged.settings import Settings
from triaged.triage.manual import (
    ManualDismissal,
    ManualDispatch,
    ManualScreening,
    dispatch_manual,
    screen_manual,
)
from triaged.workspace import Workspace

T = TypeVar("T")

# The bulk example of the API documentation uses it, so it needs no declaration.
BULK_REASON: Final = "bulk_cleanup"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """A selection of pending tasks; all given criteria must match."""

    ids: tuple[str, ...]
    type: str | None
    older_than: timedelta | None
    description: Re2Pattern | None

    def matches(self, task: Task, now: datetime) -> bool:
        """Return whether the task matches; an unknown result does not."""
        if not task.is_pending or (self.ids and task.id not in self.ids):
            return False
        if self.type is not None and task.type != self.type:
            return False
        if self.older_than is not None:
            age = age_of(task, now)
            if age is None or age <= self.older_than:
                return False
        if self.description is None:
            return True
        text = task.description
        return text is not None and self.description.search(text)


@click.command
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--type", "kind", metavar="T", help="Only tasks of this type.")
@click.option("--older-than", metavar="D", help="Only tasks older than this: 14d.")
@click.option("--description", metavar="RE", help="Only where this pattern occurs.")
@click.option("--all", "everything", is_flag=True, help="All pending tasks.")
@click.option("--reason", required=True, metavar="R", help="The reason code.")
@click.option("--yes", is_flag=True, help="Do not ask, for scripts.")
@while_paused_option
@with_settings(*CALL_OPTIONS, *LOG_OPTIONS)
def dismiss(
    *,
    settings: Settings,
    ids: tuple[str, ...],
    kind: str | None,
    older_than: str | None,
    description: str | None,
    everything: bool,
    reason: str,
    yes: bool,
    while_paused: bool,
) -> None:
    """Dismiss the selected tasks, after one confirmation."""
    selection = TaskFilter(
        ids=ids,
        type=kind,
        older_than=_parsed("--older-than", older_than, parse_duration),
        description=_parsed("--description", description, compile_pattern),
    )
    if not all(task_id.strip() for task_id in ids):
        raise click.UsageError("an ID is empty; say which tasks")
    narrowed = bool(ids or kind or older_than or description)
    if narrowed == everything:
        raise click.UsageError(
            "say which: IDs, --type, --older-than, --description or, instead of all"
            " of these, --all"
        )
    rules, loaded = load_written_rules(*settings.rules, now=SystemClock().now())
    known = {*loaded.reasons, BULK_REASON}
    if reason not in known:
        raise click.BadParameter(
            f"unknown reason {reason!r}; known: {', '.join(sorted(known))}",
            param_hint="--reason",
        )
    configure_logs(
        level="warning", form=settings.log_format, workspace=settings.workspace
    )
    done = _dismiss(
        settings, rules, selection, reason, yes=yes, while_paused=while_paused
    )
    sys.exit(asyncio.run(done))


async def _dismiss(
    settings: Settings,
    rules: CompiledRules,
    selection: TaskFilter,
    reason: str,
    *,
    yes: bool,
    while_paused: bool,
) -> int:
    async with open_session(settings) as (workspace, activity):
        if not while_paused:
            refuse_while_paused(workspace.ledger)
        listed = await list_pending(workspace, activity)
        now = workspace.clock.now()
        selection = _with_whole_ids(selection, workspace, listed.tasks)
        wishes = [
            ManualDismissal(t, reason)
            for t in listed.tasks
            if selection.matches(t, now)
        ]
        sifted = screen_manual(
            workspace.ledger,
            rules.ruleset,
            wishes,
            listed.tasks,
            now=now,
            clock_skew=workspace.rate_limiter.clock_skew,
        )
        _show(sifted, listed.tasks, now)
        if not sifted.accepted:
            echo("Nothing to dismiss.")
            return exit_codes.OK
        count = len(sifted.accepted)
        if not yes and not confirm(question(count, reason)):
            return exit_codes.OK
        stop = asyncio.Event()
        with (
            activity.show("dismissing", total=count) as step,
            signal_events(asyncio.get_running_loop(), stop, None),
        ):
            dispatched = await dispatch_manual(
                sifted.accepted,
                ManualDispatch(
                    source=Source.HAND,
                    tasks=listed.tasks,
                    listed_at=listed.requested_at or now,
                    while_paused=while_paused,
                ),
                dispatcher=workspace.dispatcher(lambda _: step()),
                lock=workspace.dispatch_lock(),
                rules=FollowedRules(settings.rules, rules, workspace.clock.now),
                stop=stop,
            )
    report_skipped(dispatched)
    denied = {cause for _, cause in (*sifted.refused, *dispatched.skipped)}
    return report_dispatched(dispatched, capped=LeaveCause.OVER_CAP in denied)


def _with_whole_ids(
    selection: TaskFilter, workspace: Workspace, tasks: Sequence[Task]
) -> TaskFilter:
    """Expand id prefixes; report on stderr ids that are not pending."""
    pending = task_ids.lookup_in(
        task.id for task in tasks if task.is_pending and task.id
    )
    known = task_ids.either(pending, workspace.ledger.task_ids)
    ids, unknown = [], []
    for typed in selection.ids:
        found = task_ids.expand(typed, known)
        if found is None:
            where = "the ledger or among the pending tasks"
            unknown.append(task_ids.unknown_id(typed, known, where))
            continue
        if found not in pending(found, limit=1):
            notice(f"{task_ids.printable(found)} is not pending")
        ids.append(found)
    if unknown:
        # Probably mistyped.
        raise task_ids.UnknownTask("; ".join([*unknown, "nothing was dismissed"]))
    return replace(selection, ids=tuple(ids))


def _show(sifted: ManualScreening, tasks: Sequence[Task], now: datetime) -> None:
    rows = [(wish, f"dismiss: {wish.reason}") for wish in sifted.accepted]
    rows += [
        (wish, f"leave: {cause_in_words(cause)}") for wish, cause in sifted.refused
    ]
    ids = task_ids.shorten(
        [wish.task.id or "" for wish, _ in rows],
        task_ids.lookup_in(task.id for task in tasks if task.id),
    )
    if rows:
        shown = [
            (
                task_ids.printable(ids[wish.task.id or ""] or "—"),
                truncate(wish.task.type or "—", 20),
                format_age(age_of(wish.task, now)),
                what,
                truncate(wish.task.description or "—"),
            )
            for wish, what in rows
        ]
        print_table(("task", "type", "age", "decision", "description"), shown)


def _parsed(option: str, text: str | None, parse: Callable[[str], T]) -> T | None:
    if text is None:
        return None
    try:
        return parse(text)
    except (ValueError, InvalidPatternError) as error:
        raise click.BadParameter(str(error), param_hint=option) from error
