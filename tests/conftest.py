"""What all tests share."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests.postgres import PostgresServer, server_or_skip
from triaged.ledger.location import LedgerLocation

# No deadline and no check of speed: they would measure what else the machine does.
hypothesis.settings.register_profile(
    "ordinary",
    deadline=None,
    max_examples=60,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "full", hypothesis.settings.get_profile("ordinary"), max_examples=2_000
)
is_full = os.environ.get("TRIAGED_RELIABILITY") == "full"
hypothesis.settings.load_profile("full" if is_full else "ordinary")


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, which the daemon runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run one PostgreSQL server for all tests of this process."""
    with contextlib.ExitStack() as context:
        yield server_or_skip(context)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerLocation:
    """Return where an empty ledger is, in each store."""
    if request.param == "sqlite":
        return LedgerLocation(tmp_path)
    server: PostgresServer = request.getfixturevalue("postgres")
    return LedgerLocation(tmp_path, server.empty_ledger())


@pytest.fixture(autouse=True)
def _fresh_logs() -> Iterator[None]:
    """Let no test inherit how another one set up its logs."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
