"""A workspace's worth of real parts around a LeadLex in memory, on a leaping clock."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from tests.builders import T0
from tests.sandbox_server import LeapingClock
from triaged.leadlex.errors import LexiError
from triaged.leadlex.models import Confirmation, TaskList
from triaged.ledger import DispatchLock, Ledger
from triaged.ledger.dismissals import DismissalFilter
from triaged.quota import QuotaSettings, ServerWord
from triaged.rules.compiled import CompiledRuleset
from triaged.rules.patterns.prefilter import build_prefilter
from triaged.rules.task import Json, Task, parse_task
from triaged.rulesfile.loader import CompiledRules, parse
from triaged.triage.cycle import Cycle
from triaged.triage.dispatcher import Dispatcher
from triaged.triage.rate_limiter import RateLimitedReader, RateLimiter
from triaged.triage.report import CycleReport

RULES = r"""
version: 1
safety: {max_share_of_pending: 1.0}
rules:
  - name: watch
    mode: observe
    match: {description: '^\[TEST\]'}
    dismiss: testing
  - name: clutter
    match: {description: '^\[TEST\]'}
    dismiss: testing
"""


class FakeLeadLex:
    """LeadLex in memory: tasks by id, a script of errors, a record of dismissals."""

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Json]] = {}
        self.errors: list[LexiError] = []
        self.effect_first = False
        self.list_errors: list[LexiError] = []
        self.calls: list[str] = []
        self.dismissed: list[str] = []
        self.word = ServerWord()
        self.before: Callable[[], None] = lambda: None
        self.on_list: Callable[[str], Awaitable[None]] | None = None

    def add(self, *ids: str, description: str = "", **fields: Json) -> None:
        for task_id in ids:
            self.tasks[task_id] = {
                "id": task_id,
                "type": "contact_update",
                "status": "pending",
                "description": description or f"[TEST] {task_id}",
                "created_at": (T0 - timedelta(days=2)).isoformat(),
                **fields,
            }

    def _with(self, status: str) -> list[Task]:
        return [parse_task(t) for t in self.tasks.values() if t["status"] == status]

    async def list_tasks(self, status: str = "pending") -> TaskList:
        self.calls.append(f"list {status}")
        if self.on_list is not None:
            await self.on_list(status)
        if self.list_errors:
            raise self.list_errors.pop(0)
        return TaskList(
            tasks=self._with(status), rate_limit=self.word, request_id="req_1"
        )

    async def dismiss(self, task_id: str, reason: str) -> Confirmation:
        self.calls.append(f"dismiss {task_id}")
        self.before()
        error = self.errors.pop(0) if self.errors else None
        if error is None or self.effect_first:
            self.tasks[task_id]["status"] = "dismissed"
            self.tasks[task_id]["reason"] = reason
            self.dismissed.append(task_id)
        await asyncio.sleep(0)  # noqa: TID251 - lets others run, no time passes
        if error is not None:
            raise error
        return Confirmation(rate_limit=self.word, request_id="req_2")


class TriageHarness:
    """A workspace's worth of parts around the fake."""

    def __init__(
        self, directory: Path, *, limit: int = 1000, daily_limit: int = 10_000
    ) -> None:
        self.clock = LeapingClock()
        self.lexi = FakeLeadLex()
        self.ledger = Ledger(directory)
        settings = QuotaSettings(minute_limit=limit, daily_limit=daily_limit)
        self.rate_limiter = RateLimiter(settings, self.ledger, self.clock)
        self.reader = RateLimitedReader(self.lexi, self.rate_limiter)
        self.lock = DispatchLock(directory, self.clock)
        self.stop = asyncio.Event()
        self.rules(RULES)

    def rules(self, text: str) -> None:
        loaded = parse(text.encode(), "rules.yaml")
        engine = CompiledRuleset(loaded.ruleset, build_prefilter)
        self.ready = CompiledRules(ruleset=loaded.ruleset, engine=engine, source=text)

    async def cycle(self, *, dry_run: bool = False) -> CycleReport:
        writer = Dispatcher(
            lexi=self.lexi,
            ledger=self.ledger,
            rate_limiter=self.rate_limiter,
            clock=self.clock,
        )
        cycle = Cycle(
            reader=self.reader,
            dispatcher=None if dry_run else writer,
            dispatch_lock=self.lock,
            ledger=self.ledger,
            rate_limiter=self.rate_limiter,
            clock=self.clock,
        )
        return await cycle.run(self.ready, stop=self.stop)

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Return all outcomes; the clock stands still, so no order is told."""
        found = self.ledger.dismissals.query(DismissalFilter())
        return sorted((e.task_id, e.outcome) for e in found)
