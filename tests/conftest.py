"""What all tests share."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, which the daemon runs on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _fresh_logs() -> Iterator[None]:
    """Let no test inherit how another one set up its logs."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
