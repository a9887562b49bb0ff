"""What happens around a daemon over weeks: tasks come, people act, rules change.

Of every task it is known, without asking the product, what may become of it.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, DismissalRecord, Outcome
from triaged.sandbox.state import SandboxState
from triaged.sandbox.store import API, PERSON, Change, format_timestamp

RULES: Final = r"""
version: 1
reasons: [bulk_cleanup]
safety: {max_share_of_pending: 1.0, max_dismissals_per_day: 120, min_age: 20m}
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
    hold: 2h
    match: {type: prospect_search, metadata: {source: api}}
    dismiss: not_relevant
  - name: imports
    mode: IMPORTS
    max_per_day: 6
    match: {type: list_operation, metadata: {rows: {over: 1000}}}
    dismiss: bulk_cleanup
  - name: twice
    match: {duplicate: {of: [type, description], keep: oldest}}
    dismiss: duplicate
# edition NUMBER
"""
REASONS: Final = {
    "clutter": "testing",
    "stale": "not_relevant",
    "imports": "bulk_cleanup",
    "twice": "duplicate",
}
MIN_AGE: Final = timedelta(minutes=20)
HOLD: Final = timedelta(hours=2)
CAP_A_DAY: Final = 120
IMPORTS_A_DAY: Final = 6
# Calls in the air when a day ends, a pause begins or a rule goes.
IN_THE_AIR: Final = 16
SLACK: Final = timedelta(minutes=10)
# An outcome that no list of a whole day could settle is lost.
RESOLVED_WITHIN: Final = timedelta(days=1)

# The seeds' shares of sorts; what is not in REASONS must be left.
SORTS: Final = (
    *("clutter", "clutter", "clutter", "stale", "stale", "imports", "twice"),
    *("campaign", "board", "watched", "ordinary", "ordinary", "vetoed"),
)


@dataclass(slots=True)
class Made:
    """One task that came, and what is known of it."""

    sort: str
    at: datetime
    person_at: datetime
    is_over: bool = False


@dataclass(slots=True)
class Findings:
    """What the audits counted, and every guarantee that did not hold."""

    audits: int = 0
    tasks: int = 0
    dismissed: int = 0
    by_people: int = 0
    mistaken: int = 0
    calls: int = 0
    faults: int = 0
    most_calls_a_day: int = 0
    broken: list[str] = field(default_factory=list)

    def demand(self, holds: bool, complaint: str) -> None:
        """Record a guarantee that does not hold."""
        if not holds:
            self.broken.append(complaint)


class SimulatedUsers:
    """The tasks, the people, and an auditor with records of its own."""

    def __init__(self, world: SandboxState, ledger: Ledger, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable, not secret
        self._world = world
        self._ledger = ledger
        self.findings = Findings()
        self.pending: dict[str, Made] = {}
        self._gone: list[tuple[datetime, str]] = []
        self._confirmed: set[str] = set()
        self._observed: set[str] = set()
        self._effects: dict[str, Change] = {}
        self._calls: Counter[str] = Counter()
        self._made = 0
        self.no_imports_since: datetime | None = None
        self.paused_since: datetime | None = None

    def arrive(self, now: datetime) -> None:
        """Let a task come, or the two of a pair."""
        sort = self._random.choice(SORTS)
        match sort:
            case "clutter":
                self._add(sort, now, description=f"[TEST] {self._words()}")
            case "stale":
                metadata = {"source": "api", "query": self._words()}
                self._add(sort, now, type="prospect_search", metadata=metadata)
            case "imports":
                rows = {"rows": self._random.randint(1001, 9999)}
                self._add(sort, now, type="list_operation", metadata=rows)
            case "twice":
                text = f"Merge {self._words()}"
                self._add("ordinary", now - timedelta(hours=1), description=text)
                self._add(sort, now, description=f" {text.upper()}  ")
            case "campaign":
                self._add(sort, now, type="campaign_start", description="[TEST] go")
            case "board":
                text = f"[TEST] for the board, {self._words()}"
                self._add(sort, now, description=text)
            case "watched":
                self._add(sort, now, description=f"Watch {self._words()}")
            case "vetoed":
                task_id = self._add(sort, now, description=f"[TEST] {self._words()}")
                self._ledger.vetoes.add(task_id, at=now)
            case _:
                self._add(sort, now)

    def people_act(self, now: datetime) -> None:
        """Let people approve or dismiss what they have looked at by now."""
        store = self._world.store
        for task_id, made in list(self.pending.items()):
            status = store.status_of(task_id)
            if status == "pending" and made.person_at <= now:
                status = self._random.choice(["approved", "dismissed"])
                store.settle(task_id, status, now=now, by=PERSON)
                self.findings.by_people += 1
            if status != "pending" and not made.is_over:
                made.is_over = True
                self._ledger.vetoes.remove(task_id)
                self._gone.append((now, task_id))

    def edit(self, now: datetime, number: int) -> str:
        """Return another edition of the rules; the imports come and go in it."""
        mode = self._random.choice(["enforce", "enforce", "off"])
        if mode == "enforce":
            self.no_imports_since = None
        elif self.no_imports_since is None:
            self.no_imports_since = now
        return RULES.replace("IMPORTS", mode).replace("NUMBER", str(number))

    def audit(self, now: datetime, retention: timedelta) -> None:
        """Compare what was done with what is remembered; then forget what is old."""
        world, findings = self._world, self.findings
        findings.audits += 1
        for effect in world.store.effects:
            if effect.by == API:
                self._audit_effect(effect)
            self._effects[effect.task_id] = effect
        # Older ones are to be gone; whether they are is seen by what the ledger weighs.
        since = now - retention - RESOLVED_WITHIN / 2
        entries = self._ledger.dismissals.query(DismissalFilter(since=since))
        self._audit_entries(entries, now, now - retention)
        self._audit_caps(entries)
        self._audit_calls()
        world.store.effects.clear()
        world.calls.clear()
        world.store._request_counts.clear()  # noqa: SLF001 - or the sandbox grows, not the product
        self._forget(now - retention - RESOLVED_WITHIN)

    def _audit_effect(self, effect: Change) -> None:
        made, demand = self.pending[effect.task_id], self.findings.demand
        name = f"{effect.task_id} ({made.sort})"
        self.findings.dismissed += 1
        demand(effect.task_id not in self._effects, f"{name}: twice")
        times = self._world.store.request_count(effect.task_id)
        demand(times == 1, f"{name}: asked for {times} times")
        demand(REASONS.get(made.sort) == effect.reason, f"{name}: {effect.reason}")
        demand(effect.at - made.at >= MIN_AGE, f"{name}: young")
        if made.sort == "stale":
            demand(effect.at - made.at >= HOLD, f"{name}: held")
        if made.sort == "imports" and self.no_imports_since is not None:
            late = effect.at - self.no_imports_since
            demand(late < SLACK, f"{name}: by a rule that is off")
        if self.paused_since is not None:
            late = effect.at - self.paused_since
            demand(late < SLACK, f"{name}: while paused")

    def _audit_entries(
        self, entries: list[DismissalRecord], now: datetime, kept: datetime
    ) -> None:
        demand = self.findings.demand
        confirmed = Counter(e.task_id for e in entries if e.outcome == "confirmed")
        open_ = {entry.task_id for entry in self._ledger.dismissals.unresolved()}
        for task_id, count in confirmed.items():
            demand(count == 1, f"{task_id}: confirmed {count} times")
            effect = self._effects.get(task_id)
            dismissed = effect is not None and effect.status == "dismissed"
            demand(dismissed, f"{task_id}: confirmed and not done")
            if task_id not in self._confirmed and effect and effect.by == PERSON:
                # Undecidable: ours was unknown, and the task is dismissed.
                self.findings.mistaken += 1
        self._confirmed |= confirmed.keys()
        for task_id, effect in self._effects.items():
            if effect.by == API and effect.at > kept + timedelta(hours=7):
                known = task_id in confirmed or task_id in open_
                demand(known, f"{task_id}: done and not remembered")
        for entry in self._ledger.dismissals.unresolved():
            late = now - entry.decided_at
            demand(late < RESOLVED_WITHIN, f"{entry.task_id}: unknown for {late}")
        self._observed |= {o.task_id for o in self._ledger.feedback.observations()}
        for name, tasks in (
            ("dismissals", self._confirmed),
            ("observed", self._observed),
        ):
            total = sum(self._ledger.counters.values(name).values())
            demand(total == len(tasks), f"{name}: {total} counted of {len(tasks)}")

    def _audit_caps(self, entries: list[DismissalRecord]) -> None:
        spent = {None, Outcome.UNKNOWN, Outcome.CONFIRMED}
        days = Counter(e.decided_at.date() for e in entries if e.outcome in spent)
        imports = Counter(
            e.decided_at.date()
            for e in entries
            if e.outcome in spent and e.rule == "imports"
        )
        for name, counted, cap in (
            ("all", days, CAP_A_DAY),
            ("imports", imports, IMPORTS_A_DAY),
        ):
            for day, count in counted.items():
                self.findings.demand(count <= cap, f"{name} on {day}: {count}")

    def _audit_calls(self) -> None:
        settings, findings = self._world.settings, self.findings
        for call in self._world.calls:
            findings.calls += 1
            findings.faults += call.fault is not None
            self._calls[call.at.date().isoformat()] += 1
            is_meant = call.status != "429" or call.fault is not None
            findings.demand(is_meant, f"429 at {call.at} by our own fault")
        most = max(self._calls.values(), default=0)
        findings.most_calls_a_day = most
        allowed = (settings.day_limit or 0) * 0.8
        findings.demand(most <= allowed, f"{most} calls on a day, of {allowed:.0f}")

    def _forget(self, before: datetime) -> None:
        """Let the sandbox drop what is long over, or it would grow."""
        while self._gone and self._gone[0][0] < before:
            _, task_id = self._gone.pop(0)
            if self.pending.pop(task_id, None) is not None:
                self._world.store.remove(task_id)
            self._effects.pop(task_id, None)

    def _add(self, sort: str, now: datetime, **fields: Any) -> str:
        # As the list will tell it.
        now = now.replace(microsecond=0)
        self._made += 1
        self.findings.tasks += 1
        task_id = f"task-{self._made}"
        hours = self._random.uniform(3, 20)
        self.pending[task_id] = Made(sort, now, now + timedelta(hours=hours))
        task: dict[str, Any] = {
            "id": task_id,
            "type": "contact_update",
            "status": "pending",
            "description": f"Call {self._words()}",
            "created_at": format_timestamp(now),
            "metadata": {},
            **fields,
        }
        self._world.store.add([task])
        return task_id

    def _words(self) -> str:
        """Return a text that was never there before, of any length and alphabet."""
        letters = "abcdefghij äöüßéñ漢字кириллица 0123456789 \N{PARTY POPPER}'\"<&%"
        length = self._random.choice([5, 20, 80, 400])
        text = "".join(self._random.choices(letters, k=length))
        return f"{self._made} {text}"
