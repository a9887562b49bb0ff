"""The matrix as specified: the outcome of each fault on each operation.

A kind that is missing from a table fails a test.  Responses that succeed and mislead
have unit tests instead.
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
from triaged.sandbox.faults import MISLEADING_KINDS, FaultKind
from triaged.triage.dispatcher import MAX_CONCURRENT
from triaged.triage.report import CycleResult

# The kinds of which a call fails, in the order of their definition.
FAILURES: Final = tuple(kind for kind in FaultKind if kind not in MISLEADING_KINDS)

TASKS: Final = 12
# Two answers that came in among those that fail are replaced before the third is bad.
FLYING: Final = MAX_CONCURRENT + 2
# So often is a refused minute asked for before the list is too old to act on.
ASKED_AGAIN: Final = 4
# How many cycles in a row meet a fault that does not end.
CYCLES: Final = 32 if FULL else 2


class Recovery(Enum):
    """When, after the last fault, all is as if there had been none."""

    NEXT_CYCLE = timedelta(minutes=6)
    NEXT_QUOTA = timedelta(hours=18)
    NEXT_DAY = timedelta(hours=25)


@dataclass(frozen=True, slots=True)
class ExpectedOutcome:
    """What a fault on a dismissal ends in.

    ``outcome`` is what the ledger says of a call that was hit; ``code`` is the cycle's
    exit code after a short and after a long burst; ``most`` are the calls that can be
    hit in one cycle, however long the burst.
    """

    outcome: Outcome
    code: tuple[int, int]
    most: int
    recovery: Recovery


UNKNOWN: Final = ExpectedOutcome(Outcome.UNKNOWN, (4, 4), FLYING, Recovery.NEXT_CYCLE)
NO_KEY: Final = ExpectedOutcome(
    Outcome.FAILED, (77, 77), MAX_CONCURRENT, Recovery.NEXT_CYCLE
)

DISMISS: Final = {
    FaultKind.MINUTE_LIMIT: ExpectedOutcome(
        Outcome.FAILED, (0, 4), MAX_CONCURRENT + ASKED_AGAIN, Recovery.NEXT_CYCLE
    ),
    FaultKind.DAY_LIMIT: ExpectedOutcome(
        Outcome.FAILED, (4, 4), MAX_CONCURRENT, Recovery.NEXT_QUOTA
    ),
    FaultKind.ERROR_500: UNKNOWN,
    FaultKind.ERROR_502: UNKNOWN,
    FaultKind.ERROR_503: UNKNOWN,
    FaultKind.RETRY_AFTER: UNKNOWN,
    FaultKind.ERROR_AFTER_EFFECT: UNKNOWN,
    FaultKind.DROP_BEFORE_EFFECT: UNKNOWN,
    FaultKind.DROP_AFTER_EFFECT: UNKNOWN,
    FaultKind.SLOW: UNKNOWN,
    FaultKind.DELAY_AFTER_EFFECT: UNKNOWN,
    FaultKind.HTML: UNKNOWN,
    FaultKind.TRUNCATED: UNKNOWN,
    FaultKind.BAD_SCHEMA: UNKNOWN,
    FaultKind.REDIRECT: UNKNOWN,
    FaultKind.HUGE: UNKNOWN,
    FaultKind.KEY_REJECTED: NO_KEY,
    FaultKind.FORBIDDEN: NO_KEY,
    FaultKind.HTML_404: UNKNOWN,
    FaultKind.REJECTED: ExpectedOutcome(
        Outcome.REJECTED, (0, 0), TASKS, Recovery.NEXT_DAY
    ),
    FaultKind.NOT_PENDING: ExpectedOutcome(
        Outcome.ALREADY_HANDLED, (0, 0), TASKS, Recovery.NEXT_DAY
    ),
}

# Without a list nothing is done, and one call is spent: result, exit code, recovery.
SCARCE: Final = (CycleResult.INCOMPLETE, 4, Recovery.NEXT_CYCLE)
AWAY: Final = (CycleResult.FAILED, 69, Recovery.NEXT_CYCLE)
ODD: Final = (CycleResult.FAILED, 1, Recovery.NEXT_CYCLE)
REFUSED: Final = (CycleResult.FAILED, 77, Recovery.NEXT_CYCLE)

LIST: Final = {
    FaultKind.MINUTE_LIMIT: SCARCE,
    FaultKind.DAY_LIMIT: (CycleResult.INCOMPLETE, 4, Recovery.NEXT_QUOTA),
    FaultKind.ERROR_500: AWAY,
    FaultKind.ERROR_502: AWAY,
    FaultKind.ERROR_503: AWAY,
    FaultKind.RETRY_AFTER: AWAY,
    FaultKind.ERROR_AFTER_EFFECT: AWAY,
    FaultKind.DROP_BEFORE_EFFECT: AWAY,
    FaultKind.DROP_AFTER_EFFECT: AWAY,
    FaultKind.SLOW: AWAY,
    FaultKind.DELAY_AFTER_EFFECT: AWAY,
    FaultKind.HTML: ODD,
    FaultKind.TRUNCATED: AWAY,
    FaultKind.BAD_SCHEMA: ODD,
    FaultKind.REDIRECT: ODD,
    FaultKind.HUGE: ODD,
    FaultKind.KEY_REJECTED: REFUSED,
    FaultKind.FORBIDDEN: REFUSED,
    FaultKind.HTML_404: ODD,
    FaultKind.REJECTED: ODD,
    FaultKind.NOT_PENDING: ODD,
}

# A list that would settle costs the settling alone: exit code, whether the other
# dismissals go ahead, recovery.
GOES_ON: Final = (4, True, Recovery.NEXT_CYCLE)
STOPS: Final = (77, False, Recovery.NEXT_CYCLE)

SETTLING: Final = dict.fromkeys(FAILURES, GOES_ON) | {
    FaultKind.DAY_LIMIT: (4, False, Recovery.NEXT_QUOTA),
    FaultKind.KEY_REJECTED: STOPS,
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


# The program never repeats an approval, so the message must be accurate.
APPROVE: Final[dict[FaultKind, type[LexiError] | None]] = {
    FaultKind.MINUTE_LIMIT: RateLimited,
    FaultKind.DAY_LIMIT: RateLimited,
    FaultKind.ERROR_500: NoResponse,
    FaultKind.ERROR_502: NoResponse,
    FaultKind.ERROR_503: NoResponse,
    FaultKind.RETRY_AFTER: NoResponse,
    FaultKind.ERROR_AFTER_EFFECT: NoResponse,
    FaultKind.DROP_BEFORE_EFFECT: NoResponse,
    FaultKind.DROP_AFTER_EFFECT: NoResponse,
    FaultKind.SLOW: NoResponse,
    FaultKind.DELAY_AFTER_EFFECT: NoResponse,
    FaultKind.HTML: MalformedResponse,
    FaultKind.TRUNCATED: NoResponse,
    FaultKind.BAD_SCHEMA: MalformedResponse,
    FaultKind.REDIRECT: MalformedResponse,
    FaultKind.HUGE: MalformedResponse,
    FaultKind.KEY_REJECTED: KeyRejected,
    FaultKind.FORBIDDEN: KeyRejected,
    FaultKind.HTML_404: MalformedResponse,
    FaultKind.REJECTED: RequestRejected,
    FaultKind.NOT_PENDING: NotPending,
}
