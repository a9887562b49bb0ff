"""The exit codes, and the mapping from errors to them."""

from typing import TYPE_CHECKING, Final

from triaged.errors import ConfigError, QuotaExhausted, RuleTestsFailed, TriagedError

if TYPE_CHECKING:
    from triaged.triage.report import CycleReport

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
TESTS_FAILED: Final = 3
INCOMPLETE: Final = 4
UNREACHABLE: Final = 69
KEY_REFUSED: Final = 77
CONFIG: Final = 78


def code_of_end(end: SystemExit) -> int:
    """Return the exit code with which a command ended itself."""
    return end.code if isinstance(end.code, int) else int(bool(end.code))


def exit_code_for(error: TriagedError) -> int:
    """Return the exit code for an error."""
    # Imported here, because most commands have no API errors.
    from triaged.leadlex import errors  # noqa: PLC0415

    match error:
        case ConfigError():
            return CONFIG
        case RuleTestsFailed():
            return TESTS_FAILED
        case errors.KeyRejected():
            return KEY_REFUSED
        case errors.Unreachable() | errors.NoResponse():
            return UNREACHABLE
        case QuotaExhausted() | errors.RateLimited():
            return INCOMPLETE
        case _:
            return FAILED


def exit_code_of(report: "CycleReport") -> int:
    """Return the exit code for how a cycle ended."""
    from triaged.triage.report import CycleResult  # noqa: PLC0415 - as above

    if report.result is CycleResult.OK:
        return OK
    if report.error is None:
        return INCOMPLETE
    code = exit_code_for(report.error)
    if not report.listed or code == KEY_REFUSED:
        return code
    return INCOMPLETE
