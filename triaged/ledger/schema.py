"""The tables of the ledger, by version, and the migrations between versions."""

import contextlib
import json
import sqlite3
import zlib
from dataclasses import dataclass
from typing import Any, Final

# The change of each version to the previous one; never edited after a release.
_V1: Final = """
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
# Renames to standard terms. New: the author of a flag or veto, the API of a workspace,
# and failed calls that may still turn out to have taken effect.
_V3: Final = """
ALTER TABLE dismissal RENAME COLUMN settled_at TO resolved_at;
ALTER TABLE dismissal ADD COLUMN recheck INTEGER NOT NULL DEFAULT 0;
UPDATE dismissal SET trace = rename_trace_keys(trace);
DROP INDEX dismissal_open;
CREATE INDEX dismissal_unresolved ON dismissal (workspace)
    WHERE outcome IS NULL OR outcome = 'unknown' OR recheck = 1;
ALTER TABLE decision RENAME COLUMN copies TO duplicate_flags;
ALTER TABLE decision ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE decision SET bytes = LENGTH(task);
CREATE INDEX decision_by_time ON decision (workspace, decided_at);
CREATE INDEX observation_by_time ON observation (workspace, seen_at);
ALTER TABLE word RENAME TO human_decision;
ALTER TABLE human_decision RENAME COLUMN word TO decision;
ALTER TABLE human_decision RENAME COLUMN asked TO lookups;
ALTER TABLE human_decision RENAME COLUMN at TO recorded_at;
ALTER TABLE mark RENAME TO flag;
ALTER TABLE flag RENAME COLUMN note TO reason;
ALTER TABLE flag ADD COLUMN set_by TEXT NOT NULL DEFAULT '';
UPDATE flag SET name = 'feedback_refreshed' WHERE name = 'people_asked';
ALTER TABLE veto ADD COLUMN set_by TEXT NOT NULL DEFAULT '';
ALTER TABLE tally RENAME TO counter;
ALTER TABLE counter RENAME COLUMN count TO value;
CREATE TABLE false_positive (
    workspace TEXT NOT NULL,
    rule TEXT NOT NULL,
    task_id TEXT NOT NULL,
    PRIMARY KEY (workspace, rule, task_id)
);
INSERT INTO false_positive (workspace, rule, task_id)
    SELECT workspace, label, label2 FROM counter WHERE name = 'counterexamples';
DELETE FROM counter WHERE name = 'counterexamples';
CREATE TABLE state (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    saved_at TEXT NOT NULL,
    PRIMARY KEY (workspace, name)
);
INSERT INTO state (workspace, name, value, saved_at)
    SELECT workspace, 'review_position', '"' || reason || '"', since FROM flag
    WHERE name = 'review' AND reason NOT LIKE '%"%' AND reason NOT LIKE '%\\%';
DELETE FROM flag WHERE name = 'review';
CREATE TABLE workspace (
    name TEXT PRIMARY KEY,
    api_url TEXT NOT NULL,
    first_used_at TEXT NOT NULL
);
ALTER TABLE observation ADD COLUMN kind TEXT NOT NULL DEFAULT 'observed';
ALTER TABLE observation ADD COLUMN rule_sha256 TEXT NOT NULL DEFAULT '';
CREATE INDEX observation_by_rule ON observation (workspace, rule, seen_at);
CREATE TABLE rule_change (
    workspace TEXT NOT NULL,
    rule TEXT NOT NULL,
    rule_sha256 TEXT NOT NULL,
    change TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    set_by TEXT NOT NULL,
    evidence TEXT NOT NULL,
    PRIMARY KEY (workspace, rule, rule_sha256, changed_at)
);
CREATE INDEX rule_change_by_time ON rule_change (workspace, changed_at);
CREATE TABLE notification (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    outcome TEXT,
    settled_at TEXT,
    PRIMARY KEY (workspace, name)
);
"""
MIGRATIONS: Final = (_V1, _V2, _V3)
VERSION: Final = len(MIGRATIONS)

_TRACE_KEYS: Final = {
    "what": "condition",
    "truth": "result",
    "wanted": "expected",
    "seen": "actual",
    "parts": "children",
    "reached": "evaluated",
    "acted": "applied",
    "wants": "action",
    "nearest": "closest_rule",
}


def migrate(connection: sqlite3.Connection, *, target: int = VERSION) -> None:
    """Migrate an older ledger or an empty file to a version, atomically.

    Raises:
        sqlite3.Error: a step failed; the ledger is unchanged.
    """
    connection.create_function("rename_trace_keys", 1, _rename_trace_keys)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated it while this one waited for the lock.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for migration in MIGRATIONS[version:target]:
            for statement in filter(str.strip, migration.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={target}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            # On a full disk SQLite has already rolled back.
            connection.execute("ROLLBACK")
        raise


@dataclass(frozen=True, slots=True)
class TableShape:
    """The columns of a table, and those of its primary key in order."""

    columns: tuple[str, ...]
    key: tuple[str, ...]


def table_shapes() -> dict[str, TableShape]:
    """Return the tables of the current version, which each store has, by name."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migrate(fresh)
        names = fresh.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall()
        shapes = {}
        for (table,) in names:
            info = fresh.execute(f"PRAGMA table_info({table})").fetchall()
            key = sorted((row[5], row[1]) for row in info if row[5])
            shapes[table] = TableShape(
                columns=tuple(row[1] for row in info),
                key=tuple(name for _, name in key),
            )
        return shapes


def _rename_trace_keys(trace: bytes) -> bytes:
    try:
        document = json.loads(zlib.decompress(trace))
    except (ValueError, TypeError, zlib.error):
        return trace  # already damaged; reading it will report that
    return zlib.compress(json.dumps(_renamed(document), ensure_ascii=False).encode())


def _renamed(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {_TRACE_KEYS.get(k, k): _renamed(v) for k, v in value.items()}
    return [_renamed(item) for item in value] if isinstance(value, list) else value
