"""What an error of PostgreSQL means for the ledger, and what to do about it."""

import re
from typing import Final

import psycopg

from triaged.errors import LedgerBusy, LedgerError, LedgerUnavailable

NOT_WRITTEN: Final = "nothing is dismissed until it can be written"

# SQLSTATE, or its class of two characters, and the advice. The first group passes by
# itself, so a daemon waits; the second needs a person.
_PASSING: Final = {
    "08": "check that the database runs and can be reached",
    "25006": "this server only reads: give the primary, or a list of hosts",
    "25P03": NOT_WRITTEN,
    "53": "the server is short of connections, memory or disk",
    "57": "the server is stopping or starting",
    "58": "the server has trouble with its disk",
}
_LASTING: Final = {
    "28": "check the role, pg_hba.conf, and the file that PGPASSFILE names",
    "3D000": "create the database first",
    "3F000": "run: triaged ledger init",
    "42P01": "run: triaged ledger init",
    "42703": "run: triaged ledger upgrade",
    "42704": "create the role first: CREATE ROLE name LOGIN",
    "42501": "grant the role its rights: triaged ledger init --grant ROLE",
}
_REFUSALS: Final = {
    'database "[^"]*" does not exist': "3D000",
    'role "[^"]*" does not exist|authentication|pg_hba|password': "28",
}
_BUSY: Final = {"55P03", "40001", "40P01", "57014"}


def translate(error: psycopg.Error, location: str) -> LedgerError:
    """Return the ledger's error for one of the driver.

    The text of a row, which PostgreSQL adds as detail, is left out.
    """
    state = error.sqlstate or ""
    problem = _first_line(error)
    if state in _BUSY:
        return LedgerBusy(location)
    if advice := _find(_LASTING, state):
        return LedgerError(location, problem, advice)
    if advice := _find(_PASSING, state):
        return LedgerUnavailable(location, problem, advice)
    if not state and isinstance(error, psycopg.OperationalError):
        # Without a state: the connection could not be made, or is lost. The server's
        # refusal of a login comes as text only; one in another language is waited for.
        for pattern, known in _REFUSALS.items():
            if re.search(pattern, problem):
                return LedgerError(location, problem, _LASTING[known])
        return LedgerUnavailable(location, problem, _PASSING["08"])
    return LedgerError(location, problem, NOT_WRITTEN)


def _find(table: dict[str, str], state: str) -> str | None:
    return table.get(state) or table.get(state[:2])


def _first_line(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    # libpq repeats a failure for each address; the last one tells as much.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
