"""A workspace's worth of real parts around a LeadLex in memory, on a leaping clock."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from tests.builders import T0
from tests.sandbox_server import LeapingClock
from triaged.leadlex.errors import LexiError
from triaged.leadlex.models import Done, Listed
from triaged.ledger import GateLock, Ledger
from triaged.ledger.dismissals import Search
from triaged.quota import QuotaSettings, ServerWord
from triaged.rules.compiled import Engine
from triaged.rules.patterns.prefilter import build_prefilter
from triaged.rules.task import Json, Task, read_task
from triaged.rulesfile.loader import Rules, parse
from triaged.triage.cycle import Cycle
from triaged.triage.dispatcher import Gate
from triaged.triage.rate_limiter import Meter, MeteredReader
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


class Lexi:
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
        return [read_task(t) for t in self.tasks.values() if t["status"] == status]

    async def list_tasks(self, status: str = "pending") -> Listed:
        self.calls.append(f"list {status}")
        if self.on_list is not None:
            await self.on_list(status)
        if self.list_errors:
            raise self.list_errors.pop(0)
        return Listed(tasks=self._with(status), word=self.word, request_id="req_1")

    async def dismiss(self, task_id: str, reason: str) -> Done:
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
        return Done(word=self.word, request_id="req_2")


class House:
    """A workspace's worth of parts around the fake."""

    def __init__(
        self, directory: Path, *, limit: int = 1000, daily_limit: int = 10_000
    ) -> None:
        self.clock = LeapingClock()
        self.lexi = Lexi()
        self.ledger = Ledger(directory)
        settings = QuotaSettings(minute_limit=limit, daily_limit=daily_limit)
        self.meter = Meter(settings, self.ledger, self.clock)
        self.reader = MeteredReader(self.lexi, self.meter)
        self.lock = GateLock(directory, self.clock)
        self.stop = asyncio.Event()
        self.rules(RULES)

    def rules(self, text: str) -> None:
        loaded = parse(text.encode(), "rules.yaml")
        engine = Engine(loaded.ruleset, build_prefilter)
        self.ready = Rules(ruleset=loaded.ruleset, engine=engine, text=text)

    async def cycle(self, *, dry_run: bool = False) -> CycleReport:
        writer = Gate(
            lexi=self.lexi, ledger=self.ledger, meter=self.meter, clock=self.clock
        )
        cycle = Cycle(
            reader=self.reader,
            gate=None if dry_run else writer,
            gate_lock=self.lock,
            ledger=self.ledger,
            meter=self.meter,
            clock=self.clock,
        )
        return await cycle.run(self.ready, stop=self.stop)

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Return all outcomes; the clock stands still, so no order is told."""
        found = self.ledger.dismissals.find(Search())
        return sorted((e.task_id, e.outcome) for e in found)
