"""The daily digest as a value: what happened, what is planned, what needs a person.

Pure functions. They neither read the ledger nor format text; texts of tasks are passed
through as they are, for the renderer to escape.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from triaged.daily_time import DailyTime
from triaged.triage.agreement import Agreement

# How far ahead the digest looks; it goes once a day.
PLANNED_WITHIN: Final = timedelta(days=1)
# A week without a digest could also mean that notifications are broken.
MAX_SILENCE: Final = timedelta(days=7)

MAX_EXAMPLES: Final = 3
MAX_PLANNED: Final = 20


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task in a list: its id and its description."""

    task_id: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissedByRule:
    """The tasks dismissed by a rule (None: by a person) for one reason."""

    rule: str | None
    reason: str
    count: int
    examples: tuple[TaskLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDismissal:
    """A task on hold, and from when it may be dismissed unless something changes."""

    task: TaskLine
    rule: str
    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedByRule:
    """The tasks that a rule newly observed, and what people decided on such tasks.

    ``decided`` is within the period of the digest, ``agreement`` over all time.
    """

    rule: str
    count: int
    decided: Agreement
    agreement: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedRule:
    """A promotion or demotion; ``by`` is the person who did it, or empty."""

    rule: str
    is_promotion: bool
    at: datetime
    by: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """A task that an enforced rule holds, and when the hold ends."""

    task_id: str
    rule: str
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestFacts:
    """What a digest is made from.

    ``dismissed`` counts by rule and reason; ``decided`` and ``decided_ever`` are what
    people dismissed and approved, by rule; ``problems`` are sentences about what needs
    a person.
    """

    workspace: str
    since: datetime
    until: datetime
    dry_run: bool = False
    dismissed: Mapping[tuple[str | None, str], int] = field(default_factory=dict)
    examples: Mapping[tuple[str | None, str], Sequence[TaskLine]] = field(
        default_factory=dict
    )
    holds: Sequence[Hold] = ()
    descriptions: Mapping[str, str] = field(default_factory=dict)
    observed: Mapping[str, int] = field(default_factory=dict)
    decided: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    decided_ever: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    changes: Sequence[ChangedRule] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The content of one digest: what happened after ``since``, up to ``until``.

    ``planned`` are the first of ``planned_total`` tasks.
    """

    workspace: str
    since: datetime
    until: datetime
    dry_run: bool
    problems: tuple[str, ...]
    dismissed: tuple[DismissedByRule, ...]
    planned: tuple[PlannedDismissal, ...]
    planned_total: int
    observed: tuple[ObservedByRule, ...]
    changes: tuple[ChangedRule, ...]

    @property
    def dismissed_total(self) -> int:
        """The number of dismissed tasks."""
        return sum(row.count for row in self.dismissed)

    @property
    def observed_total(self) -> int:
        """The number of newly observed tasks, once for each rule."""
        return sum(row.count for row in self.observed)

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened, nothing is planned and nothing needs a person."""
        return not (
            self.problems
            or self.dismissed
            or self.planned_total
            or self.observed
            or self.changes
        )


def digest_due(now: datetime, at: DailyTime, last: datetime | None) -> bool:
    """Return whether a digest is due: once on each local date, from its time on.

    ``last`` is when the latest one was due or sent. A digest that was missed on an
    earlier date is not caught up, and a clock that was set back causes no second one on
    the same date.
    """
    today = at.date_of(now)
    if last is not None and at.date_of(last) == today:
        return False
    return now >= at.on(today)


def must_break_silence(
    now: datetime, at: DailyTime, last_sent: datetime | None
) -> bool:
    """Return whether even an empty digest is sent, as a weekly sign of life.

    ``last_sent`` is when a digest was last sent. Local dates are compared, so that the
    hour of a change to summer time does not delay it by a day.
    """
    if last_sent is None:
        return True
    return at.date_of(now) - at.date_of(last_sent) >= MAX_SILENCE


def held_within(holds: Iterable[Hold], now: datetime) -> list[Hold]:
    """Return the holds that end within the next day, in the order in which they do.

    A hold that has ended already is included: its task waits for the next cycle.
    """
    soon = [hold for hold in holds if hold.ends_at <= now + PLANNED_WITHIN]
    return sorted(soon, key=lambda hold: (hold.ends_at, hold.task_id, hold.rule))


def build_digest(facts: DigestFacts) -> Digest:
    """Build the digest: ordered, and limited to what a person reads."""
    planned = held_within(facts.holds, facts.until)
    return Digest(
        workspace=facts.workspace,
        since=facts.since,
        until=facts.until,
        dry_run=facts.dry_run,
        problems=tuple(facts.problems),
        dismissed=tuple(_dismissed(facts)),
        planned=tuple(
            PlannedDismissal(
                task=TaskLine(hold.task_id, facts.descriptions.get(hold.task_id, "")),
                rule=hold.rule,
                due=max(hold.ends_at, facts.until),
            )
            for hold in planned[:MAX_PLANNED]
        ),
        planned_total=len(planned),
        observed=tuple(_observed(facts)),
        changes=tuple(sorted(facts.changes, key=lambda each: (each.at, each.rule))),
    )


def _dismissed(facts: DigestFacts) -> Iterable[DismissedByRule]:
    """Yield a row for each rule and reason, the largest first, people last."""
    order = sorted(
        facts.dismissed.items(),
        key=lambda row: (row[0][0] is None, -row[1], row[0][0] or "", row[0][1]),
    )
    for (rule, reason), count in order:
        if count:
            examples = facts.examples.get((rule, reason), ())
            yield DismissedByRule(
                rule=rule,
                reason=reason,
                count=count,
                examples=tuple(examples[:MAX_EXAMPLES]),
            )


def _observed(facts: DigestFacts) -> Iterable[ObservedByRule]:
    for rule in sorted({*facts.observed, *facts.decided}):
        yield ObservedByRule(
            rule=rule,
            count=facts.observed.get(rule, 0),
            decided=Agreement(*facts.decided.get(rule, (0, 0))),
            agreement=Agreement(*facts.decided_ever.get(rule, (0, 0))),
        )
