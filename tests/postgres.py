"""A real PostgreSQL server that the tests start, use and end themselves."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest

from triaged.ledger.postgres_admin import migrate
from triaged.ledger.postgres_schema import TABLES

# In CI a missing server is a failure, elsewhere a reason to skip.
REQUIRED: Final = "REQUIRE_POSTGRES"
_TEMPLATE: Final = "ledger_template"
_START_SECONDS: Final = 60.0
_SETTINGS: Final = {
    "fsync": "off",  # no test cuts the power
    "max_connections": "60",
    "shared_buffers": "16MB",
    "autovacuum": "off",
    "max_wal_size": "64MB",
}


def binaries() -> Path | None:
    """Return the directory with ``initdb`` and ``postgres``, or None."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda path: float(path.parts[-3])).parent
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else None


@dataclass
class PostgresServer:
    """A server on a socket in a directory of its own, and on a port of loopback."""

    directory: Path
    bin: Path
    user: str
    port: int
    settings: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    _made: int = 0
    _shared: str = ""

    def start(self) -> None:
        """Start it, or start it again with its data, and wait until it answers."""
        options = [
            word
            for key, value in self.settings.items()
            for word in ("-c", f"{key}={value}")
        ]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.bin / "postgres",
                    *("-D", self.directory / "data"),
                    *("-k", self.directory, "-h", "127.0.0.1", "-p", str(self.port)),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                user=self._run_as(),
            )
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise
                time.sleep(0.02)  # noqa: TID251 - another process starts
            else:
                return

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it: SIGINT at once, SIGQUIT as a crash does."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(_START_SECONDS)
            self.process = None

    @contextlib.contextmanager
    def away(self, number: int = signal.SIGQUIT) -> Iterator[None]:
        """End it while the block lasts; with SIGQUIT it has to recover afterwards."""
        self.stop(number)
        try:
            yield
        finally:
            self.start()

    def url(self, database: str, *, user: str = "postgres", tcp: bool = False) -> str:
        """Return the URL of a database, by the socket unless told otherwise."""
        if tcp:
            return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{user}@/{database}?host={self.directory}&port={self.port}"

    def new_database(self, *, template: str = _TEMPLATE, encoding: str = "") -> str:
        """Make a database, with an empty ledger in it by default; return its name."""
        self._made += 1
        name = f"test_{self._made}"
        kind = f" ENCODING '{encoding}' LOCALE 'C'" if encoding else ""
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}{kind}")
        return name

    def empty_ledger(self) -> str:
        """Return the URL of a ledger without rows: quicker than a database a test."""
        if not self._shared:
            self._shared = self.new_database()
        tables = (*TABLES, "lease", "daemon")
        self.run(
            "; ".join(f"DELETE FROM triaged.{table}" for table in tables),  # noqa: S608 - names of ours
            database=self._shared,
        )
        return self.url(self._shared)

    def run(self, statement: str, *, database: str = "postgres") -> None:
        """Run a statement as the server's owner."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run_as(self) -> str | None:
        return self.user if os.geteuid() == 0 else None


@contextlib.contextmanager
def running_server(**settings: str) -> Iterator[PostgresServer]:
    """Run a server with a template of a ledger, and end it.

    ``settings`` replace those that are for tests only.

    Raises:
        LookupError: there is no PostgreSQL on this machine, or no user to run it.

    """
    found = binaries()
    if found is None:
        raise LookupError("PostgreSQL is not installed (Debian: postgresql)")
    user = _user()
    # Not pytest's directory: that is closed to the user whom the server runs as.
    directory = Path(tempfile.mkdtemp(prefix="triaged-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, user)
        server = PostgresServer(
            directory, found, user, _free_port(), {**_SETTINGS, **settings}
        )
        _make_cluster(server)
        server.start()
        try:
            server.run(
                f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0 ENCODING 'UTF8'"
            )
            with psycopg.connect(
                server.url(_TEMPLATE),
                autocommit=True,
                row_factory=psycopg.rows.dict_row,
            ) as connection:
                migrate(connection, create=True)
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def server_or_skip(context: contextlib.ExitStack) -> PostgresServer:
    """Start a server for the context, or skip the test with a reason."""
    try:
        return context.enter_context(running_server())
    except LookupError as error:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{error}, and {REQUIRED} is set")
        pytest.skip(str(error))


def _make_cluster(server: PostgresServer) -> None:
    subprocess.run(
        [
            server.bin / "initdb",
            *("-D", server.directory / "data", "-U", "postgres"),
            *("-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=server.directory,
        user=server.user if os.geteuid() == 0 else None,
    )


def _user() -> str:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise LookupError("PostgreSQL does not run as root, and there is no other user")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
