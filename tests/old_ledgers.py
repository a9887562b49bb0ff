"""Ledgers of older versions, as text in ``reliability``, and what is in a ledger."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from triaged.ledger.database import FILE

_TEXTS: Final = Path(__file__).parent / "reliability"


def write_old(directory: Path, version: int) -> Path:
    """Make the ledger that a triaged of that version left behind."""
    path = directory / FILE
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript((_TEXTS / f"ledger_v{version}.sql").read_text())
    return path


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows by table, without any of our code."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall()
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()  # noqa: S608
            for (name,) in tables
        }


def schema(path: Path) -> tuple[int, set[tuple[str, str, str]]]:
    """Return the version and everything that is defined."""
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        defined = connection.execute("SELECT type, name, sql FROM sqlite_master")
        return version, {(t, n, " ".join((sql or "").split())) for t, n, sql in defined}
