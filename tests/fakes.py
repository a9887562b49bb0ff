"""LeadLex in memory, and a workspace of real parts around it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path

from tests.builders import T0
from tests.clocks import AutoAdvanceClock
from triaged.errors import ConfigError
from triaged.leadlex.errors import KeyRejected, LexiError, NotPending, TaskNotFound
from triaged.leadlex.models import (
    DISMISS,
    DISMISSED,
    LIST,
    PENDING,
    Confirmation,
    TaskList,
)
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter
from triaged.ledger.location import LedgerLocation
from triaged.quota import QuotaSettings, RateLimitHeaders
from triaged.rules.compiled import CompiledRuleset
from triaged.rules.patterns.prefilter import build_prefilter
from triaged.rules.task import Json, parse_task
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


class InMemoryLeadLex:
    """A workspace in memory that lists and dismisses as LeadLex does.

    Unless told otherwise it behaves as the contract suite demands.  ``doubt`` is why
    the rows of its lists may be wrong.  ``errors`` and ``list_errors`` are raised
    first, one per call; ``effect_before_error`` makes a dismissal take effect before
    its error is raised.
    """

    def __init__(
        self, entries: Iterable[dict[str, Json]] = (), *, accepts_key: bool = True
    ) -> None:
        self.tasks: dict[str, dict[str, Json]] = {
            str(e["id"]): dict(e) for e in entries
        }
        self.accepts_key = accepts_key
        self.reasons: dict[str, str] = {}
        self.rate_limit = RateLimitHeaders()
        self.doubt: str | None = None
        self.errors: list[LexiError] = []
        self.list_errors: list[LexiError] = []
        self.effect_before_error = False
        self.before_dismiss: Callable[[], None] = lambda: None
        self.while_connecting: Callable[[], None] = lambda: None
        self.after_list: Callable[[], None] = lambda: None
        self.before_list: Callable[[str], Awaitable[None]] | None = None
        self.calls: list[str] = []

    @property
    def dismissed(self) -> list[str]:
        """Return the tasks that were dismissed here, in order."""
        return list(self.reasons)

    def add(self, *ids: str, description: str = "", **fields: Json) -> None:
        """Add pending tasks that the rules of the harness match."""
        for task_id in ids:
            self.tasks[task_id] = {
                "id": task_id,
                "type": "contact_update",
                "status": PENDING,
                "description": description or f"[TEST] {task_id}",
                "created_at": (T0 - timedelta(days=2)).isoformat(),
                **fields,
            }

    async def list_tasks(self, status: str = PENDING) -> TaskList:
        self.calls.append(f"list {status}")
        if self.before_list is not None:
            await self.before_list(status)
        self._check_key(LIST)
        if self.list_errors:
            raise self.list_errors.pop(0)
        found = [task for task in self.tasks.values() if task["status"] == status]
        self.after_list()
        return TaskList(
            tasks=[parse_task(dict(task)) for task in found],
            rate_limit=self.rate_limit,
            request_id=self._request_id(),
            incomplete=self.doubt,
            rows_in_doubt=self.doubt is not None,
        )

    async def dismiss(
        self,
        task_id: str,
        reason: str,
        *,
        before_send: Callable[[], None] | None = None,
    ) -> Confirmation:
        self.while_connecting()
        if before_send is not None:
            before_send()
        self.calls.append(f"dismiss {task_id}")
        self.before_dismiss()
        self._check_key(DISMISS)
        error = self.errors.pop(0) if self.errors else None
        if error is None or self.effect_before_error:
            self._dismiss(task_id, reason)
        await asyncio.sleep(0)  # noqa: TID251 - lets others run, no time passes
        if error is not None:
            raise error
        return Confirmation(rate_limit=self.rate_limit, request_id=self._request_id())

    def _dismiss(self, task_id: str, reason: str) -> None:
        if task_id not in self.tasks:
            raise TaskNotFound(DISMISS, status=404, code="not_found")
        if self.tasks[task_id]["status"] != PENDING:
            raise NotPending(DISMISS, status=400, code="validation_error")
        self.tasks[task_id]["status"] = DISMISSED
        self.reasons[task_id] = reason

    def _check_key(self, operation: str) -> None:
        if not self.accepts_key:
            raise KeyRejected(operation, status=401, code="invalid_key")

    def _request_id(self) -> str:
        return f"req_{len(self.calls)}"


class TriageHarness:
    """The real parts of one workspace around the fake, on a clock that advances."""

    def __init__(
        self,
        place: Path | LedgerLocation,
        *,
        limit: int = 1000,
        daily_limit: int = 10_000,
        ledger: Ledger | None = None,
    ) -> None:
        self.clock = AutoAdvanceClock()
        self.leadlex = InMemoryLeadLex()
        self.ledger = ledger or Ledger.open(place)
        settings = QuotaSettings(minute_limit=limit, daily_limit=daily_limit)
        self.rate_limiter = RateLimiter(settings, self.ledger, self.clock)
        self.reader = RateLimitedReader(self.leadlex, self.rate_limiter)
        self.lock = self.ledger.dispatch_lock(self.clock)
        self.stop = asyncio.Event()
        self.unusable: ConfigError | None = None
        self.rules(RULES)

    def rules(self, text: str) -> None:
        """Put other rules in force."""
        loaded = parse(text.encode(), "rules.yaml")
        engine = CompiledRuleset(loaded.ruleset, build_prefilter)
        self.ready = CompiledRules(ruleset=loaded.ruleset, engine=engine, source=text)

    def in_force(self) -> CompiledRules:
        """Return the rules in force, unless the file is ``unusable`` by now."""
        if self.unusable is not None:
            raise self.unusable
        return self.ready

    def dispatcher(self) -> Dispatcher:
        """Return the way to dismiss."""
        return Dispatcher(
            writer=self.leadlex,
            ledger=self.ledger,
            rate_limiter=self.rate_limiter,
            clock=self.clock,
        )

    async def cycle(self, *, dry_run: bool = False) -> CycleReport:
        """Run one cycle under the rules in force."""
        cycle = Cycle(
            reader=self.reader,
            dispatcher=None if dry_run else self.dispatcher(),
            dispatch_lock=self.lock,
            ledger=self.ledger,
            rate_limiter=self.rate_limiter,
            clock=self.clock,
        )
        return await cycle.run(self.in_force, stop=self.stop)

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Return all outcomes by task; times are equal here, so order means nothing."""
        found = self.ledger.dismissals.query(DismissalFilter())
        return sorted((e.task_id, e.outcome) for e in found)
