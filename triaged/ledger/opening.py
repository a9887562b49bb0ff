"""The one place that picks the store: SQLite, or PostgreSQL where there is a URL."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from triaged.clock import Clock
from triaged.errors import AlreadyRunning, ConfigError
from triaged.ledger.daemon_records import DaemonRecord, ServingDaemons
from triaged.ledger.database import BUSY_SECONDS, Database
from triaged.ledger.location import LedgerLocation
from triaged.ledger.locks import (
    DISPATCH_LOCK,
    DaemonLock,
    DispatchLock,
    FileDaemonLock,
    FileDispatchLock,
    FileLock,
    LockOwner,
)
from triaged.ledger.sqlite import ReadOnlySqliteDatabase, SqliteDatabase

if TYPE_CHECKING:
    from triaged.ledger.postgres import PostgresDatabase
    from triaged.ledger.postgres_admin import Prepared

_shared: ContextVar[dict[tuple[LedgerLocation, float], Database] | None] = ContextVar(
    "shared", default=None
)


def open_database(
    place: Path | LedgerLocation,
    *,
    create: bool = True,
    busy_seconds: float = BUSY_SECONDS,
) -> Database:
    """Open the database of a ledger; with ``create``, make a missing SQLite file.

    The tables of a PostgreSQL ledger are made by ``triaged ledger init`` only.

    Raises:
        LedgerBusy: another process wrote for longer than ``busy_seconds``.
        LedgerError: it cannot be opened; the message tells what to do.
        ConfigError: the library for PostgreSQL is not installed.

    """
    location = _location(place)
    shared = _shared.get()
    if shared is not None and (location, busy_seconds) in shared:
        return shared[location, busy_seconds]
    opened: Database
    if location.url is not None:
        opened = _postgres(location.url, busy_seconds)
    else:
        directory = location.directory
        opened = SqliteDatabase(directory, create=create, busy_seconds=busy_seconds)
    if shared is not None:
        shared[location, busy_seconds] = opened
    return opened


def close_database(database: Database) -> None:
    """Close what ``open_database`` returned, unless it is shared."""
    if database not in (_shared.get() or {}).values():
        database.close()


@contextlib.contextmanager
def shared_databases() -> Iterator[None]:
    """Open each database only once in the body, for commands on many workspaces.

    Opening one takes longer than most of what is asked of it.
    """
    shared: dict[tuple[LedgerLocation, float], Database] = {}
    token = _shared.set(shared)
    try:
        yield
    finally:
        _shared.reset(token)
        for database in shared.values():
            database.close()


def open_read_only(place: Path | LedgerLocation) -> Database:
    """Open a database for reading only, beside the connection that writes.

    Raises:
        LedgerError: it cannot be opened.
        ConfigError: the library for PostgreSQL is not installed.

    """
    location = _location(place)
    if location.url is not None:
        return _postgres(location.url, BUSY_SECONDS)
    return ReadOnlySqliteDatabase(location.directory)


def make_daemon_lock(
    place: Path | LedgerLocation,
    *,
    workspace: str,
    since: datetime,
    once: bool = False,
) -> DaemonLock:
    """Return what a daemon or a ``run --once`` holds for as long as it runs.

    For a SQLite ledger it excludes a second daemon. Daemons on a PostgreSQL ledger
    share the work by leases, so there it only registers the process.
    """
    location = _location(place)
    if location.url is None:
        return FileDaemonLock(
            location.directory, workspace=workspace, since=since, once=once
        )
    from triaged.ledger.daemons import RegisteredDaemon  # noqa: PLC0415 - rare

    return RegisteredDaemon(
        location.url, _postgres, workspace=workspace, since=since, once=once
    )


def make_dispatch_lock(
    database: Database, workspace: str, clock: Clock, on_wait: Callable[[str], None]
) -> DispatchLock:
    """Return the lock to hold while dismissals of a workspace are sent.

    A file in the state directory, or the lease of the workspace.
    """
    if isinstance(database, SqliteDatabase):
        directory = database.path.parent
        return FileDispatchLock(directory, clock, workspace=workspace, on_wait=on_wait)
    from triaged.ledger.lease_lock import LeaseDispatchLock  # noqa: PLC0415 - rare
    from triaged.ledger.leases import Leases, new_holder  # noqa: PLC0415 - rare

    # The only other store; asking for its type would load its library.
    shared = cast("PostgresDatabase", database)
    leases = Leases(shared, new_holder())
    return LeaseDispatchLock(shared, leases, workspace, clock, on_wait=on_wait)


def daemon_owner(place: Path | LedgerLocation, workspace: str) -> LockOwner | None:
    """Return the daemon that serves a workspace of this ledger, or None.

    Raises:
        LedgerError: the database cannot be asked.

    """
    location = _location(place)
    if location.url is None:
        return FileDaemonLock.owner(location.directory)
    from triaged.ledger.daemons import find_owner  # noqa: PLC0415 - rare

    # The only other store; asking for its type would load its library.
    database = cast("PostgresDatabase", open_database(location))
    try:
        return find_owner(database, workspace)
    finally:
        close_database(database)


def daemons_of(place: LedgerLocation) -> list[DaemonRecord]:
    """Return the daemons of a ledger; on a state directory the only one, or none.

    Raises:
        LedgerError: the database cannot be asked.

    """
    if place.url is None:
        owner = FileDaemonLock.owner(place.directory)
        if owner is None or owner.once:
            return []
        return [
            DaemonRecord(
                name=f"{owner.host}:{owner.pid}",
                workspace=owner.workspace,
                host=owner.host,
                pid=owner.pid,
                is_alive=True,
                version=owner.version,
                since=owner.since,
            )
        ]
    from triaged.ledger.daemons import list_daemons  # noqa: PLC0415 - rare

    with contextlib.closing(_postgres(place.url, BUSY_SECONDS)) as database:
        return list_daemons(database)


def serving_daemons(place: LedgerLocation) -> ServingDaemons:
    """Return which daemons serve a ledger now, and which workspaces they have.

    Raises:
        LedgerError: the database cannot be asked.

    """
    if place.url is None:
        owner = FileDaemonLock.owner(place.directory)
        alive = frozenset({(owner.host, owner.pid)} if owner else ())
        return ServingDaemons(alive=alive, holders={})
    from triaged.ledger.daemons import find_serving  # noqa: PLC0415 - rare

    with contextlib.closing(_postgres(place.url, BUSY_SECONDS)) as database:
        return find_serving(database)


@contextlib.contextmanager
def exclude_daemons(place: LedgerLocation, *, now: datetime) -> Iterator[None]:
    """Run the body while no process dismisses; none can begin on a SQLite ledger.

    Raises:
        AlreadyRunning: a daemon runs, or a command dismisses.
        LedgerError: the database cannot be asked.

    """
    if place.url is None:
        with (
            make_daemon_lock(place, workspace="", since=now, once=True),
            contextlib.ExitStack() as held,
        ):
            for path in place.directory.glob(DISPATCH_LOCK.format("*")):
                lock = FileLock(path)
                if not lock.acquire():
                    raise AlreadyRunning(
                        str(place), str(lock.owner() or "another process")
                    )
                held.callback(lock.release)
            yield
        return
    from triaged.ledger.daemons import list_daemons  # noqa: PLC0415 - rare

    with contextlib.closing(_postgres(place.url, BUSY_SECONDS)) as database:
        alive = [found for found in list_daemons(database) if found.is_alive]
        lease = database.row(
            "SELECT holder FROM lease WHERE until > clock_timestamp() LIMIT 1"
        )
    if alive:
        who = f"process {alive[0].pid} on {alive[0].host}"
        raise AlreadyRunning(str(place), who)
    if lease is not None:
        raise AlreadyRunning(str(place), str(lease["holder"]))
    yield


def served_workspace(place: Path | LedgerLocation) -> str | None:
    """Return the only workspace that can be served here now; None: any.

    A daemon on a SQLite ledger serves the workspace that its lock names, which is empty
    for a fleet.
    """
    location = _location(place)
    if location.url is not None:
        return None
    owner = FileDaemonLock.owner(location.directory)
    # Without a process id, the lock has not been written yet.
    return owner.workspace if owner and owner.pid else None


def prepare_postgres(url: str, *, create: bool, role: str | None) -> "Prepared":
    """Make or upgrade the tables of a PostgreSQL ledger, and grant a role its rights.

    Raises:
        LedgerError: the database refuses; nothing is changed.
        ConfigError: the library for PostgreSQL is not installed.

    """
    with _explaining_missing_library():
        from triaged.ledger.postgres_admin import prepare  # noqa: PLC0415 - rare

    return prepare(url, create=create, role=role)


def _location(place: Path | LedgerLocation) -> LedgerLocation:
    return place if isinstance(place, LedgerLocation) else LedgerLocation(place)


def _postgres(url: str, busy_seconds: float) -> "PostgresDatabase":
    with _explaining_missing_library():
        # Imported only when used: it takes as long as everything else.
        from triaged.ledger.postgres import PostgresDatabase  # noqa: PLC0415

    return PostgresDatabase(url, busy_seconds=busy_seconds)


@contextlib.contextmanager
def _explaining_missing_library() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigError.of_setting(
            "TRIAGED_LEDGER_URL",
            "a PostgreSQL ledger needs the extra: pip install 'triaged[postgres]'"
            f" ({error})",
        ) from error
