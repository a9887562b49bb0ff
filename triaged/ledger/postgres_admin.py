"""Makes and upgrades the tables of a PostgreSQL ledger, with an owner's rights."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import DictRow

from triaged.errors import LedgerError
from triaged.ledger.location import describe_url
from triaged.ledger.postgres_connection import connect
from triaged.ledger.postgres_errors import translate
from triaged.ledger.postgres_schema import (
    VERSION,
    check_encoding,
    check_version,
    grant,
    migrate,
)

_NO_LEDGER: Final = "there is no ledger in this database yet"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A ledger's place, and its versions before and after; 0: there was none."""

    location: str
    before: int
    after: int = VERSION


def prepare(url: str, *, create: bool, role: str | None = None) -> Prepared:
    """Make or upgrade the tables; with ``role``, give it the rights of a daemon.

    Raises:
        LedgerError: the database refuses, or is of a newer version; nothing is changed.

    """
    location = describe_url(url)
    with _connected(url, location) as connection:
        check_encoding(connection, location)
        try:
            before = migrate(connection, create=create)
        except LookupError:
            raise LedgerError(
                location, _NO_LEDGER, "run: triaged ledger init"
            ) from None
        check_version(connection, location)
        if role is not None:
            grant(connection, role)
    return Prepared(location, before)


@contextlib.contextmanager
def _connected(url: str, location: str) -> Iterator[psycopg.Connection[DictRow]]:
    try:
        with connect(url) as connection:
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        problem = error.diag.message_primary or "permission denied"
        raise LedgerError(
            location, problem, "run it as the owner of the database"
        ) from error
    except psycopg.Error as error:
        raise translate(error, location) from error
