"""What `triaged workspaces` says of a workspace, from what its daemon stored."""

import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import T0
from triaged.cli.workspaces import read_rows
from triaged.fleet.workspace import FleetWorkspace, LoadedFleet
from triaged.leadlex.api_key import KeySource
from triaged.ledger import Ledger
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import make_daemon_lock, open_database
from triaged.ledger.state import StateName

FLEET = LoadedFleet(
    workspaces=(
        FleetWorkspace(
            name="a", rules=(), key=KeySource(), key_hash="k", key_name="env A"
        ),
    ),
    rejections=(),
    warnings=(),
    fingerprint="",
)


@pytest.mark.parametrize(
    ("minutes", "state", "error"),
    [
        (15, "working", None),
        (16, "failing", "no cycle has succeeded since 00:00:00Z"),
        (-16, "failing", "no cycle has succeeded since 00:00:00Z"),
    ],
)
def test_a_daemon_that_has_stopped_working(
    tmp_path: Path, minutes: int, state: str, error: str | None
) -> None:
    """It holds its lock, but what it stored last is too old to be true still."""
    place = LedgerLocation(tmp_path)
    saved = {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "ready": True,
        "key_accepted": True,
        "last_ok_at": T0.isoformat(),
        "poll_interval_seconds": 300.0,
        "last_cycle": {"pending": 0},
    }
    with make_daemon_lock(place, workspace="", since=T0):
        with closing(open_database(place)) as database:
            Ledger(database, "a").state.save(StateName.DAEMON, saved, at=T0)
        rows = read_rows(FLEET, place, T0 + timedelta(minutes=minutes))

    assert [(row["state"], row["error"]) for row in rows] == [(state, error)]
