"""Exit codes (contract section 2), and which error ends in which."""

from typing import Final

from triaged.errors import ConfigError, QuotaSpent, RulesTestsFailed, TriagedError
from triaged.leadlex.errors import KeyRefused, RateLimited, Unanswered, Unreachable

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
TESTS_FAILED: Final = 3
INCOMPLETE: Final = 4
UNREACHABLE: Final = 69
KEY_REFUSED: Final = 77
CONFIG: Final = 78


def code_for(error: TriagedError) -> int:
    """Return the exit code that an error ends in."""
    match error:
        case ConfigError():
            return CONFIG
        case RulesTestsFailed():
            return TESTS_FAILED
        case KeyRefused():
            return KEY_REFUSED
        case Unreachable() | Unanswered():
            return UNREACHABLE
        case QuotaSpent() | RateLimited():
            return INCOMPLETE
        case _:
            return FAILED
