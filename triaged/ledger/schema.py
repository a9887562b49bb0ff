"""The tables of the ledger, version by version, and the way from each to the newest."""

import contextlib
import sqlite3
from typing import Final

# Each version's change to the one before; never edited once it was released.
_SCHEMA: Final = """
CREATE TABLE dismissal (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    rule TEXT,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    cycle TEXT NOT NULL,
    decided_at TEXT NOT NULL,
    outcome TEXT,
    settled_at TEXT,
    request_id TEXT,
    detail TEXT,
    rules_sha256 TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    task TEXT NOT NULL,
    trace BLOB NOT NULL
);
CREATE INDEX dismissal_by_task ON dismissal (workspace, task_id);
CREATE INDEX dismissal_by_time ON dismissal (workspace, decided_at);
CREATE INDEX dismissal_open ON dismissal (workspace)
    WHERE outcome IS NULL OR outcome = 'unknown';
CREATE TABLE decision (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    decided_at TEXT NOT NULL,
    cause TEXT,
    rule TEXT,
    reason TEXT,
    observed TEXT NOT NULL,
    copies TEXT NOT NULL,
    rules_sha256 TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    task TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id)
);
CREATE TABLE ruleset (
    sha256 TEXT PRIMARY KEY,
    first_used_at TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE TABLE hold (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id, rule)
);
CREATE TABLE veto (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id)
);
CREATE TABLE mark (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    since TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (workspace, name)
);
CREATE TABLE observation (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    reason TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id, rule)
);
CREATE TABLE tally (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    label2 TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (workspace, name, label, label2)
);
CREATE TABLE quota (
    workspace TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    state TEXT NOT NULL
);
"""
_V2: Final = """
CREATE TABLE word (
    workspace TEXT NOT NULL,
    task_id TEXT NOT NULL,
    word TEXT,
    asked INTEGER NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id)
);
"""
MIGRATIONS: Final = (_SCHEMA, _V2)
VERSION: Final = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an older ledger up to date, whole or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it while this one waited.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for change in MIGRATIONS[version:]:
            for statement in filter(str.strip, change.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            # A full disk has rolled back already.
            connection.execute("ROLLBACK")
        raise
