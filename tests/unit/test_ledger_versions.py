"""Tests of ledgers that an older triaged wrote: brought up to date, with every row."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.builders import T0
from tests.fixtures.ledgers import contents, schema, write_old
from triaged.errors import LedgerError
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, Outcome
from triaged.ledger.flags import FlagName
from triaged.ledger.holds import Hold
from triaged.ledger.location import FILE
from triaged.ledger.schema import VERSION
from triaged.ledger.sqlite import SqliteDatabase
from triaged.ledger.state import StateName

OLD_TRACE_KEYS: Final = {"what", "truth", "wanted", "seen", "parts", "acted", "nearest"}

OPEN: Final = """
import sys
from pathlib import Path
from triaged.ledger.sqlite import SqliteDatabase
SqliteDatabase(Path(sys.argv[1])).close()
"""


@pytest.fixture(params=range(1, VERSION))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_old(tmp_path, request.param)


def test_every_row_is_kept(old: Path) -> None:
    """An older ledger keeps all that it held, under the names of today."""
    before = contents(old)
    SqliteDatabase(old.parent).close()
    after = contents(old)

    renamed = {"mark": "flag", "word": "human_decision"}
    for table in before.keys() - {"tally", "mark"}:
        assert len(after[renamed.get(table, table)]) == len(before[table]) > 0
    moved = len(after["false_positive"]) + len(after["counter"])
    assert moved == len(before["tally"])
    assert len(after["flag"]) + len(after["state"]) == len(before["mark"])


def test_a_stored_trace_says_the_same_in_the_words_of_today(old: Path) -> None:
    """Explanations that were stored with older keys are read with the present ones."""
    with Ledger.open(old.parent) as ledger:
        (record,) = ledger.dismissals.query(DismissalFilter(task_id="confirmed"))
    keys = set(re.findall(r'"([a-z_]+)":', json.dumps(record.trace)))

    assert keys.isdisjoint(OLD_TRACE_KEYS)


def test_what_version_2_knew_is_known(tmp_path: Path) -> None:
    """What people decided, false positives and the review's place are read again."""
    write_old(tmp_path, 2)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.feedback.false_positives() == {("watch", "seen")}
        assert ledger.flags.get(FlagName.FEEDBACK_REFRESHED) is not None
        assert ledger.state.load(StateName.REVIEW_POSITION) == "task-9"


def test_it_ends_as_a_new_one_is_made(old: Path, tmp_path: Path) -> None:
    """An older ledger brought up to date is defined as one that is made today."""
    SqliteDatabase(old.parent).close()
    SqliteDatabase(tmp_path / "new").close()

    assert schema(old) == schema(tmp_path / "new" / FILE)
    assert schema(old)[0] == VERSION


def test_what_version_1_knew_is_known(tmp_path: Path) -> None:
    """Every room of the ledger reads what version 1 wrote."""
    write_old(tmp_path, 1)
    with Ledger.open(tmp_path) as ledger:
        ends = {
            e.task_id: e.outcome for e in ledger.dismissals.query(DismissalFilter())
        }
        unsettled = {entry.task_id for entry in ledger.dismissals.unresolved()}
        flags, judgements = ledger.flags, ledger.decisions

        assert ends == {
            "confirmed": Outcome.CONFIRMED,
            "handled": Outcome.ALREADY_HANDLED,
            "gone": Outcome.GONE,
            "rejected": Outcome.REJECTED,
            "failed": Outcome.FAILED,
            "unknown": Outcome.UNKNOWN,
            "intended": None,
        }
        assert unsettled == {"unknown", "intended"}
        assert ledger.counters.values("dismissals") == {("clutter", "testing"): 1}
        assert ledger.vetoes.task_ids() == {"kept"}
        assert flags.get(FlagName.PAUSED) is not None
        assert ledger.state.load_quota(unless_version=0) == (7, {"format": 2})
        assert ledger.holds.all() == {Hold("held", "slow", "print"): T0}
        assert judgements.latest("left") is not None


def test_a_step_that_fails_leaves_the_old_one(old: Path) -> None:
    """What cannot be brought up to date stays as it was, and says why."""
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE human_decision (x, y)")
    before = contents(old), schema(old)
    with pytest.raises(LedgerError, match="human_decision"):
        SqliteDatabase(old.parent)

    assert (contents(old), schema(old)) == before


def test_two_processes_bring_one_up_to_date(old: Path) -> None:
    """A daemon and a command that meet an older ledger at once both get through."""
    openers = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(old.parent)])
        for _ in range(2)
    ]
    codes = [opener.wait(60) for opener in openers]

    assert codes == [0, 0]
    assert schema(old)[0] == VERSION


def test_one_killed_before_its_wal_was_written_back(tmp_path: Path) -> None:
    """What an older triaged left in the write-ahead log is part of what is kept."""
    path = write_old(tmp_path, 1)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO veto VALUES ('default', 'late', 'now')")
        connection.commit()
        for each in tmp_path.glob(f"{FILE}*"):
            shutil.copy(each, crashed)
    with Ledger.open(crashed) as ledger:
        vetoed = ledger.vetoes.task_ids()

    assert vetoed == {"kept", "late"}
