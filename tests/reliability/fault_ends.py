"""The matrix as stated: what each fault on each operation ends in.

A table says it for every kind; a kind that it does not know fails a test.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final

from tests.reliability.report import FULL
from triaged.leadlex.errors import (
    Garbled,
    KeyRefused,
    LexiError,
    NotPending,
    RateLimited,
    Rejected,
    Unanswered,
)
from triaged.ledger.dismissals import Outcome
from triaged.sandbox.faults import Kind
from triaged.triage.dispatcher import WIDTH
from triaged.triage.report import Result

TASKS: Final = 12
# Two answers that came in among those that fail are replaced before the third is bad.
FLYING: Final = WIDTH + 2
# So often is a refused minute asked for before the list is too old to act on.
ASKED_AGAIN: Final = 4
# How many cycles in a row meet a fault that does not end.
CYCLES: Final = 32 if FULL else 2


class Mended(Enum):
    """When, after the last fault, all is as if there had been none."""

    NEXT_CYCLE = timedelta(minutes=6)
    NEXT_QUOTA = timedelta(hours=18)
    NEXT_DAY = timedelta(hours=25)


@dataclass(frozen=True, slots=True)
class End:
    """What a fault on a dismissal ends in.

    ``outcome`` is what the ledger says of a call that was hit; ``code`` is the cycle's
    exit code after a short and after a long burst; ``most`` are the calls that can be
    hit in one cycle, however long the burst.
    """

    outcome: Outcome
    code: tuple[int, int]
    most: int
    mended: Mended


UNKNOWN: Final = End(Outcome.UNKNOWN, (4, 4), FLYING, Mended.NEXT_CYCLE)
NO_KEY: Final = End(Outcome.FAILED, (77, 77), WIDTH, Mended.NEXT_CYCLE)

DISMISS: Final = {
    Kind.MINUTE_LIMIT: End(
        Outcome.FAILED, (0, 4), WIDTH + ASKED_AGAIN, Mended.NEXT_CYCLE
    ),
    Kind.DAY_LIMIT: End(Outcome.FAILED, (4, 4), WIDTH, Mended.NEXT_QUOTA),
    Kind.ERROR_500: UNKNOWN,
    Kind.ERROR_502: UNKNOWN,
    Kind.ERROR_503: UNKNOWN,
    Kind.ERROR_AFTER: UNKNOWN,
    Kind.CUT_BEFORE: UNKNOWN,
    Kind.CUT_AFTER: UNKNOWN,
    Kind.SLOW: UNKNOWN,
    Kind.SLOW_AFTER: UNKNOWN,
    Kind.HTML: UNKNOWN,
    Kind.TRUNCATED: UNKNOWN,
    Kind.WRONG_SHAPE: UNKNOWN,
    Kind.REDIRECT: UNKNOWN,
    Kind.HUGE: UNKNOWN,
    Kind.KEY_REFUSED: NO_KEY,
    Kind.FORBIDDEN: NO_KEY,
    Kind.NOT_FOUND_HTML: End(Outcome.REJECTED, (0, 0), TASKS, Mended.NEXT_DAY),
    Kind.NOT_PENDING: End(Outcome.ALREADY_HANDLED, (0, 0), TASKS, Mended.NEXT_DAY),
}

# Without a list nothing is done, and one call is spent: result, exit code, when mended.
SCARCE: Final = (Result.INCOMPLETE, 4, Mended.NEXT_CYCLE)
AWAY: Final = (Result.FAILED, 69, Mended.NEXT_CYCLE)
ODD: Final = (Result.FAILED, 1, Mended.NEXT_CYCLE)
REFUSED: Final = (Result.FAILED, 77, Mended.NEXT_CYCLE)

LIST: Final = {
    Kind.MINUTE_LIMIT: SCARCE,
    Kind.DAY_LIMIT: (Result.INCOMPLETE, 4, Mended.NEXT_QUOTA),
    Kind.ERROR_500: AWAY,
    Kind.ERROR_502: AWAY,
    Kind.ERROR_503: AWAY,
    Kind.ERROR_AFTER: AWAY,
    Kind.CUT_BEFORE: AWAY,
    Kind.CUT_AFTER: AWAY,
    Kind.SLOW: AWAY,
    Kind.SLOW_AFTER: AWAY,
    Kind.HTML: ODD,
    Kind.TRUNCATED: AWAY,
    Kind.WRONG_SHAPE: ODD,
    Kind.REDIRECT: ODD,
    Kind.HUGE: ODD,
    Kind.KEY_REFUSED: REFUSED,
    Kind.FORBIDDEN: REFUSED,
    Kind.NOT_FOUND_HTML: ODD,
    Kind.NOT_PENDING: ODD,
}

# A list that would settle costs the settling alone: exit code, whether the other
# dismissals go ahead, when mended.
GOES_ON: Final = (4, True, Mended.NEXT_CYCLE)
STOPS: Final = (77, False, Mended.NEXT_CYCLE)

SETTLING: Final = dict.fromkeys(Kind, GOES_ON) | {
    Kind.DAY_LIMIT: (4, False, Mended.NEXT_QUOTA),
    Kind.KEY_REFUSED: STOPS,
    Kind.FORBIDDEN: STOPS,
}


class Burst(Enum):
    """How many calls in a row meet the fault; None is every call."""

    ONCE = 1
    THREE = 3
    THIRTY = 30
    ALWAYS = None

    @property
    def is_short(self) -> bool:
        return self in {Burst.ONCE, Burst.THREE}

    @property
    def cycles(self) -> int:
        """Return how many cycles meet it when a cycle asks once."""
        return min(self.value or CYCLES, CYCLES)


# An approval is never repeated by the program, so the person must be told the truth.
APPROVE: Final[dict[Kind, type[LexiError] | None]] = {
    Kind.MINUTE_LIMIT: RateLimited,
    Kind.DAY_LIMIT: RateLimited,
    Kind.ERROR_500: Unanswered,
    Kind.ERROR_502: Unanswered,
    Kind.ERROR_503: Unanswered,
    Kind.ERROR_AFTER: Unanswered,
    Kind.CUT_BEFORE: Unanswered,
    Kind.CUT_AFTER: Unanswered,
    Kind.SLOW: Unanswered,
    Kind.SLOW_AFTER: Unanswered,
    Kind.HTML: Garbled,
    Kind.TRUNCATED: Unanswered,
    Kind.WRONG_SHAPE: Garbled,
    Kind.REDIRECT: Garbled,
    Kind.HUGE: Garbled,
    Kind.KEY_REFUSED: KeyRefused,
    Kind.FORBIDDEN: KeyRefused,
    Kind.NOT_FOUND_HTML: Rejected,
    Kind.NOT_PENDING: NotPending,
}
