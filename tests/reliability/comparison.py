"""The product's own parts and the model side by side, and all that is compared."""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.clocks import AutoAdvanceClock
from tests.reliability.model import DismissalRow, Model
from tests.reliability.model_rules import REASONS, Spec
from tests.reliability.model_server import (
    OUTCOMES,
    Crash,
    ReceivedCall,
    Server,
    ServerLimits,
)
from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import LexiError
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, DismissalRecord, Source
from triaged.ledger.flags import FlagName
from triaged.ledger.locks import FileDispatchLock
from triaged.quota import Purpose
from triaged.rules.compiled import CompiledRuleset
from triaged.rules.context import build_context
from triaged.rules.patterns.prefilter import build_prefilter
from triaged.rulesfile.loader import CompiledRules, parse
from triaged.triage.assessment import assess
from triaged.triage.cycle import Cycle, build_requests
from triaged.triage.dispatcher import MAX_CONCURRENT, Dispatcher
from triaged.triage.rate_limiter import RateLimitedReader, RateLimiter
from triaged.triage.reconcile import EFFECT_TIMEOUT
from triaged.triage.requests import DismissRequest, DispatchOrigin

# Not at midnight, where the quota's day and the server's are seconds apart.
BEGIN: Final = datetime(2026, 3, 1, 9, 30, 17, tzinfo=UTC)
IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - faster than a disk, where it is
NOT_SENT: Final = "not sent"
# What a dead process had charged without sending, at most.
GHOSTS: Final = MAX_CONCURRENT
# Faults that never end a batch; the others do when there are more than a few of them.
HARMLESS: Final = frozenset({"", "422", "raced", "gone"})
A_FEW: Final = 2
# The lists that a cycle may ask for beside the first: to settle, and about people.
MORE_LISTS: Final = 6


def load(spec: Spec) -> CompiledRules:
    """Load the rules as a file of them would be."""
    text = spec.text()
    loaded = parse(text.encode(), "rules.yaml")
    engine = CompiledRuleset(loaded.ruleset, build_prefilter)
    return CompiledRules(ruleset=loaded.ruleset, engine=engine, source=text)


class Parts:
    """What one process holds; gone with it."""

    def __init__(
        self, directory: Path, server: Server, clock: AutoAdvanceClock
    ) -> None:
        self.clock = clock
        self.ledger = Ledger.open(directory)
        self.rate_limiter = RateLimiter(server.quota, self.ledger, clock)
        self.reader = RateLimitedReader(server, self.rate_limiter)
        self.lock = FileDispatchLock(directory, clock)
        self.dispatcher = Dispatcher(
            writer=server,
            ledger=self.ledger,
            rate_limiter=self.rate_limiter,
            clock=clock,
        )

    async def cycle(self, rules: CompiledRules, *, dry_run: bool) -> None:
        """Run one cycle, as the daemon does."""
        cycle = Cycle(
            reader=self.reader,
            dispatcher=None if dry_run else self.dispatcher,
            dispatch_lock=self.lock,
            ledger=self.ledger,
            rate_limiter=self.rate_limiter,
            clock=self.clock,
        )
        await cycle.run(lambda: rules, stop=asyncio.Event())

    async def command(self, rules: CompiledRules, wanted: Sequence[str] | None) -> None:
        """Dismiss these tasks as by hand, or what is due as ``apply`` does."""
        listed = await self.reader.list_tasks(purpose=Purpose.OTHER)
        now = self.clock.now()
        if wanted is None:
            assessment = assess(
                self.ledger, rules, listed.tasks, now=now, clock_skew=timedelta(0)
            )
            due = assessment.guarded.to_dismiss
            requests = build_requests(due, rules, assessment.context)
        else:
            requests = [
                DismissRequest(
                    task=task,
                    rule=None,
                    reason="not_relevant",
                    rules_sha256=rules.ruleset.sha256,
                    trace="{}",
                )
                for task in listed.tasks
                if task.id in wanted
            ]
        async with self.lock.acquired():
            self.rate_limiter.expire_dismissals()
            await self.dispatcher.dispatch(
                requests,
                DispatchOrigin(
                    source=Source.APPLY if wanted is None else Source.HAND,
                    cycle="command",
                    listed_at=now,
                    context=build_context(
                        rules.ruleset.conditions(), listed.tasks, now=now
                    ),
                    while_paused=True,
                ),
                rules=lambda: rules,
                stop=asyncio.Event(),
            )


class ModelComparison:
    """One workspace, lived through twice."""

    def __init__(self, spec: Spec, plan: ServerLimits) -> None:
        place = IN_MEMORY if IN_MEMORY.is_dir() else None
        self._directory = Path(tempfile.mkdtemp(dir=place))
        self.clock = AutoAdvanceClock(BEGIN)
        self.server = Server(self.clock, plan)
        self.model = Model(spec)
        self.rules = load(spec)
        self.counted: Counter[str] = Counter()
        self._runner = asyncio.Runner()
        # As another process would see what the first one has made durable.
        self.beside = Ledger.open(self._directory)
        self.server.has_intent = self._has_intent
        self.parts = Parts(self._directory, self.server, self.clock)
        self._crashed: Counter[datetime] = Counter()

    def close(self) -> None:
        """End, and leave nothing behind."""
        self.parts.ledger.close()
        self.beside.close()
        self._runner.close()
        shutil.rmtree(self._directory)

    def restart(self) -> None:
        """Let another process take over."""
        self.parts.ledger.close()
        self.parts = Parts(self._directory, self.server, self.clock)

    def follow(self, spec: Spec) -> None:
        """Put other rules into force."""
        self.model.spec, self.rules = spec, load(spec)

    def other_process_calls(self) -> None:
        """Let another process spend a call of the shared quota."""
        rate_limiter = RateLimiter(self.server.quota, self.beside, self.clock)
        permit = rate_limiter.try_acquire(Purpose.OTHER).permit
        if permit is not None:
            rate_limiter.on_response(permit, self.server.other_process())

    def cycle(self, *, dry_run: bool = False) -> None:
        """Run a cycle, and compare it with what the model would have done."""
        self.counted["cycles"] += 1
        spare = self._spare()
        asked, died = self._run(self.parts.cycle(self.rules, dry_run=dry_run))
        listed, calls = _sorted_out(asked)
        if listed is None or not self._settle(listed, asked):
            assert calls == []
            return
        judged = self.model.judge(listed.seen or (), listed.at)
        self.model.record(judged, dry_run=dry_run)
        self.counted["decisions"] += len(listed.seen or ())
        due = [(task_id, REASONS[rule.on]) for task_id, rule in judged.due]
        self._check_calls(calls, [] if dry_run else due, spare=spare, died=died)
        self._check_causes(listed, judged.causes)
        self._check_entries(calls, died=died)

    def cycle_while_paused(self) -> None:
        """Pause, run a cycle, and resume."""
        flags = self.parts.ledger.flags
        flags.set(FlagName.PAUSED, reason="", at=self.clock.now())
        self.model.paused = True
        self.cycle()
        self.parts.ledger.flags.clear(FlagName.PAUSED)
        self.model.paused = False

    def command(self, wanted: Sequence[str] | None = None) -> None:
        """Dismiss by hand, or apply a plan made this moment; compare likewise."""
        self.counted["commands"] += 1
        spare = self._spare()
        asked, died = self._run(self.parts.command(self.rules, wanted))
        listed, calls = _sorted_out(asked)
        if listed is None:
            assert calls == []
            return
        if wanted is None:
            judged = self.model.judge(listed.seen or (), listed.at)
            due = [(task_id, REASONS[rule.on]) for task_id, rule in judged.due]
        else:
            chosen = [task for task in listed.seen or () if task.id in wanted]
            allowed = self.model.allowed_by_hand(chosen, listed.at)
            due = [(task_id, "not_relevant") for task_id in allowed]
        self._check_calls(calls, due, spare=spare, died=died)
        self._check_entries(calls, died=died)

    def ghosts(self) -> int:
        """Return how many of today's charged calls may never have been sent."""
        return GHOSTS * self._crashed[self.server.day]

    def _run(self, work: Awaitable[None]) -> tuple[list[ReceivedCall], bool]:
        """Do the work; return what it asked, and whether it died of that."""
        server, before = self.server, len(self.server.asked)
        day, died = server.day, False

        async def working() -> None:
            try:
                await work
            except (LexiError, QuotaExhausted):
                """Said to the person at the terminal."""

        try:
            self._runner.run(working())
        except Crash:
            died = True
            self.counted["crashes"] += 1
            self._crashed[day] += 1
            self._crashed[server.day] = self._crashed[day]
            self.restart()
        server.clear_faults()
        return server.asked[before:], died

    def _settle(self, listed: ReceivedCall, asked: Sequence[ReceivedCall]) -> bool:
        """Settle in the model what was unknown; say whether the cycle goes on."""
        pending = {task.id for task in listed.seen or ()}
        vanished: dict[str, list[DismissalRow]] = {}
        for line in self.model.open_lines():
            if line.task_id not in pending:
                vanished.setdefault(line.task_id, []).append(line)
            elif listed.at - line.at >= EFFECT_TIMEOUT:
                self.model.settle(line, "failed")
                line.recheck = True
        for line in self.model.to_recheck():
            if line.task_id not in pending:
                vanished.setdefault(line.task_id, []).append(line)
        if not vanished:
            return True
        after = asked[asked.index(listed) + 1 :]
        if not after or after[0].what != "dismissed":
            # The day has no call left for the question.
            return False
        if after[0].fault:
            return after[0].fault != "401"
        for task_id, lines in vanished.items():
            is_dismissed = self.server.tasks[task_id]["status"] == "dismissed"
            self.model.settle_vanished(lines, is_dismissed=is_dismissed)
        return True

    def _check_calls(
        self,
        calls: Sequence[ReceivedCall],
        due: Sequence[tuple[str, str]],
        *,
        spare: int,
        died: bool,
    ) -> None:
        """See that what left is what may leave, the oldest first, and all of it."""
        first = list(dict.fromkeys((call.task_id, call.reason) for call in calls))
        assert first == list(due[: len(first)])
        faults = [call.fault for call in calls]
        unknown = sum(OUTCOMES.get(fault) == "unknown" for fault in faults)
        is_bearable = unknown <= A_FEW and faults.count("429") <= A_FEW
        rest = {f for f in faults if f != "429" and OUTCOMES.get(f) != "unknown"}
        if is_bearable and rest <= HARMLESS and not died:
            ample = spare >= len(due) + MORE_LISTS
            assert len(first) == len(due) or not ample
        self.counted["dismissals"] += len(calls)

    def _check_causes(self, listed: ReceivedCall, causes: dict[str, set[str]]) -> None:
        for task in listed.seen or ():
            record = self.beside.decisions.latest(task.id)
            assert record is not None
            assert record.cause in causes.get(task.id, {None}), task

    def _check_entries(self, calls: Sequence[ReceivedCall], *, died: bool) -> None:
        """Compare what the ledger says of these calls; take it into the book."""
        wanted: dict[str, list[str]] = {}
        for call in calls:
            wanted.setdefault(call.task_id, []).append(self._outcome(call))
        for entry in self.beside.dismissals.query(DismissalFilter()):
            if entry.id in self.model.book or (entry.detail or "").startswith(NOT_SENT):
                continue
            of_task = wanted.setdefault(entry.task_id, [])
            if entry.outcome is None:
                # Only the dead leave it open: sent, or cleared and never sent.
                assert died
                of_task[:1] = []
            else:
                assert of_task[:1] == [entry.outcome]
                of_task.pop(0)
            self.model.note(entry.id, _line(entry))
        assert not any(wanted.values())

    def _outcome(self, call: ReceivedCall) -> str:
        """Say what a dismissal that met this fault is, for all that we know."""
        tried = any(
            line.recheck and line.task_id == call.task_id
            for line in self.model.book.values()
        )
        if call.fault == "raced" and tried:
            # It may have been an earlier try of ours that was late.
            return "unknown"
        return OUTCOMES.get(call.fault, "died")

    def _spare(self) -> int:
        """Return how many calls the day certainly has left for us."""
        server = self.server
        left = min(server.plan.day - server.ours[server.day], server.remaining)
        return left - server.plan.reserve - self.ghosts()

    def _has_intent(self, task_id: str) -> bool:
        return any(e.task_id == task_id for e in self.beside.dismissals.unresolved())


def _sorted_out(
    asked: Sequence[ReceivedCall],
) -> tuple[ReceivedCall | None, list[ReceivedCall]]:
    """Return the list of pending tasks, if it came, and the dismissals."""
    listed = next((a for a in asked if a.seen is not None), None)
    return listed, [a for a in asked if a.what == "dismiss"]


def _line(entry: DismissalRecord) -> DismissalRow:
    return DismissalRow(
        task_id=entry.task_id,
        rule=entry.rule,
        reason=entry.reason,
        text=str(entry.task["description"]),
        at=entry.decided_at,
        settled_at=entry.resolved_at,
        outcome=entry.outcome,
    )
