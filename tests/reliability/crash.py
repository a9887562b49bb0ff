"""A factory of tasks, the rules for it, and what must be true whatever is killed.

``broken`` holds at every moment; with ``over`` it also asks that nothing is left.
"""

import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.e2e.harness import Program
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, DismissalRecord, Outcome
from triaged.ledger.location import FILE
from triaged.sandbox.faults import Fault, FaultScript, parse_fault
from triaged.sandbox.state import RecordedCall, SandboxState
from triaged.sandbox.store import API

RULES: Final = r"""
version: 1
reasons: [bulk_cleanup]
safety:
  min_age: 1h
  max_share_of_pending: 1.0
  max_dismissals_per_cycle: 25
  max_dismissals_per_day: 1000000
protect:
  - description: '(?i)\bboard\b'
rules:
  - name: campaigns
    match: {type: campaign_start}
    leave: true
  - name: watched
    mode: observe
    match: {description: '^Watch'}
    dismiss: not_relevant
  - name: clutter
    match: {description: '^\[TEST\]'}
    dismiss: testing
  - name: stale
    match: {type: prospect_search, age: {over: 14d}, metadata: {source: api}}
    dismiss: not_relevant
  - name: imports
    match: {type: list_operation, metadata: {rows: {over: 1000}}}
    dismiss: bulk_cleanup
  - name: twice
    match: {duplicate: {of: [type, description], keep: oldest}}
    dismiss: duplicate
"""

# Every one of them tells the truth; one that lies has no true ending to compare with.
FAULTS: Final = (
    "dismiss:drop-after-effect:p=0.06",
    "dismiss:500-after-effect:p=0.04",
    "dismiss:truncated:p=0.03",
    "dismiss:bad-schema:p=0.02",
    "dismiss:delay-after-effect=0.2:p=0.04",
    "dismiss:drop-before-effect:p=0.04",
    "dismiss:500:p=0.02",
    "dismiss:502:p=0.01",
    "dismiss:html:p=0.01",
    "list:drop-before-effect:p=0.02",
    "list:truncated:p=0.02",
    "list:503:p=0.02",
)

# After a refusal no call is made while another may be under way: what a killed program
# had in flight costs two minutes each time, so refusals are rare here.
REFUSALS: Final = ("dismiss:429:p=0.001",)

# A 429 blocks all calls until the minute is over: a short minute.
SETTINGS: Final = {
    "TRIAGED_RATE_LIMIT": "100000/1s",
    "TRIAGED_DAILY_LIMIT": "1000000",
}


@dataclass(frozen=True, slots=True)
class ExpectedDismissal:
    """The dismissal that the rules want of a task."""

    rule: str
    reason: str


class TaskFactory:
    """Makes tasks without end, and keeps what must become of each."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable, not secret
        self._made = 0
        self.expected: dict[str, ExpectedDismissal | None] = {}

    def more(self, count: int) -> list[dict[str, Any]]:
        """Return ``count`` tasks, of which about two in three are to be dismissed."""
        tasks: list[dict[str, Any]] = []
        while len(tasks) < count:
            tasks += self._some()
        return tasks

    def clutter(self) -> dict[str, Any]:
        """Return one task that is to be dismissed."""
        dismissal = ExpectedDismissal("clutter", "testing")
        return self._one(dismissal, description=f"[TEST] {self._made}")

    def _some(self) -> list[dict[str, Any]]:
        n = self._made
        match self._random.randrange(10):
            case 0 | 1 | 2:
                return [self.clutter()]
            case 3:
                dismissal, facts = (
                    ExpectedDismissal("stale", "not_relevant"),
                    {"source": "api"},
                )
                return [self._one(dismissal, type="prospect_search", metadata=facts)]
            case 4:
                dismissal, rows = (
                    ExpectedDismissal("imports", "bulk_cleanup"),
                    {"rows": 5000},
                )
                return [self._one(dismissal, type="list_operation", metadata=rows)]
            case 5:
                text, dismissal = (
                    f"Merge contacts, batch {n}",
                    ExpectedDismissal("twice", "duplicate"),
                )
                kept = self._one(None, days=40, description=text)
                return [
                    kept,
                    *(self._one(dismissal, description=text) for _ in range(2)),
                ]
            case 6:
                return [self._one(None, type="campaign_start")]
            case 7:
                return [self._one(None, description=f"[TEST] for the board, {n}")]
            case 8:
                return [self._one(None, description=f"Watch company {n}")]
            case _:
                return [self._one(None)]

    def _one(
        self, dismissal: ExpectedDismissal | None, *, days: int = 30, **fields: Any
    ) -> dict[str, Any]:
        self._made += 1
        task_id = f"task-{self._made}"
        self.expected[task_id] = dismissal
        age = timedelta(days=days, seconds=self._random.randrange(86_400))
        made = datetime.now(UTC) - age  # noqa: TID251 - the program lives in real time
        return {
            "id": task_id,
            "type": "contact_update",
            "status": "pending",
            "description": f"An ordinary task, {self._made}",
            "created_at": made.isoformat(),
            "metadata": {},
            **fields,
        }


class FaultTrap(FaultScript):
    """The faults, and a trap that runs a function at the n-th request of an operation.

    ``before`` is when the request has been read and nothing was done; ``after`` is
    when the task has changed and the answer has not left.
    """

    def __init__(self, faults: Sequence[str] = FAULTS, *, seed: int = 0) -> None:
        parsed: list[Fault] = [parse_fault(text) for text in faults]
        super().__init__(parsed, seed=seed)
        self.seen: list[tuple[str, str]] = []
        self._trap: tuple[str, str] | None = None
        self._left = 0
        self._spring: Callable[[], None] = lambda: None

    def arm(
        self, operation: str, moment: str, times: int, spring: Callable[[], None]
    ) -> None:
        """Set the trap; forget what was seen before."""
        self.seen.clear()
        self._left, self._spring = times, spring
        self._trap = (operation, moment)

    def next_fault(self, operation: str) -> Fault | None:
        self.note(operation, "before")
        return super().next_fault(operation)

    def note(self, operation: str, moment: str) -> None:
        """Record what happens at the server now, and run the trap if it is due."""
        self.seen.append((operation, moment))
        if self._trap != (operation, moment):
            return
        self._left -= 1
        if self._left == 0:
            self._trap = None
            self._spring()

    def watch(self, world: SandboxState) -> None:
        """Replace a sandbox's faults, and observe its calls."""
        world.faults = self
        world.calls = _Calls(self)


class _Calls(deque[RecordedCall]):
    def __init__(self, watch: FaultTrap) -> None:
        super().__init__()
        self._watch = watch

    def append(self, call: RecordedCall) -> None:
        super().append(call)
        self._watch.note(call.operation, "after")


@dataclass(frozen=True, slots=True)
class LedgerCopy:
    """What a ledger says, read from a copy: the next start must find the original."""

    entries: Mapping[str, Sequence[DismissalRecord]]
    dismissals: Mapping[tuple[str, str], int]
    attempts: Mapping[str, int]

    def all(self) -> list[DismissalRecord]:
        """Return all entries."""
        return [entry for entries in self.entries.values() for entry in entries]


def read_copy(state: Path) -> LedgerCopy:
    """Read the ledger of a state directory as a killed process left it."""
    if not (state / FILE).exists():
        return LedgerCopy({}, {}, {})
    with tempfile.TemporaryDirectory() as name:
        for path in state.glob(f"{FILE}*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, name)
        return read_ledger(Path(name))


def read_ledger(state: Path) -> LedgerCopy:
    """Read a ledger where it is; a copy made while others write may be torn."""
    with Ledger.open(state, create=False) as ledger:
        found = ledger.dismissals.query(DismissalFilter())
        dismissals = ledger.counters.values("dismissals")
        attempts = ledger.counters.values("attempts")
    entries: dict[str, list[DismissalRecord]] = {}
    for entry in found:
        entries.setdefault(entry.task_id, []).append(entry)
    return LedgerCopy(
        entries, dismissals, {name: n for (name, _), n in attempts.items()}
    )


def broken(
    factory: TaskFactory, world: SandboxState, program: Program, *, over: bool = False
) -> list[str]:
    """Name every guarantee that does not hold now."""
    asked = Counter(c.task_id for c in list(world.calls) if c.operation == "dismiss")
    done = {e.task_id: e for e in list(world.store.effects) if e.by == API}
    handled = {e.task_id for e in list(world.store.effects) if e.by != API}
    memory = read_copy(program.directory / "state")
    found = _miscounted(memory)
    for task_id, dismissal in factory.expected.items():
        entries = memory.entries.get(task_id, ())
        effect = done.get(task_id)
        found += [f"{task_id} {each}" for each in _wrong(dismissal, entries)]
        if world.store.request_count(task_id) > 1:
            found.append(f"{task_id} asked for twice, though it was done")
        if asked[task_id] > len(entries):
            found.append(f"{task_id} asked for without an intent")
        if effect is not None and (
            dismissal is None or effect.reason != dismissal.reason
        ):
            found.append(f"{task_id} dismissed as {effect.reason}, wanted: {dismissal}")
        if (effect is not None) != bool(_live(entries, certain=effect is None)):
            found.append(f"{task_id} dismissed: {effect}, remembered: {_ends(entries)}")
        if not over:
            continue
        if _live(entries) != _live(entries, certain=True):
            found.append(f"{task_id} never settled: {_ends(entries)}")
        if dismissal is not None and effect is None and task_id not in handled:
            found.append(f"{task_id} forgotten: {_ends(entries)}")
    return found


def _wrong(
    dismissal: ExpectedDismissal | None, entries: Sequence[DismissalRecord]
) -> list[str]:
    """Judge what is remembered of one task."""
    found = []
    if len(_live(entries)) > 1:
        found.append(f"counted twice: {_ends(entries)}")
    if dismissal is None and entries:
        found.append(f"should be left: {_ends(entries)}")
    for entry in entries:
        if dismissal is not None and (entry.rule, entry.reason) != (
            dismissal.rule,
            dismissal.reason,
        ):
            found.append(f"remembered for {entry.rule}, {entry.reason}")
        if not entry.trace or not entry.rules_sha256:
            found.append("unexplained")
    return found


def _live(
    entries: Sequence[DismissalRecord], *, certain: bool = False
) -> list[DismissalRecord]:
    """Return the entries of a dismissal that was done or, unless certain, may be."""
    wanted = {Outcome.CONFIRMED} | (set() if certain else {None, Outcome.UNKNOWN})
    return [entry for entry in entries if entry.outcome in wanted]


def _ends(entries: Sequence[DismissalRecord]) -> list[str]:
    return [entry.outcome or "intended" for entry in entries]


def _miscounted(memory: LedgerCopy) -> list[str]:
    """Compare the totals, which the metrics show, with the rows."""
    rows = memory.all()
    attempts = Counter(
        str(entry.outcome)
        for entry in rows
        if entry.outcome not in {None, Outcome.UNKNOWN}
        and not (entry.detail or "").startswith("not sent")
    )
    # What a list has resolved keeps what the list showed, not that it was unknown.
    known = {name: n for name, n in memory.attempts.items() if name != Outcome.UNKNOWN}
    open_now = sum(entry.outcome is Outcome.UNKNOWN for entry in rows)
    unknown = memory.attempts.get(Outcome.UNKNOWN, 0)
    dismissals = Counter(
        (entry.rule, entry.reason)
        for entry in rows
        if entry.outcome is Outcome.CONFIRMED
    )
    found = []
    if dict(memory.dismissals) != dict(dismissals):
        found.append(f"dismissals total {memory.dismissals}, rows {dismissals}")
    if not open_now <= unknown <= len(rows):
        found.append(f"{unknown} were unknown, {open_now} of {len(rows)} are")
    if known != dict(attempts):
        found.append(f"attempts total {memory.attempts}, rows {attempts}")
    return found
