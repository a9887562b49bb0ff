"""What a command tells while it waits."""

from datetime import timedelta

import pytest

from tests.builders import T0
from triaged.cli.session import Activity, SessionClock
from triaged.clock import SystemClock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SessionClock:
    """Return a clock that shows T0 and whose sleeps take no time."""

    async def slept(_: SystemClock, seconds: float) -> None:
        del seconds

    monkeypatch.setattr(SystemClock, "now", lambda _: T0)
    monkeypatch.setattr(SystemClock, "sleep", slept)
    return SessionClock(Activity())


@pytest.mark.anyio
async def test_a_long_wait_is_explained_and_dated(
    clock: SessionClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The person reads what is waited for, and until when."""
    await clock.sleep(90)

    until = T0 + timedelta(seconds=90)
    assert capsys.readouterr().err == (
        f"triaged: waiting for the quota until {until:%H:%M:%S} UTC (90 s)\n"
    )


@pytest.mark.anyio
async def test_short_waits_are_not_worth_a_word(
    clock: SessionClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a second passes in silence, however often."""
    await clock.sleep(0.5)

    assert capsys.readouterr().err == ""
