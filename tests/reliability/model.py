"""The reference: what a cycle may dismiss, said again in the plainest Python.

Written from the guarantees, not from the product, of which it imports nothing: rules
over words of a text, and what is remembered of holds, vetoes and dismissals.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from tests.reliability.model_rules import COPIES, PROTECTED, RuleSpec, Spec

BREAKER_MIN: Final = 20
REFUSED_FOR: Final = timedelta(hours=24)
NO_TIME: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class ListedTask:
    """One pending task as a list showed it."""

    id: str
    text: str
    created_at: datetime | None

    def has(self, word: str) -> bool:
        return word in self.text.split()

    def age(self, now: datetime) -> timedelta | None:
        return None if self.created_at is None else now - self.created_at


@dataclass(slots=True, kw_only=True)
class DismissalRow:
    """One recorded dismissal; without an outcome while it is unknown."""

    task_id: str
    rule: str | None
    reason: str
    text: str
    at: datetime
    settled_at: datetime | None
    outcome: str | None
    recheck: bool = False

    @property
    def is_open(self) -> bool:
        return self.outcome in {None, "unknown"}

    @property
    def is_spent(self) -> bool:
        return self.is_open or self.outcome == "confirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the rules alone say of one task: a rule that wants it, or why none does."""

    rule: RuleSpec | None = None
    cause: str = ""
    observed: tuple[RuleSpec, ...] = ()


@dataclass(slots=True, kw_only=True)
class ModelResult:
    """What a cycle may dismiss, in order, and why it leaves each of the others.

    Where several causes hold, any of them is right.  ``observed`` are (task, rule);
    of those in ``perhaps`` the guarantees do not state whether they count.
    """

    due: list[tuple[str, RuleSpec]] = field(default_factory=list)
    causes: dict[str, set[str]] = field(default_factory=dict)
    observed: set[tuple[str, str]] = field(default_factory=set)
    perhaps: set[tuple[str, str]] = field(default_factory=set)
    holding: dict[tuple[str, str], tuple[datetime, str]] = field(default_factory=dict)


class Model:
    """What is remembered, and what follows from it."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.vetoed: set[str] = set()
        self.paused = False
        self.book: dict[str, DismissalRow] = {}
        self.holding: dict[tuple[str, str], tuple[datetime, str]] = {}
        self.observed: set[tuple[str, str]] = set()
        self.perhaps: set[tuple[str, str]] = set()
        self.pruned: set[str] = set()
        self.attempts: Counter[str] = Counter()
        self.confirmed: Counter[tuple[str, str]] = Counter()

    def judge(self, tasks: Sequence[ListedTask], now: datetime) -> ModelResult:
        """Say what a cycle may dismiss that was shown these tasks at this moment."""
        judged = ModelResult()
        wishes = self._wishes(tasks)
        common = {"paused"} if self.paused else set()
        most = Fraction(self.spec.share) * len(tasks)
        if self.wanted(tasks) > max(most, Fraction(BREAKER_MIN)):
            common.add("breaker")
        wanted: list[tuple[ListedTask, RuleSpec]] = []
        for task in tasks:
            wish = wishes[task.id]
            self._observe(judged, task, wish, now)
            if wish.rule is None:
                judged.causes[task.id] = {wish.cause}
            elif causes := self._own_causes(task, wish.rule, now) | common:
                judged.causes[task.id] = causes
            else:
                wanted.append((task, wish.rule))
        kept = _kept_for_copies(tasks, wanted)
        for task, _ in wanted:
            if task.id in kept:
                judged.causes[task.id] = {"held"}
        self._cap(judged, [pair for pair in wanted if pair[0].id not in kept], now)
        return judged

    def allowed_by_hand(self, tasks: Sequence[ListedTask], now: datetime) -> list[str]:
        """Return which of these tasks a person may dismiss, whatever the rules want."""
        tried = {line.task_id for line in self.book.values() if line.is_spent}
        forbidden = tried | self.vetoed
        room = self.spec.per_day - len(self._spent_today(now))
        allowed = [t.id for t in tasks if not t.has(PROTECTED)]
        return [each for each in allowed if each not in forbidden][: max(room, 0)]

    def wanted(self, tasks: Sequence[ListedTask]) -> int:
        """Count the tasks that rules want, before caps, holds and age."""
        wishes = self._wishes(tasks).items()
        return sum(x.rule is not None and i not in self.vetoed for i, x in wishes)

    def record(self, judged: ModelResult, *, dry_run: bool) -> None:
        """Take over what such a cycle leaves behind, apart from its dismissals."""
        self.holding = judged.holding
        self.observed |= judged.observed
        self.perhaps |= judged.perhaps
        if dry_run:
            self.observed |= {(task_id, rule.name) for task_id, rule in judged.due}

    def to_recheck(self) -> list[DismissalRow]:
        """Return the failed dismissals that may turn out to have been done."""
        return [line for line in self.book.values() if line.recheck]

    def open_lines(self) -> list[DismissalRow]:
        """Return the dismissals that may or may not have been done."""
        return [line for line in self.book.values() if line.is_open]

    def settle(self, line: DismissalRow, outcome: str) -> None:
        """Write down what became of a dismissal."""
        line.outcome = outcome
        self.count(line)

    def settle_vanished(
        self, lines: Sequence[DismissalRow], *, is_dismissed: bool
    ) -> None:
        """Settle what was asked for of one task that is not pending any more.

        It was dismissed once at most, and not by an attempt before the last one: the
        task was seen pending in between.
        """
        task_id = lines[0].task_id
        others = [x for x in self.book.values() if x.task_id == task_id]
        is_told = any(line.outcome == "confirmed" for line in others)
        last = max(lines, key=lambda line: line.at)
        for line in lines:
            was_failed, line.recheck = line.recheck, False
            if is_dismissed and line is last and not is_told:
                self.settle(line, "confirmed")
            elif is_dismissed or was_failed:
                if not was_failed:
                    self.settle(line, "failed")
            else:
                self.settle(line, "already_handled")

    def note(self, key: str, line: DismissalRow) -> None:
        """Take a dismissal into the book, and count what is known of it."""
        self.book[key] = line
        self.count(line)

    def prune(self, before: datetime) -> None:
        """Forget what is settled and older than a moment."""
        for key, line in list(self.book.items()):
            if line.at < before and not line.is_open:
                self.pruned.add(line.task_id)
                del self.book[key]

    def count(self, line: DismissalRow) -> None:
        """Count an outcome that has just been learned."""
        if line.outcome is not None:
            self.attempts[line.outcome] += 1
        if line.outcome == "confirmed" and line.rule is not None:
            self.confirmed[line.rule, line.reason] += 1

    def _wishes(self, tasks: Sequence[ListedTask]) -> dict[str, Expected]:
        copies = _copies(tasks)
        return {task.id: self._wish(task, copies) for task in tasks}

    def _wish(self, task: ListedTask, copies: Mapping[str, bool | None]) -> Expected:
        if task.has(PROTECTED):
            return Expected(cause="protected")
        observed: list[RuleSpec] = []
        for rule in self.spec.rules:
            holds = copies[task.id] if rule.on == COPIES else task.has(rule.on)
            # In doubt leave alone: a leave acts on unknown too, a dismissal does not.
            if rule.act == "leave" and holds is not False:
                return Expected(cause="leave_rule", observed=tuple(observed))
            if rule.act == "enforce" and holds:
                return Expected(rule=rule, observed=tuple(observed))
            if rule.act == "observe" and holds:
                observed.append(rule)
        return Expected(cause="no_rule", observed=tuple(observed))

    def _own_causes(self, task: ListedTask, rule: RuleSpec, now: datetime) -> set[str]:
        causes = set()
        if task.id in self.vetoed:
            causes.add("vetoed")
        if self._is_young(task, now):
            causes.add("young")
        is_open = any(line.task_id == task.id for line in self.open_lines())
        if is_open or self._is_held(task, rule, now) or self._is_refused(task, now):
            causes.add("held")
        return causes

    def _spent_today(self, now: datetime) -> list[DismissalRow]:
        spent = (line for line in self.book.values() if line.is_spent)
        return [line for line in spent if _same_day(line.at, now)]

    def _is_young(self, task: ListedTask, now: datetime) -> bool:
        age = task.age(now)
        return age is None or age < timedelta(minutes=self.spec.min_age_minutes)

    def _is_held(self, task: ListedTask, rule: RuleSpec, now: datetime) -> bool:
        return rule.hold > now - self._held_since(task, rule, now)

    def _held_since(self, task: ListedTask, rule: RuleSpec, now: datetime) -> datetime:
        since, text = self.holding.get((task.id, rule.name), (now, task.text))
        return since if text == task.text else now

    def _is_refused(self, task: ListedTask, now: datetime) -> bool:
        """Say whether the server has refused this very task within a day."""
        return any(
            line.outcome == "rejected"
            and line.text == task.text
            and line.settled_at is not None
            and now - line.settled_at < REFUSED_FOR
            for line in self.book.values()
            if line.task_id == task.id
        )

    def _observe(
        self, judged: ModelResult, task: ListedTask, wish: Expected, now: datetime
    ) -> None:
        for rule in (*wish.observed, *([wish.rule] if wish.rule else [])):
            if rule.hold:
                since = self._held_since(task, rule, now)
                judged.holding[task.id, rule.name] = since, task.text
        for rule in wish.observed:
            if self._is_young(task, now) or self._is_held(task, rule, now):
                continue
            kind = judged.perhaps if task.id in self.vetoed else judged.observed
            kind.add((task.id, rule.name))

    def _cap(
        self,
        judged: ModelResult,
        wanted: list[tuple[ListedTask, RuleSpec]],
        now: datetime,
    ) -> None:
        """Let the oldest through, as many as each cap has room for."""
        today = self._spent_today(now)
        spent = Counter(line.rule for line in today)
        room = min(self.spec.per_cycle, self.spec.per_day - len(today))
        for task, rule in sorted(wanted, key=lambda pair: _age_order(pair[0])):
            if room > 0 and (rule.cap is None or spent[rule.name] < rule.cap):
                room -= 1
                spent[rule.name] += 1
                judged.due.append((task.id, rule))
            else:
                judged.causes[task.id] = {"over_cap"}


def _copies(tasks: Sequence[ListedTask]) -> dict[str, bool | None]:
    """Say of each task whether an older one has the same text; None: who knows."""
    copies: dict[str, bool | None] = dict.fromkeys(task.id for task in tasks)
    oldest: set[str] = set()
    for task in sorted(tasks, key=_age_order):
        if task.created_at is not None:
            text = " ".join(task.text.split()).casefold()
            copies[task.id] = text in oldest
            oldest.add(text)
    return copies


def _kept_for_copies(
    tasks: Sequence[ListedTask], wanted: Sequence[tuple[ListedTask, RuleSpec]]
) -> set[str]:
    """Return the tasks that stay because a copy of them is dismissed in this cycle."""
    oldest: dict[str, str] = {}
    for task in sorted(tasks, key=_age_order):
        if task.created_at is not None:
            oldest.setdefault(_folded(task), task.id)
    return {oldest[_folded(task)] for task, rule in wanted if rule.on == COPIES}


def _folded(task: ListedTask) -> str:
    return " ".join(task.text.split()).casefold()


def _age_order(task: ListedTask) -> tuple[float, str]:
    moment = task.created_at
    return (moment.timestamp() if moment else float("inf")), task.id


def _same_day(one: datetime, other: datetime) -> bool:
    return one.date() == other.date()
