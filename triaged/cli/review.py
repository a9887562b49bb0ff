"""``triaged review``: one pending task after the other, with the rules' opinion."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import click

from triaged.cli import exit_codes as exits
from triaged.cli.dismiss import BULK_REASON
from triaged.cli.keypress import key, single_keys
from triaged.cli.log_setup import configure_logs
from triaged.cli.options import API, LEDGER, LOGS, QUOTA, RULES, with_settings
from triaged.cli.output import say, shorten
from triaged.cli.plan import show_age
from triaged.clock import SystemClock
from triaged.errors import QuotaSpent
from triaged.leadlex.approver import LexiApprover
from triaged.leadlex.errors import LexiError
from triaged.ledger.dismissals import Source
from triaged.ledger.flags import MarkName
from triaged.quota import Purpose
from triaged.rules.evaluate import age_of
from triaged.rules.task import Cause, Decision, Task
from triaged.rulesfile.loader import Rules, load_rules
from triaged.settings import Settings
from triaged.triage.assessment import Judge
from triaged.triage.guard import seniority
from triaged.triage.manual import Wish, carry_out
from triaged.workspace import Workspace, open_workspace

HELP: Final = "a approve · d dismiss · s skip · u undo the last · q quit"
# Nobody can be asked about what has no id, or what was dismissed before.
_NOT_ASKED: Final = frozenset({Cause.MALFORMED, Cause.NOT_PENDING})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said of one task: ``a``, ``d`` with a reason, or ``s``."""

    task: Task
    key: str
    reason: str = ""


@click.command
@with_settings(*API, *RULES, *QUOTA, *LEDGER, *LOGS)
def review(*, settings: Settings) -> None:
    """Go through the pending tasks one by one: approve, dismiss, skip or quit.

    An answer is sent when the next one is given, or by q; so the last one can be
    undone, and Ctrl-C leaves without sending it.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("a review needs a terminal; scripts use triaged dismiss")
    rules, loaded = load_rules(settings.rules, now=SystemClock().now())
    configure_logs(
        level="error", form=settings.log_format, workspace=settings.workspace
    )
    reasons = tuple(dict.fromkeys((*loaded.reasons, BULK_REASON)))
    sys.exit(asyncio.run(_review(settings, rules, reasons)))


async def _review(settings: Settings, rules: Rules, reasons: tuple[str, ...]) -> int:
    async with open_workspace(settings, SystemClock()) as workspace:
        listed = await workspace.reader.list_tasks(purpose=Purpose.HAND)
        now = workspace.clock.now()
        screened, _ = Judge(workspace.ledger).assess(
            rules, listed.tasks, now=now, clock_skew=workspace.meter.clock_skew
        )
        pending = [d for d in screened.decisions if d.cause not in _NOT_ASKED]
        pending.sort(key=lambda decision: seniority(decision.task))
        session = _Session(workspace, rules, reasons, listed.tasks, now)
        with single_keys():
            await session.go(_from_mark(workspace, pending))
    return session.sum_up()


class _Session:
    """One person's way through the pending tasks."""

    def __init__(
        self,
        workspace: Workspace,
        rules: Rules,
        reasons: tuple[str, ...],
        tasks: Sequence[Task],
        now: datetime,
    ) -> None:
        self._workspace = workspace
        self._rules = rules
        self._reasons = reasons
        self._tasks = tasks
        self._now = now
        self._last: Answer | None = None
        self._ends: Counter[str] = Counter()
        self._code = exits.DONE

    async def go(self, pending: Sequence[Decision]) -> None:
        """Ask for each task; the last answer waits until there is another."""
        at = 0
        while at < len(pending):
            decision = pending[at]
            self._show(decision, at + 1, len(pending))
            pressed = key("asduq")
            if pressed is None or pressed == "q":
                self._remember(decision.task)
                if pressed is None:
                    self._forget()
                break
            if pressed == "u":
                at = self._undo(at)
                continue
            answer = self._answer(decision, pressed)
            if answer is None:
                continue
            # Whoever comes back sees first what was not sent.
            self._remember(decision.task)
            await self._send()
            self._last = answer
            at += 1
        else:
            self._workspace.ledger.marks.remove(MarkName.REVIEW)
        await self._send()

    def sum_up(self) -> int:
        """Say what was done; return the exit code."""
        told = ", ".join(f"{n} {what}" for what, n in self._ends.most_common())
        say(f"\nReview: {told or 'nothing was done'}.")
        return self._code

    def _show(self, decision: Decision, number: int, total: int) -> None:
        task = decision.task
        age = show_age(age_of(task, self._now))
        # A line's end in a type or an id must not begin a line of ours.
        kind, task_id = shorten(task.type or "—"), shorten(task.id or "—")
        say(f"\n{number} of {total} · {kind} · {age} old · {task_id}")
        say(f"  {shorten(task.description or '—', 2000)}")
        say(f"  rules: {_opinion(decision)}")
        say(HELP)

    def _answer(self, decision: Decision, pressed: str) -> Answer | None:
        """Ask for the reason of a dismissal; None when the person thinks again."""
        if pressed != "d":
            return Answer(decision.task, pressed)
        wanted = decision.reason or self._reasons[0]
        for number, reason in enumerate(self._reasons[:9], 1):
            say(f"  {number} {reason}{' (Enter)' if reason == wanted else ''}")
        say("  b back")
        chosen = key("b\r\n" + "123456789"[: len(self._reasons)])
        if chosen is None or chosen == "b":
            return None
        reason = wanted if chosen in "\r\n" else self._reasons[int(chosen) - 1]
        return Answer(decision.task, "d", reason)

    def _undo(self, at: int) -> int:
        if self._last is None:
            say("Nothing to undo: it was sent, or there was no answer.")
            return at
        self._last = None
        return at - 1

    def _forget(self) -> None:
        if self._last is not None and self._last.key != "s":
            self._remember(self._last.task)
            say(f"Not sent: the answer for {shorten(self._last.task.id or '—')}.")
        self._last = None

    async def _send(self) -> None:
        answer, self._last = self._last, None
        if answer is None:
            return
        if answer.key == "s":
            self._ends["skipped"] += 1
        elif answer.key == "a":
            await self._approve(answer.task)
        else:
            await self._dismiss(Wish(answer.task, answer.reason))

    async def _approve(self, task: Task) -> None:
        meter = self._workspace.meter
        try:
            ticket = await meter.wait(Purpose.HAND)
        except QuotaSpent as error:
            self._fail(str(error))
            return
        try:
            approver = LexiApprover(self._workspace.connection)
            done = await approver.approve(task.id or "")
        except LexiError as error:
            meter.failed(ticket, error)
            self._fail(str(error))
            return
        meter.answered(ticket, done.word)
        self._ends["approved"] += 1

    async def _dismiss(self, wish: Wish) -> None:
        carried, sifted = await carry_out(
            self._workspace,
            self._rules.ruleset,
            [wish],
            self._tasks,
            source=Source.REVIEW,
            # The person has just read it, however long ago it was listed.
            listed_at=self._workspace.clock.now(),
            stop=asyncio.Event(),
        )
        for _, cause in sifted.denied:
            self._fail(f"{shorten(wish.task.id or '—')} stays: {cause}")
        for attempt in carried.attempts:
            self._ends[str(attempt.outcome)] += 1
        if carried.undone or carried.error is not None:
            self._fail(str(carried.error or carried.halt))

    def _fail(self, why: str) -> None:
        say(why, error=True)
        self._code = exits.INCOMPLETE

    def _remember(self, task: Task) -> None:
        marks = self._workspace.ledger.marks
        marks.put(MarkName.REVIEW, note=task.id or "", at=self._workspace.clock.now())


def _from_mark(workspace: Workspace, pending: Sequence[Decision]) -> list[Decision]:
    """Begin with the task at which the last review ended, if it still waits."""
    mark = workspace.ledger.marks.get(MarkName.REVIEW)
    ids = [decision.task.id for decision in pending]
    if mark is None or mark.note not in ids:
        return list(pending)
    start = ids.index(mark.note)
    if start:
        older = "1 older task comes" if start == 1 else f"{start} older tasks come"
        say(f"Going on with {shorten(mark.note)}; {older} last.")
    return [*pending[start:], *pending[:start]]


def _opinion(decision: Decision) -> str:
    if decision.dismisses:
        return f"{decision.rule} would dismiss as {decision.reason}"
    if decision.rule is None:
        return f"leave ({decision.cause})"
    return f"leave ({decision.cause}, rule {decision.rule})"
