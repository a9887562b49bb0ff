"""``triaged dismiss``: by hand and in bulk, through the same guard and ledger."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

import click

from triaged.cli import exit_codes as exits
from triaged.cli.confirm import agreed
from triaged.cli.log_setup import configure_logs
from triaged.cli.options import API, LEDGER, LOGS, QUOTA, RULES, with_settings
from triaged.cli.output import console, say, shorten, table
from triaged.cli.plan import show_age
from triaged.clock import SystemClock
from triaged.daemon.signals import signals_set
from triaged.ledger.dismissals import Outcome, Source
from triaged.quota import Purpose
from triaged.rules.duration import parse_duration
from triaged.rules.evaluate import age_of
from triaged.rules.patterns.re2_pattern import (
    PatternRefusedError,
    Re2Pattern,
    compile_pattern,
)
from triaged.rules.task import Cause, Task
from triaged.rulesfile.loader import Rules, load_rules
from triaged.settings import Settings
from triaged.triage.manual import Sifted, Wish, carry_out, sift
from triaged.triage.requests import Carried
from triaged.workspace import open_workspace

T = TypeVar("T")

# The documentation's own bulk sample sends it, so it needs no declaration.
BULK_REASON: Final = "bulk_cleanup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of the pending tasks are meant; all given parts must hold."""

    ids: tuple[str, ...]
    type: str | None
    older_than: timedelta | None
    description: Re2Pattern | None

    def picks(self, task: Task, now: datetime) -> bool:
        """Say whether the task is meant; what cannot be judged is not."""
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
@with_settings(*API, *RULES, *QUOTA, *LEDGER, *LOGS)
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
) -> None:
    """Dismiss tasks by hand: shows them, asks once, and remembers.

    Protected and vetoed tasks stay, whatever you ask for.
    """
    selection = Selection(
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
    rules, loaded = load_rules(settings.rules, now=SystemClock().now())
    known = {*loaded.reasons, BULK_REASON}
    if reason not in known:
        raise click.BadParameter(
            f"unknown reason {reason!r}; known: {', '.join(sorted(known))}",
            param_hint="--reason",
        )
    configure_logs(
        level="warning", form=settings.log_format, workspace=settings.workspace
    )
    sys.exit(asyncio.run(_dismiss(settings, rules, selection, reason, yes=yes)))


async def _dismiss(
    settings: Settings, rules: Rules, selection: Selection, reason: str, *, yes: bool
) -> int:
    async with open_workspace(settings, SystemClock()) as workspace:
        listed = await workspace.reader.list_tasks(purpose=Purpose.HAND)
        now = workspace.clock.now()
        wishes = [Wish(t, reason) for t in listed.tasks if selection.picks(t, now)]
        sifted = sift(workspace, rules.ruleset, wishes, listed.tasks, now=now)
        _say_missing(selection, listed.tasks)
        _show(sifted, now)
        if not sifted.granted:
            say("Nothing to dismiss.")
            return exits.DONE
        count = len(sifted.granted)
        if not yes and not agreed(f"Dismiss {count} for good, as {reason}?"):
            return exits.DONE
        stop = asyncio.Event()
        with signals_set(asyncio.get_running_loop(), stop, None):
            carried, late = await carry_out(
                workspace,
                rules.ruleset,
                sifted.granted,
                listed.tasks,
                source=Source.HAND,
                listed_at=now,
                stop=stop,
            )
        for wish, cause in late.denied:
            say(f"{shorten(wish.task.id or '—', 40)} stays: {cause} meanwhile")
    denied = {cause for _, cause in (*sifted.denied, *late.denied)}
    return say_carried(carried, capped=Cause.OVER_CAP in denied)


def say_carried(carried: Carried, *, capped: bool) -> int:
    """Sum up what became of dismissals; return the exit code."""
    ends = Counter(attempt.outcome for attempt in carried.attempts)
    told = ", ".join(f"{number} {outcome}" for outcome, number in ends.most_common())
    say(f"{told or 'nothing was sent'}.")
    if carried.undone:
        say(f"{carried.undone} not done: {carried.halt or 'stopped'}.")
    if carried.error is not None:
        say(str(carried.error), error=True)
        code = exits.code_for(carried.error)
        if code == exits.KEY_REFUSED:
            return code
    incomplete = carried.undone or capped or ends[Outcome.UNKNOWN]
    return exits.INCOMPLETE if incomplete else exits.DONE


def _say_missing(selection: Selection, tasks: Sequence[Task]) -> None:
    pending = {task.id for task in tasks if task.is_pending}
    for task_id in selection.ids:
        if task_id not in pending:
            say(f"{task_id} is not pending.", error=True)


def _show(sifted: Sifted, now: datetime) -> None:
    rows = [(wish, f"dismiss: {wish.reason}") for wish in sifted.granted]
    rows += [(wish, f"stays: {cause}") for wish, cause in sifted.denied]
    if rows:
        shown = [
            (
                shorten(wish.task.id or "—", 40),
                shorten(wish.task.type or "—", 20),
                show_age(age_of(wish.task, now)),
                what,
                shorten(wish.task.description or "—"),
            )
            for wish, what in rows
        ]
        headings = ("task", "type", "age", "what", "description")
        console().print(table(headings, shown))


def _parsed(option: str, text: str | None, parse: Callable[[str], T]) -> T | None:
    if text is None:
        return None
    try:
        return parse(text)
    except (ValueError, PatternRefusedError) as error:
        raise click.BadParameter(str(error), param_hint=option) from error
