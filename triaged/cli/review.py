"""``triaged review``: decide on pending tasks one by one, with the rules' decisions."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import click

from triaged.cli import exit_codes
from triaged.cli.control import refuse_while_paused
from triaged.cli.dismiss import BULK_REASON
from triaged.cli.keypress import cbreak_mode, read_key
from triaged.cli.log_setup import configure_logs
from triaged.cli.options import (
    CALL_OPTIONS,
    LOG_OPTIONS,
    while_paused_option,
    with_settings,
)
from triaged.cli.output import cause_in_words, echo, leave_in_words, truncate
from triaged.cli.plan_table import format_age
from triaged.cli.session import Activity, list_pending, open_session
from triaged.clock import SystemClock
from triaged.errors import QuotaExhausted
from triaged.leadlex.approver import LexiApprover
from triaged.leadlex.errors import LexiError
from triaged.ledger.dismissals import Source
from triaged.ledger.state import StateName
from triaged.quota import Purpose
from triaged.rules.evaluate import age_of
from triaged.rules.task import Decision, LeaveCause, Task
from triaged.rulesfile.in_force import FollowedRules, load_written_rules
from triaged.rulesfile.loader import CompiledRules
from triaged.settings import Settings
from triaged.triage.guard import oldest_first
from triaged.triage.manual import ManualDismissal, ManualDispatch, dispatch_manual
from triaged.workspace import Workspace

# People may take long over a task, but each list costs a call.
MAX_LIST_AGE: Final = timedelta(minutes=1)

HELP: Final = "a approve · d dismiss · s skip · u undo the last · q quit"
# Tasks without an id or already dismissed are not shown.
_NOT_ASKED: Final = frozenset({LeaveCause.MALFORMED, LeaveCause.NOT_PENDING})


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer for one task: ``a``, ``d`` with a reason, or ``s``."""

    task: Task
    key: str
    reason: str = ""


@click.command
@while_paused_option
@with_settings(*CALL_OPTIONS, *LOG_OPTIONS)
def review(*, settings: Settings, while_paused: bool) -> None:
    """Ask for each pending task what to do with it."""
    if not sys.stdin.isatty():
        raise click.UsageError("a review needs a terminal; scripts use triaged dismiss")
    rules, loaded = load_written_rules(*settings.rules, now=SystemClock().now())
    configure_logs(
        level="error", form=settings.log_format, workspace=settings.workspace
    )
    reasons = tuple(dict.fromkeys((*loaded.reasons, BULK_REASON)))
    done = _review(settings, rules, reasons, while_paused=while_paused)
    sys.exit(asyncio.run(done))


async def _review(
    settings: Settings,
    rules: CompiledRules,
    reasons: tuple[str, ...],
    *,
    while_paused: bool,
) -> int:
    async with open_session(settings) as (workspace, activity):
        if not while_paused:
            refuse_while_paused(workspace.ledger)
        listed = await list_pending(workspace, activity)
        now = workspace.clock.now()
        guarded = workspace.assess(rules, listed.tasks, now=now).guarded
        pending = [d for d in guarded.decisions if d.cause not in _NOT_ASKED]
        pending.sort(key=lambda decision: oldest_first(decision.task))
        followed = FollowedRules(settings.rules, rules, workspace.clock.now)
        session = _Session(
            workspace,
            activity,
            followed,
            reasons,
            ManualDispatch(
                source=Source.REVIEW,
                tasks=listed.tasks,
                listed_at=listed.requested_at or now,
                while_paused=while_paused,
            ),
            rules.ruleset.sha256,
        )
        with cbreak_mode():
            await session.go(_from_mark(workspace, pending))
    return session.sum_up()


@dataclass(slots=True)
class _Session:
    """One review of the pending tasks."""

    workspace: Workspace
    activity: Activity
    rules: FollowedRules
    reasons: tuple[str, ...]
    origin: ManualDispatch
    rules_seen: str
    last: Answer | None = None
    ends: Counter[str] = field(default_factory=Counter)
    code: int = exit_codes.OK

    async def go(self, pending: Sequence[Decision]) -> None:
        """Ask for each task; an answer is carried out after the next one is given."""
        at = 0
        while at < len(pending):
            decision = pending[at]
            self._show(decision, at + 1, len(pending))
            pressed = read_key("asduq")
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
            # The next review starts with the task whose answer was not sent.
            self._remember(decision.task)
            await self._send()
            self.last = answer
            at += 1
        else:
            self.workspace.ledger.state.forget(StateName.REVIEW_POSITION)
        await self._send()

    def sum_up(self) -> int:
        told = ", ".join(f"{n} {what}" for what, n in self.ends.most_common())
        echo(f"\nReview: {told or 'nothing was done'}.")
        return self.code

    def _show(self, decision: Decision, number: int, total: int) -> None:
        task = decision.task
        age = format_age(age_of(task, self.workspace.clock.now()))
        # A line break in a type or id must not start a new line of output.
        kind, task_id = truncate(task.type or "—"), truncate(task.id or "—")
        echo(f"\n{number} of {total} · {kind} · {age} old · {task_id}")
        echo(f"  {truncate(task.description or '—', 2000)}")
        echo(f"  rules: {_opinion(decision)}")
        echo(HELP)

    def _answer(self, decision: Decision, pressed: str) -> Answer | None:
        """Ask for the reason of a dismissal; return None if the user goes back."""
        if pressed != "d":
            return Answer(decision.task, pressed)
        wanted = decision.reason or self.reasons[0]
        for number, reason in enumerate(self.reasons[:9], 1):
            echo(f"  {number} {reason}{' (Enter)' if reason == wanted else ''}")
        echo("  b back")
        chosen = read_key("b\r\n" + "123456789"[: len(self.reasons)])
        if chosen is None or chosen == "b":
            return None
        reason = wanted if chosen in "\r\n" else self.reasons[int(chosen) - 1]
        return Answer(decision.task, "d", reason)

    def _undo(self, at: int) -> int:
        if self.last is None:
            echo("Nothing to undo: it was sent, or there was no answer.")
            return at
        self.last = None
        return at - 1

    def _forget(self) -> None:
        if self.last is not None and self.last.key != "s":
            self._remember(self.last.task)
            echo(f"Not sent: the answer for {truncate(self.last.task.id or '—')}.")
        self.last = None

    async def _send(self) -> None:
        answer, self.last = self.last, None
        if answer is None:
            return
        if answer.key == "s":
            self.ends["skipped"] += 1
        elif not await self._is_as_shown(answer.task):
            return
        elif answer.key == "a":
            await self._approve(answer.task)
        else:
            await self._dismiss(ManualDismissal(answer.task, answer.reason))

    async def _is_as_shown(self, task: Task) -> bool:
        """Return whether the task is unchanged; an old list is requested again.

        The list is also requested again after a change of the rules.
        """
        rules, now = self.rules().ruleset.sha256, self.workspace.clock.now()
        age = abs(now - self.origin.listed_at)
        if rules != self.rules_seen or age > MAX_LIST_AGE:
            try:
                listed = await list_pending(self.workspace, self.activity)
            except (LexiError, QuotaExhausted) as error:
                self._fail(str(error))
                return False
            self.rules_seen = rules
            self.origin = replace(
                self.origin,
                tasks=listed.tasks,
                listed_at=listed.requested_at or now,
            )
        found = [each for each in self.origin.tasks if each.id == task.id]
        if {each.content_hash() for each in found} == {task.content_hash()}:
            return True
        why = "has changed since it was shown" if found else "is no longer pending"
        self._fail(f"{truncate(task.id or '—')} {why}; nothing was sent")
        return False

    async def _approve(self, task: Task) -> None:
        rate_limiter = self.workspace.rate_limiter
        try:
            ticket = await rate_limiter.acquire(Purpose.OTHER)
        except QuotaExhausted as error:
            self._fail(str(error))
            return
        try:
            approver = LexiApprover(self.workspace.connection)
            done = await approver.approve(task.id or "")
        except LexiError as error:
            rate_limiter.on_error(ticket, error)
            self._fail(str(error))
            return
        rate_limiter.on_response(ticket, done.rate_limit)
        self.ends["approved"] += 1

    async def _dismiss(self, wish: ManualDismissal) -> None:
        dispatched = await dispatch_manual(
            [wish],
            self.origin,
            dispatcher=self.workspace.dispatcher(),
            lock=self.workspace.dispatch_lock(),
            rules=self.rules,
            stop=asyncio.Event(),
        )
        for _, cause in dispatched.skipped:
            self._fail(
                f"{truncate(wish.task.id or '—')} is left: {cause_in_words(cause)}"
            )
        for attempt in dispatched.attempts:
            self.ends[str(attempt.outcome)] += 1
        if dispatched.remaining or dispatched.error is not None:
            self._fail(str(dispatched.error or dispatched.halt))

    def _fail(self, why: str) -> None:
        echo(why, error=True)
        self.code = exit_codes.INCOMPLETE

    def _remember(self, task: Task) -> None:
        self.workspace.ledger.state.save(
            StateName.REVIEW_POSITION, task.id or "", at=self.workspace.clock.now()
        )


def _from_mark(workspace: Workspace, pending: Sequence[Decision]) -> list[Decision]:
    """Start with the task at which the last review ended, if it is still pending."""
    last = workspace.ledger.state.load(StateName.REVIEW_POSITION)
    ids = [decision.task.id for decision in pending]
    if last is None or last not in ids:
        return list(pending)
    start = ids.index(last)
    if start:
        older = "1 older task comes" if start == 1 else f"{start} older tasks come"
        echo(f"Continuing with {truncate(last)}; {older} last.")
    return [*pending[start:], *pending[:start]]


def _opinion(decision: Decision) -> str:
    if decision.is_dismissal:
        return f"{decision.rule} would dismiss as {decision.reason}"
    observed = [dismissal.rule for dismissal in decision.observed]
    return leave_in_words(decision.cause, decision.rule, observed)
