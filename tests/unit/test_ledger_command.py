"""Tests of ``triaged ledger``, and of commands on a ledger in PostgreSQL."""

import sys
from pathlib import Path

import pytest

from tests.e2e.inprocess import CommandLine, FixedClock
from tests.postgres import PostgresServer


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    settings = {"TRIAGED_STATE_DIR": "state"}
    return CommandLine(tmp_path, monkeypatch, FixedClock(), settings)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.url(postgres.new_database(template="template0"), tcp=True)


def test_a_ledger_is_made_and_upgraded(command: CommandLine, url: str) -> None:
    """Each step says what it did, and the second time that nothing was to do."""
    command.settings["TRIAGED_LEDGER_URL"] = url
    said = [
        command.run("ledger", *arguments).out
        for arguments in (
            ("init",),
            ("init", "--grant", "postgres"),
            ("upgrade",),
        )
    ]

    assert said == [
        f"{url}: a ledger of version 1 is ready.\n",
        (
            f"{url}: there is a ledger already, of version 1.\n"
            "The role postgres may read and write its rows.\n"
        ),
        f"{url}: already of version 1.\n",
    ]


def test_a_newer_ledger_is_left_as_it_is(
    command: CommandLine, postgres: PostgresServer
) -> None:
    """An upgrade by an older program says so, and claims no change."""
    name = postgres.new_database()
    command.settings["TRIAGED_LEDGER_URL"] = url = postgres.url(name)
    postgres.run(
        "UPDATE triaged.schema_version SET version = 99, compatible = 1", database=name
    )
    done = command.run("ledger", "upgrade")

    assert done.code == 0
    assert done.out == (
        f"{url}: of version 99, which is newer than this program's version 1;"
        " its tables were not changed.\n"
    )
    assert command.run("ledger", "init").out == (
        f"{url}: there is a ledger already, of version 99.\n"
    )


@pytest.mark.parametrize("arguments", [("ledger", "upgrade"), ("status",), ("pause",)])
def test_nothing_is_made_by_the_way(
    command: CommandLine, url: str, arguments: tuple[str, ...]
) -> None:
    """Without tables each command ends with 1 and says which one makes them."""
    done = command.run(*arguments, "--ledger-url", url)

    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"triaged: {url}: there is no ledger in this database yet;"
        " run: triaged ledger init\n"
    )


def test_a_missing_library_is_named(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra the message says what to install, and nothing else fails."""
    for name in [name for name in sys.modules if name.startswith("triaged.ledger.p")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    done = [
        command.run(*arguments, "--ledger-url", "postgresql://h/t")
        for arguments in (("status",), ("ledger", "init"))
    ]

    assert [each.code for each in done] == [78, 78]
    assert all("pip install 'triaged[postgres]'" in each.err for each in done)
    assert command.run("status").code == 1


def test_a_url_is_needed(command: CommandLine) -> None:
    """Without one the message names the setting."""
    done = command.run("ledger", "init")

    assert done.code == 78
    assert "TRIAGED_LEDGER_URL: say where" in done.err


def test_a_password_is_not_repeated(command: CommandLine) -> None:
    """As a setting, a flag or an argument, it is refused and not shown."""
    url = "postgresql://me:sEcret@h/t"
    command.settings["TRIAGED_LEDGER_URL"] = url
    said = [command.run("ledger", "init"), command.run("status")]
    del command.settings["TRIAGED_LEDGER_URL"]
    said += [
        command.run("status", "--ledger-url", url),
        command.run("ledger", "copy", "state", url),
    ]

    assert [each.code for each in said] == [78, 78, 78, 2]
    assert all("the URL holds a password" in each.err for each in said)
    assert not any("sEcret" in each.out + each.err for each in said)


def test_commands_share_a_ledger_in_postgres(command: CommandLine, url: str) -> None:
    """Pause, veto, status and history read and write there; no file is made."""
    command.settings["TRIAGED_LEDGER_URL"] = url
    command.run("ledger", "init")
    done = [
        command.run("pause", "--note", "lunch"),
        command.run("veto", "task-0001"),
        command.run("veto", "--list"),
        command.run("status"),
        command.run("history"),
        command.run("resume"),
    ]
    backup = command.run("backup", "copy.sqlite3")

    assert [each.code for each in done] == [0, 0, 0, 1, 0, 0]
    assert f"ledger {url}, no daemon runs on it" in done[0].out
    assert "1 vetoed." in done[2].out
    assert "lunch" in done[3].out
    assert backup.code == 2
    assert "back it up with pg_dump" in backup.err
    assert list(command.directory.iterdir()) == []


def test_a_copy_is_counted(command: CommandLine, url: str) -> None:
    """The number of rows of each table, and where they went."""
    command.run("ledger", "init", "--ledger-url", url)
    command.settings["TRIAGED_LEDGER_URL"] = url
    command.run("veto", "task-0001")
    command.run("pause")
    del command.settings["TRIAGED_LEDGER_URL"]
    done = command.run("ledger", "copy", url, "state")
    again = command.run("ledger", "copy", url, "state")

    assert done.code == 0
    assert done.out == (
        "         1  flag\n         1  veto\n"
        f"         2  rows copied from {url} to state, and compared\n"
    )
    assert again.code == 1
    assert "is not empty: it has rows in flag" in again.err
