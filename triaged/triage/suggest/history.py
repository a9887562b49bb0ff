"""What people settled, in the order of creation, as rows that conditions select.

A set of rows is an integer with a bit for each: two sets are intersected and counted in
a fraction of a microsecond, and ten thousand rows take little more than a kilobyte.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from triaged.rules.conditions import Condition, DuplicateOf
from triaged.rules.context import EvaluationContext
from triaged.rules.evaluate import evaluate
from triaged.rules.task import HumanDecision, Task
from triaged.rules.words import fold

# The older part is searched for rules; the newer part tells whether they are any good.
SEARCHED_SHARE: Final = 0.6

DUPLICATE: Final = DuplicateOf(("type", "description"))
# Which tasks were pending together is not known; those of one week may have been.
DUPLICATE_WINDOW: Final = timedelta(days=7)

_BEFORE_CREATION: Final = timedelta(seconds=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledTask:
    """A task that a person approved or dismissed.

    ``seen_at`` is when triaged last decided on it while it was pending, the moment that
    its age is taken at; None where that is unknown.  ``reason`` is the code that a
    person dismissed it with, where the ledger knows it; ``explained`` says that the
    rules in force deal with it already.
    """

    task: Task
    decision: HumanDecision
    seen_at: datetime | None = None
    reason: str | None = None
    explained: bool = False

    @property
    def moment(self) -> datetime:
        """Return the moment to evaluate at: where age is unknown, before creation."""
        return self.seen_at or _created_at(self) + _BEFORE_CREATION


@dataclass(frozen=True, slots=True)
class History:
    """The settled tasks in the order of their creation, and sets of their rows.

    ``undated`` tasks have no time of creation, so they are in neither part.
    """

    rows: tuple[SettledTask, ...]
    undated: int
    searched: int
    verified: int
    dismissed: int
    approved: int
    unexplained: int
    earlier_copies: Mapping[int, int]

    @classmethod
    def of(cls, settled: Iterable[SettledTask]) -> "History":
        """Put tasks in order and split them in two."""
        given = list(settled)
        dated = [one for one in given if one.task.created_at is not None]
        rows = tuple(sorted(dated, key=_order))
        everything = (1 << len(rows)) - 1
        searched = (1 << round(len(rows) * SEARCHED_SHARE)) - 1
        dismissed = rows_where(
            len(rows),
            (
                row
                for row, one in enumerate(rows)
                if one.decision is HumanDecision.DISMISSED
            ),
        )
        explained = rows_where(
            len(rows), (row for row, one in enumerate(rows) if one.explained)
        )
        return cls(
            rows=rows,
            undated=len(given) - len(rows),
            searched=searched,
            verified=everything & ~searched,
            dismissed=dismissed,
            approved=everything & ~dismissed,
            unexplained=dismissed & ~explained,
            earlier_copies=_earlier_copies(rows),
        )

    def matching(self, condition: Condition) -> int:
        """Return the rows that a condition holds for, as the rules engine decides."""
        return rows_where(
            len(self.rows),
            (row for row in range(len(self.rows)) if self.holds(condition, row)),
        )

    def holds(self, condition: Condition, row: int) -> bool:
        """Say whether a condition holds for the task of a row."""
        context = self.context(row)
        return evaluate(condition, self.rows[row].task, context) is True

    def context(self, row: int) -> EvaluationContext:
        """Return the moment at which a task was seen, and whether it was a copy."""
        one = self.rows[row]
        copies = {one.task.id or "": row in self.earlier_copies}
        return EvaluationContext(one.moment, {DUPLICATE: copies})


def rows_where(size: int, rows: Iterable[int]) -> int:
    """Return a set of rows."""
    octets = bytearray(size // 8 + 1)
    for row in rows:
        octets[row >> 3] |= 1 << (row & 7)
    return int.from_bytes(octets, "little")


def iter_rows(chosen: int) -> Iterator[int]:
    """Give the rows of a set, oldest first."""
    while chosen:
        lowest = chosen & -chosen
        yield lowest.bit_length() - 1
        chosen ^= lowest


def _created_at(one: SettledTask) -> datetime:
    if one.task.created_at is None:
        raise ValueError("a history has only tasks whose time of creation is known")
    return one.task.created_at


def _order(one: SettledTask) -> tuple[datetime, str]:
    return _created_at(one), one.task.id or ""


def _earlier_copies(rows: Sequence[SettledTask]) -> dict[int, int]:
    """Return the rows that repeat a request of the same week, each with that one."""
    found: dict[int, int] = {}
    last: dict[tuple[str, str], int] = {}
    for row, one in enumerate(rows):
        text = fold(one.task.description or "")
        if not text or not one.task.type:
            continue
        key = (one.task.type, text)
        if key in last:
            earlier = last[key]
            gap = _created_at(one) - _created_at(rows[earlier])
            if timedelta(0) < gap <= DUPLICATE_WINDOW:
                found[row] = earlier
        last[key] = row
    return found
