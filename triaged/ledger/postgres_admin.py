"""Makes and upgrades the tables of a PostgreSQL ledger, with an owner's rights."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql
from psycopg.rows import DictRow

from triaged.errors import LedgerError
from triaged.ledger.location import describe_url
from triaged.ledger.postgres_connection import connect
from triaged.ledger.postgres_errors import translate
from triaged.ledger.postgres_schema import (
    MIGRATIONS,
    TABLES,
    VERSION,
    check_encoding,
    check_ownership,
    check_version,
)

# "triaged" in ASCII: only one process at a time changes the tables. Of the transaction,
# not of the session, so that a pooler cannot hand it to another client.
_ADVISORY_LOCK: Final = 0x74726961676564
_NO_LEDGER: Final = "there is no ledger in this database yet"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A ledger's place, and its versions before and after; 0: there was none.

    It may be newer than ``known``, the version of this program, and is left so.
    """

    location: str
    before: int
    after: int
    known: int = VERSION


def prepare(url: str, *, create: bool, role: str | None = None) -> Prepared:
    """Make or upgrade the tables; with ``role``, give it the rights of a daemon.

    Raises:
        LedgerError: the database refuses, is of a newer version, or another program
            has tables in the schema; nothing is changed.

    """
    location = describe_url(url)
    with _connected(url, location) as connection:
        check_encoding(connection, location)
        check_ownership(connection, location)
        try:
            before = migrate(connection, create=create)
        except LookupError:
            raise LedgerError(
                location, _NO_LEDGER, "run: triaged ledger init"
            ) from None
        after = check_version(connection, location)
        if role is not None:
            grant(connection, role)
    return Prepared(location, before, after)


def migrate(
    connection: psycopg.Connection[DictRow],
    *,
    create: bool,
    migrations: Sequence[tuple[str, int]] = MIGRATIONS,
) -> int:
    """Make the tables, or bring them to this version, in one transaction.

    Returns the version before; 0 if there were none. Daemons of the version before may
    go on meanwhile.

    Raises:
        psycopg.Error: a step failed; nothing was changed.
        LookupError: there are no tables, and ``create`` is not set.

    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_LOCK,))
        before = _version(connection)
        if before == 0:
            if not create:
                raise LookupError("no tables")
            connection.execute("CREATE SCHEMA IF NOT EXISTS triaged")
            connection.execute(
                "CREATE TABLE triaged.schema_version"
                " (version bigint NOT NULL, compatible bigint NOT NULL)"
            )
            connection.execute("INSERT INTO triaged.schema_version VALUES (0, 0)")
        for change, compatible in migrations[before:]:
            connection.execute(change.encode())
            connection.execute(
                "UPDATE triaged.schema_version"
                " SET version = version + 1, compatible = %s",
                (compatible,),
            )
    return before


def grant(connection: psycopg.Connection[DictRow], role: str) -> None:
    """Give a role what a daemon needs and no more: it can neither change nor drop.

    Raises:
        psycopg.Error: there is no such role, or this one may not grant.

    """
    name = sql.Identifier(role)
    tables = sql.SQL(", ").join(
        sql.Identifier("triaged", table) for table in (*TABLES, "lease", "daemon")
    )
    with connection.transaction():
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA triaged TO {}").format(name))
        connection.execute(
            sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(
                tables, name
            )
        )
        connection.execute(
            sql.SQL("GRANT SELECT ON triaged.schema_version TO {}").format(name)
        )


def _version(connection: psycopg.Connection[DictRow]) -> int:
    found = connection.execute(
        "SELECT to_regclass('triaged.schema_version') AS name"
    ).fetchone()
    if found is None or found["name"] is None:
        return 0
    row = connection.execute("SELECT version FROM triaged.schema_version").fetchone()
    return 0 if row is None else int(row["version"])


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
