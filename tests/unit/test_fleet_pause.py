"""The stop of a whole fleet: one row that every dismissal of every workspace reads."""

from pathlib import Path

import pytest

from tests.builders import T0
from tests.fakes import TriageHarness
from triaged.ledger import Ledger
from triaged.ledger.flags import WHOLE_FLEET, FlagName

pytestmark = pytest.mark.anyio


def stop_all(directory: Path) -> None:
    """Pause the fleet from another process's connection, as the command does."""
    with Ledger.open(directory, workspace=WHOLE_FLEET) as ledger:
        ledger.flags.set(FlagName.PAUSED, reason="fire", by="ann", at=T0)


async def test_it_acts_before_the_next_dismissal(tmp_path: Path) -> None:
    """What was sent before is finished; nothing is sent after, in any workspace."""
    harness = TriageHarness(tmp_path)
    harness.leadlex.add(*(f"t{number}" for number in range(9)))
    sent: list[str] = []

    def stop_after_three() -> None:
        sent.append("dismissal")
        if len(sent) == 3:
            stop_all(tmp_path)

    harness.leadlex.before_dismiss = stop_after_three
    await harness.cycle()
    later = await harness.cycle()

    assert len(sent) == len(harness.leadlex.dismissed) == 3
    assert later.attempts == ()


def test_it_is_a_pause_of_each_workspace(tmp_path: Path) -> None:
    """Also of one that the ledger has not seen; ending it ends no pause of its own."""
    stop_all(tmp_path)
    with (
        Ledger.open(tmp_path, workspace="new") as new,
        Ledger.open(tmp_path, workspace=WHOLE_FLEET) as fleet,
    ):
        seen = new.flags.get(FlagName.PAUSED)
        is_new = new.flags.set(FlagName.PAUSED, reason="mine", by="bob", at=T0)
        own = new.flags.get(FlagName.PAUSED)
        flags = fleet.fleet_views().flags()
        cleared = fleet.flags.clear(FlagName.PAUSED)

        assert seen is not None
        assert (seen.reason, seen.set_by, seen.is_of_fleet) == ("fire", "ann", True)
        assert is_new
        assert own is not None
        assert (own.reason, own.is_of_fleet) == ("mine", False)
        assert flags.is_all_paused
        assert flags.paused == {"new"}
        assert flags.is_paused("other")
        assert cleared
        assert new.flags.get(FlagName.PAUSED) == own
        assert fleet.flags.get(FlagName.PAUSED) is None
