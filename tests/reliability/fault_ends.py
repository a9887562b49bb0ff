"""The matrix as stated: what each fault on each operation ends in.

A table says it for every kind; a kind that it does not know fails a test.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final

from tests.reliability.report import FULL
from triaged.leadlex.errors import (
    KeyRejected,
    LexiError,
    MalformedResponse,
    NoResponse,
    NotPending,
    RateLimited,
    RequestRejected,
)
from triaged.ledger.dismissals import Outcome
from triaged.sandbox.faults import FaultKind
from triaged.triage.dispatcher import MAX_CONCURRENT
from triaged.triage.report import CycleResult

TASKS: Final = 12
# Two answers that came in among those that fail are replaced before the third is bad.
FLYING: Final = MAX_CONCURRENT + 2
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
NO_KEY: Final = End(Outcome.FAILED, (77, 77), MAX_CONCURRENT, Mended.NEXT_CYCLE)

DISMISS: Final = {
    FaultKind.MINUTE_LIMIT: End(
        Outcome.FAILED, (0, 4), MAX_CONCURRENT + ASKED_AGAIN, Mended.NEXT_CYCLE
    ),
    FaultKind.DAY_LIMIT: End(Outcome.FAILED, (4, 4), MAX_CONCURRENT, Mended.NEXT_QUOTA),
    FaultKind.ERROR_500: UNKNOWN,
    FaultKind.ERROR_502: UNKNOWN,
    FaultKind.ERROR_503: UNKNOWN,
    FaultKind.ERROR_AFTER: UNKNOWN,
    FaultKind.CUT_BEFORE: UNKNOWN,
    FaultKind.CUT_AFTER: UNKNOWN,
    FaultKind.SLOW: UNKNOWN,
    FaultKind.SLOW_AFTER: UNKNOWN,
    FaultKind.HTML: UNKNOWN,
    FaultKind.TRUNCATED: UNKNOWN,
    FaultKind.WRONG_SHAPE: UNKNOWN,
    FaultKind.REDIRECT: UNKNOWN,
    FaultKind.HUGE: UNKNOWN,
    FaultKind.KEY_REFUSED: NO_KEY,
    FaultKind.FORBIDDEN: NO_KEY,
    FaultKind.NOT_FOUND_HTML: End(Outcome.REJECTED, (0, 0), TASKS, Mended.NEXT_DAY),
    FaultKind.NOT_PENDING: End(Outcome.ALREADY_HANDLED, (0, 0), TASKS, Mended.NEXT_DAY),
}

# Without a list nothing is done, and one call is spent: result, exit code, when mended.
SCARCE: Final = (CycleResult.INCOMPLETE, 4, Mended.NEXT_CYCLE)
AWAY: Final = (CycleResult.FAILED, 69, Mended.NEXT_CYCLE)
ODD: Final = (CycleResult.FAILED, 1, Mended.NEXT_CYCLE)
REFUSED: Final = (CycleResult.FAILED, 77, Mended.NEXT_CYCLE)

LIST: Final = {
    FaultKind.MINUTE_LIMIT: SCARCE,
    FaultKind.DAY_LIMIT: (CycleResult.INCOMPLETE, 4, Mended.NEXT_QUOTA),
    FaultKind.ERROR_500: AWAY,
    FaultKind.ERROR_502: AWAY,
    FaultKind.ERROR_503: AWAY,
    FaultKind.ERROR_AFTER: AWAY,
    FaultKind.CUT_BEFORE: AWAY,
    FaultKind.CUT_AFTER: AWAY,
    FaultKind.SLOW: AWAY,
    FaultKind.SLOW_AFTER: AWAY,
    FaultKind.HTML: ODD,
    FaultKind.TRUNCATED: AWAY,
    FaultKind.WRONG_SHAPE: ODD,
    FaultKind.REDIRECT: ODD,
    FaultKind.HUGE: ODD,
    FaultKind.KEY_REFUSED: REFUSED,
    FaultKind.FORBIDDEN: REFUSED,
    FaultKind.NOT_FOUND_HTML: ODD,
    FaultKind.NOT_PENDING: ODD,
}

# A list that would settle costs the settling alone: exit code, whether the other
# dismissals go ahead, when mended.
GOES_ON: Final = (4, True, Mended.NEXT_CYCLE)
STOPS: Final = (77, False, Mended.NEXT_CYCLE)

SETTLING: Final = dict.fromkeys(FaultKind, GOES_ON) | {
    FaultKind.DAY_LIMIT: (4, False, Mended.NEXT_QUOTA),
    FaultKind.KEY_REFUSED: STOPS,
    FaultKind.FORBIDDEN: STOPS,
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
APPROVE: Final[dict[FaultKind, type[LexiError] | None]] = {
    FaultKind.MINUTE_LIMIT: RateLimited,
    FaultKind.DAY_LIMIT: RateLimited,
    FaultKind.ERROR_500: NoResponse,
    FaultKind.ERROR_502: NoResponse,
    FaultKind.ERROR_503: NoResponse,
    FaultKind.ERROR_AFTER: NoResponse,
    FaultKind.CUT_BEFORE: NoResponse,
    FaultKind.CUT_AFTER: NoResponse,
    FaultKind.SLOW: NoResponse,
    FaultKind.SLOW_AFTER: NoResponse,
    FaultKind.HTML: MalformedResponse,
    FaultKind.TRUNCATED: NoResponse,
    FaultKind.WRONG_SHAPE: MalformedResponse,
    FaultKind.REDIRECT: MalformedResponse,
    FaultKind.HUGE: MalformedResponse,
    FaultKind.KEY_REFUSED: KeyRejected,
    FaultKind.FORBIDDEN: KeyRejected,
    FaultKind.NOT_FOUND_HTML: RequestRejected,
    FaultKind.NOT_PENDING: NotPending,
}
