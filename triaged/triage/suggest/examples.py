"""The tasks of the history that show what a proposed rule means, and where it ends."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import and_
from typing import Final

from triaged.rules.conditions import (
    AgeBetween,
    Condition,
    GreaterThan,
    LessThan,
    MetadataMatches,
)
from triaged.rules.evaluate import age_of
from triaged.rules.task import get_path, is_number
from triaged.triage.suggest.candidates import LARGEST
from triaged.triage.suggest.history import History, SettledTask, iter_rows
from triaged.triage.suggest.proposals import Proposal

HITS: Final = 2
APPROVED_HITS: Final = 2
# How many tasks are offered for one example: not each can be written into a test.
_OFFERED: Final = 12
# Of more tasks than this, the newest are looked at.
_LOOKED_AT: Final = 2_000
_FAR: Final = 1e15


class Kind(StrEnum):
    """What an example shows."""

    HIT = "people dismissed this one"
    APPROVED_HIT = "people approved this one, which the rule would dismiss"
    NEAR_MISS = "not meant"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An example to give: the rows to choose from, best first, and how many of them.

    ``without`` is the only part of the rule that does not hold for a near miss.
    """

    kind: Kind
    rows: Sequence[int]
    count: int
    without: Condition | None = None


def wanted_examples(history: History, proposal: Proposal) -> Iterator[Wanted]:
    """Give what a person should see of a proposal: hits, wrong hits and near misses."""
    near = _nearness(history, proposal.parts)
    hits = proposal.rows & history.dismissed
    yield Wanted(Kind.HIT, _best(hits, near), HITS)
    wrong = proposal.rows & history.approved
    yield Wanted(Kind.APPROVED_HIT, _best(wrong, near), APPROVED_HITS)
    everything = history.searched | history.verified
    for number, part in enumerate(proposal.parts):
        others = [rows for n, rows in enumerate(proposal.part_rows) if n != number]
        rows = reduce(and_, others, everything) & ~proposal.part_rows[number]
        # What people approved says more than what they dismissed for other reasons.
        chosen = [
            *_best(rows & history.approved, near),
            *_best(rows & history.dismissed, near),
        ]
        yield Wanted(Kind.NEAR_MISS, chosen[:_OFFERED], 1, part)


def _best(rows: int, near: Callable[[int], tuple[float, int]]) -> list[int]:
    newest = _last(iter_rows(rows), _LOOKED_AT)
    return sorted(newest, key=near)[:_OFFERED]


def _last(rows: Iterable[int], count: int) -> list[int]:
    return list(rows)[-count:]


def _nearness(
    history: History, parts: Sequence[Condition]
) -> Callable[[int], tuple[float, int]]:
    def near(row: int) -> tuple[float, int]:
        one = history.rows[row]
        distance = sum(_distance(part, one) for part in parts)
        return distance, len(one.task.description or "")

    return near


def _distance(part: Condition, one: SettledTask) -> float:
    """Return how far a value lies from a bound, in units of the bound."""
    match part:
        case MetadataMatches(path, GreaterThan(bound) | LessThan(bound)):
            value = get_path(one.task.metadata, path)
            if is_number(value) and abs(value) < LARGEST:
                return abs(value - bound) / (abs(bound) or 1.0)
            return _FAR
        case AgeBetween(over, under):
            age = None if one.seen_at is None else age_of(one.task, one.seen_at)
            bound_ = over or under
            if age is None or not bound_:
                return _FAR
            return abs(age - bound_) / bound_
        case _:
            return 0.0
