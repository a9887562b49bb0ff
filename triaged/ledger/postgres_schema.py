"""The tables of a ledger in PostgreSQL, by version, and how versions may be mixed.

A version only adds, so that daemons of the version before can go on while one after the
other is replaced. ``compatible`` is the oldest version that may still use the tables.
"""

from typing import Final

import psycopg
from psycopg.rows import DictRow

from triaged.errors import LedgerError

# The tables that both stores have, in the order in which they are copied.
TABLES: Final = (
    "workspace",
    "ruleset",
    "decision",
    "dismissal",
    "observation",
    "human_decision",
    "false_positive",
    "rule_change",
    "hold",
    "veto",
    "flag",
    "counter",
    "state",
    "quota",
    "notification",
)

# Sorts by code point, like SQLite and Python, whatever the database's locale is.
_C: Final = 'COLLATE "C"'

# The change of each version to the previous one; never edited after a release.
_V1: Final = f"""
CREATE TABLE triaged.workspace (
    name text {_C} PRIMARY KEY,
    api_url text NOT NULL,
    first_used_at text {_C} NOT NULL
);
CREATE TABLE triaged.ruleset (
    sha256 text {_C} PRIMARY KEY,
    first_used_at text {_C} NOT NULL,
    text text NOT NULL
);
CREATE TABLE triaged.dismissal (
    id text {_C} PRIMARY KEY,
    workspace text {_C} NOT NULL,
    task_id text {_C} NOT NULL,
    rule text {_C},
    reason text {_C} NOT NULL,
    source text NOT NULL,
    cycle text NOT NULL,
    decided_at text {_C} NOT NULL,
    outcome text,
    resolved_at text {_C},
    request_id text,
    detail text,
    rules_sha256 text NOT NULL,
    content_sha256 text NOT NULL,
    task text NOT NULL,
    trace bytea NOT NULL,
    recheck bigint NOT NULL DEFAULT 0
);
CREATE INDEX dismissal_by_task ON triaged.dismissal (workspace, task_id);
CREATE INDEX dismissal_by_time ON triaged.dismissal (workspace, decided_at);
CREATE INDEX dismissal_unresolved ON triaged.dismissal (workspace)
    WHERE outcome IS NULL OR outcome = 'unknown' OR recheck = 1;
CREATE TABLE triaged.decision (
    workspace text {_C} NOT NULL,
    task_id text {_C} NOT NULL,
    decided_at text {_C} NOT NULL,
    cause text,
    rule text {_C},
    reason text {_C},
    observed text NOT NULL,
    duplicate_flags text NOT NULL,
    rules_sha256 text NOT NULL,
    content_sha256 text NOT NULL,
    task text NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace, task_id)
);
CREATE INDEX decision_by_time ON triaged.decision (workspace, decided_at);
CREATE TABLE triaged.hold (
    workspace text {_C} NOT NULL,
    task_id text {_C} NOT NULL,
    rule text {_C} NOT NULL,
    fingerprint text NOT NULL,
    since text {_C} NOT NULL,
    PRIMARY KEY (workspace, task_id, rule)
);
CREATE TABLE triaged.veto (
    workspace text {_C} NOT NULL,
    task_id text {_C} NOT NULL,
    since text {_C} NOT NULL,
    set_by text NOT NULL DEFAULT '',
    PRIMARY KEY (workspace, task_id)
);
CREATE TABLE triaged.flag (
    workspace text {_C} NOT NULL,
    name text {_C} NOT NULL,
    since text {_C} NOT NULL,
    reason text NOT NULL,
    set_by text NOT NULL DEFAULT '',
    PRIMARY KEY (workspace, name)
);
CREATE TABLE triaged.observation (
    workspace text {_C} NOT NULL,
    task_id text {_C} NOT NULL,
    rule text {_C} NOT NULL,
    reason text NOT NULL,
    seen_at text {_C} NOT NULL,
    kind text NOT NULL DEFAULT 'observed',
    rule_sha256 text NOT NULL DEFAULT '',
    PRIMARY KEY (workspace, task_id, rule)
);
CREATE INDEX observation_by_time ON triaged.observation (workspace, seen_at);
CREATE INDEX observation_by_rule ON triaged.observation (workspace, rule, seen_at);
CREATE TABLE triaged.human_decision (
    workspace text {_C} NOT NULL,
    task_id text {_C} NOT NULL,
    decision text,
    lookups bigint NOT NULL,
    recorded_at text {_C} NOT NULL,
    PRIMARY KEY (workspace, task_id)
);
CREATE TABLE triaged.false_positive (
    workspace text {_C} NOT NULL,
    rule text {_C} NOT NULL,
    task_id text {_C} NOT NULL,
    PRIMARY KEY (workspace, rule, task_id)
);
CREATE TABLE triaged.counter (
    workspace text {_C} NOT NULL,
    name text {_C} NOT NULL,
    label text {_C} NOT NULL,
    label2 text {_C} NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (workspace, name, label, label2)
);
CREATE TABLE triaged.quota (
    workspace text {_C} PRIMARY KEY,
    version bigint NOT NULL,
    state text NOT NULL
);
CREATE TABLE triaged.state (
    workspace text {_C} NOT NULL,
    name text {_C} NOT NULL,
    value text NOT NULL,
    saved_at text {_C} NOT NULL,
    PRIMARY KEY (workspace, name)
);
CREATE TABLE triaged.rule_change (
    workspace text {_C} NOT NULL,
    rule text {_C} NOT NULL,
    rule_sha256 text {_C} NOT NULL,
    change text NOT NULL,
    changed_at text {_C} NOT NULL,
    set_by text NOT NULL,
    evidence text NOT NULL,
    PRIMARY KEY (workspace, rule, rule_sha256, changed_at)
);
CREATE INDEX rule_change_by_time ON triaged.rule_change (workspace, changed_at);
CREATE TABLE triaged.notification (
    workspace text {_C} NOT NULL,
    name text {_C} NOT NULL,
    created_at text {_C} NOT NULL,
    attempts bigint NOT NULL,
    outcome text,
    settled_at text {_C},
    PRIMARY KEY (workspace, name)
);
CREATE TABLE triaged.lease (
    workspace text {_C} PRIMARY KEY,
    holder text {_C} NOT NULL DEFAULT '',
    fence bigint NOT NULL DEFAULT 0,
    until timestamptz NOT NULL DEFAULT '-infinity',
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    affinity text {_C} NOT NULL DEFAULT '',
    is_enrolled boolean NOT NULL DEFAULT false
);
CREATE INDEX lease_by_due ON triaged.lease (due_at) WHERE is_enrolled;
CREATE TABLE triaged.daemon (
    name text {_C} PRIMARY KEY,
    workspace text {_C} NOT NULL,
    version text NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    once boolean NOT NULL,
    since timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    config_sha256 text NOT NULL
);
"""
# For each version: its change, and the oldest version that may go on beside it.
MIGRATIONS: Final = ((_V1, 1),)
VERSION: Final = len(MIGRATIONS)

# The tables of a schema that has no table of versions as we make it.
_FOREIGN: Final = """
WITH here AS (
    SELECT c.oid, c.relname AS name FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'triaged' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S'))
SELECT name FROM here WHERE NOT EXISTS (
    SELECT 1 FROM here AS h WHERE h.name = 'schema_version' AND 2 = (
        SELECT count(*) FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = h.oid AND a.attname IN ('version', 'compatible')
        AND a.atttypid = 'pg_catalog.int8'::regtype))
ORDER BY name LIMIT 1
"""


def check_version(
    connection: psycopg.Connection[DictRow], location: str, *, known: int = VERSION
) -> int:
    """Return the version of the tables; raise unless this program may use them.

    Raises:
        LedgerError: they are missing, too old or too new, or of another program, or
            texts are not Unicode.

    """
    check_encoding(connection, location)
    check_ownership(connection, location)
    try:
        row = connection.execute(
            "SELECT version, compatible FROM triaged.schema_version"
        ).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        row = None
    if row is None:
        raise LedgerError(
            location,
            "there is no ledger in this database yet",
            "run: triaged ledger init",
        )
    version, compatible = row["version"], row["compatible"]
    if compatible > known:
        raise LedgerError(
            location,
            f"is of version {version}, for programs of version {compatible} or newer;"
            f" this triaged knows version {known}",
            "use the triaged that wrote it, or a newer one",
        )
    if version < known:
        raise LedgerError(
            location,
            f"is of version {version}; this triaged needs version {known}",
            "run: triaged ledger upgrade",
        )
    return int(version)


def check_encoding(connection: psycopg.Connection[DictRow], location: str) -> None:
    """Check that the database can hold every text.

    Raises:
        LedgerError: its texts are not Unicode.

    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise LedgerError(
            location,
            f"the database stores texts as {encoding}, which cannot hold every task",
            "create it with ENCODING 'UTF8'",
        )


def check_ownership(connection: psycopg.Connection[DictRow], location: str) -> None:
    """Check that the schema ``triaged`` is missing, empty, or holds a ledger.

    Raises:
        LedgerError: another program has its tables there.

    """
    found = connection.execute(_FOREIGN).fetchone()
    if found is not None:
        raise LedgerError(
            location,
            f"its schema triaged holds tables of another program ({found['name']});"
            " nothing was changed",
            "give a database whose schema triaged is empty or missing",
        )
