"""Tests of the tables in PostgreSQL: as in SQLite, made once, mixed while rolling."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from tests.builders import T0
from tests.postgres import PostgresServer
from triaged.errors import LedgerError
from triaged.ledger import Ledger
from triaged.ledger.postgres import PostgresDatabase
from triaged.ledger.postgres_admin import migrate, prepare
from triaged.ledger.postgres_schema import MIGRATIONS, TABLES
from triaged.ledger.schema import table_shapes


def empty_database(server: PostgresServer) -> str:
    return server.url(server.new_database(template="template0"))


def connect(url: str) -> psycopg.Connection[DictRow]:
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


def test_both_stores_have_the_same_tables(postgres: PostgresServer) -> None:
    """A table, column or key of one store that the other lacks would be lost."""
    with connect(postgres.empty_ledger()) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'triaged'"
        ).fetchall()
        keys = connection.execute(
            "SELECT k.table_name, k.column_name"
            " FROM information_schema.key_column_usage k"
            " WHERE k.table_schema = 'triaged' ORDER BY k.ordinal_position"
        ).fetchall()
    shapes = table_shapes()

    assert set(TABLES) == set(shapes)
    for table, shape in shapes.items():
        assert {r["column_name"] for r in columns if r["table_name"] == table} == set(
            shape.columns
        )
        assert tuple(r["column_name"] for r in keys if r["table_name"] == table) == (
            shape.key
        )


def test_texts_sort_by_code_point(postgres: PostgresServer) -> None:
    """Whatever the locale: times, ids and keys sort as in SQLite and Python."""
    sorted_columns = {
        (table, column)
        for table, shape in table_shapes().items()
        for column in shape.columns
        if column in shape.key
        or column.endswith("_at")
        or column in {"since", "task_id"}
    }
    with connect(postgres.empty_ledger()) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, collation_name"
            " FROM information_schema.columns"
            " WHERE table_schema = 'triaged' AND data_type = 'text'"
        ).fetchall()
    found = {(r["table_name"], r["column_name"]): r["collation_name"] for r in rows}

    assert {key: found[key] for key in sorted_columns} == dict.fromkeys(
        sorted_columns, "C"
    )


def test_tables_are_made_once(postgres: PostgresServer) -> None:
    """Who comes second, even at the same moment, finds them and changes nothing."""
    url = empty_database(postgres)
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: prepare(url, create=True), range(4)))
    again = prepare(url, create=True)

    assert sorted(each.before for each in done) == [0, 1, 1, 1]
    assert (again.before, again.after) == (1, 1)
    with Ledger(PostgresDatabase(url)) as ledger:
        assert ledger.vetoes.all() == []
        ledger._database.close()  # noqa: SLF001 - its own


def test_what_is_missing_is_not_made_by_the_way(postgres: PostgresServer) -> None:
    """Only init makes tables: a daemon at the wrong database finds no empty ledger."""
    url = empty_database(postgres)
    for attempt in (
        lambda: PostgresDatabase(url),
        lambda: prepare(url, create=False),
    ):
        with pytest.raises(LedgerError, match="no ledger in this database") as raised:
            attempt()

        assert raised.value.hint == "run: triaged ledger init"


@pytest.mark.parametrize(
    ("version", "compatible", "problem"),
    [
        (2, 1, None),
        (9, 1, None),
        (2, 2, "for programs of version 2 or newer; this triaged knows version 1"),
        (0, 0, "is of version 0; this triaged needs version 1"),
    ],
)
def test_versions_that_go_together(
    postgres: PostgresServer, version: int, compatible: int, problem: str | None
) -> None:
    """Newer tables are used as long as they say so, and older ones never."""
    url = postgres.url(name := postgres.new_database())
    postgres.run(
        f"UPDATE triaged.schema_version SET version = {version},"  # noqa: S608 - numbers
        f" compatible = {compatible}",
        database=name,
    )
    if problem is None:
        PostgresDatabase(url).close()
        return
    with pytest.raises(LedgerError, match=problem):
        PostgresDatabase(url)


def test_an_upgrade_beside_a_running_daemon(postgres: PostgresServer) -> None:
    """A daemon of the version before goes on while and after the tables grow."""
    url = postgres.url(postgres.new_database())
    change = "ALTER TABLE triaged.veto ADD COLUMN why text NOT NULL DEFAULT ''"
    database = PostgresDatabase(url)
    old = Ledger(database, "a", on_close=database.close)
    old.vetoes.add("before", at=T0)
    with connect(url) as owner:
        before = migrate(owner, create=False, migrations=(*MIGRATIONS, (change, 1)))
    old.vetoes.add("after", at=T0)
    old.close()

    assert before == 1
    PostgresDatabase(url).close()
    with connect(url) as owner:
        rows = owner.execute("SELECT task_id, why FROM triaged.veto").fetchall()
        version = owner.execute("SELECT * FROM triaged.schema_version").fetchone()
    assert [(r["task_id"], r["why"]) for r in rows] == [("before", ""), ("after", "")]
    assert version == {"version": 2, "compatible": 1}


def test_an_upgrade_that_fails_changes_nothing(postgres: PostgresServer) -> None:
    """All steps of an upgrade are one transaction."""
    url = postgres.url(postgres.new_database())
    wrong = ("ALTER TABLE triaged.veto ADD COLUMN why text; SELECT 1/0", 1)
    with connect(url) as owner, pytest.raises(psycopg.errors.DivisionByZero):
        migrate(owner, create=False, migrations=(*MIGRATIONS, wrong))

    with connect(url) as owner:
        version = owner.execute("SELECT * FROM triaged.schema_version").fetchone()
    assert version == {"version": 1, "compatible": 1}


def test_texts_must_be_unicode(postgres: PostgresServer) -> None:
    """A database that cannot hold every text is refused before it is used."""
    name = postgres.new_database(template="template0", encoding="LATIN1")
    with pytest.raises(LedgerError, match="stores texts as LATIN1") as raised:
        prepare(postgres.url(name), create=True)

    assert raised.value.hint == "create it with ENCODING 'UTF8'"
    with connect(postgres.url(name)) as connection:
        found = connection.execute("SELECT to_regnamespace('triaged') AS it").fetchone()
    assert found == {"it": None}


@pytest.mark.parametrize(
    "table",
    [
        "users (id int)",
        "state (id int)",
        "schema_version (version text)",
        "schema_version (version text, compatible text)",
    ],
)
def test_tables_of_another_program_are_left_alone(
    postgres: PostgresServer, table: str
) -> None:
    """Nothing is made beside them, and every command says whose they seem to be."""
    url = postgres.url(name := postgres.new_database(template="template0"))
    postgres.run(f"CREATE SCHEMA triaged CREATE TABLE {table}", database=name)
    postgres.run(
        "INSERT INTO triaged." + table.partition(" ")[0] + " DEFAULT VALUES",
        database=name,
    )
    for attempt in (
        lambda: prepare(url, create=True),
        lambda: prepare(url, create=False),
        lambda: PostgresDatabase(url),
    ):
        with pytest.raises(LedgerError, match="holds tables of another program"):
            attempt()

    with connect(url) as connection:
        tables = connection.execute(
            "SELECT count(*) AS n FROM pg_tables WHERE schemaname = 'triaged'"
        ).fetchone()
    assert tables == {"n": 1}


def test_an_empty_schema_is_used(postgres: PostgresServer) -> None:
    """Where only the administrator may make schemas, it was made before."""
    url = postgres.url(name := postgres.new_database(template="template0"))
    postgres.run("CREATE SCHEMA triaged", database=name)

    assert prepare(url, create=True).before == 0
    PostgresDatabase(url).close()


def test_a_role_has_the_rights_that_it_needs_and_no_more(
    postgres: PostgresServer,
) -> None:
    """It reads and writes rows; it cannot make, change, drop or empty tables."""
    name = postgres.new_database(template="template0")
    role = f"role_of_{name}"
    postgres.run(f"CREATE ROLE {role} LOGIN")
    without = postgres.url(name, user=role)
    with pytest.raises(LedgerError, match="permission denied") as refused:
        prepare(without, create=True)
    prepare(postgres.url(name), create=True, role=role)
    database = PostgresDatabase(without)
    with Ledger(database, "a", on_close=database.close) as ledger:
        ledger.vetoes.add("t1", at=T0)
        ledger.vetoes.remove("t1")
        ledger.rulesets.save("ab", "rules", at=T0)

    assert refused.value.hint == "run it as the owner of the database"
    with connect(without) as connection:
        for statement in (
            "CREATE TABLE triaged.mine (id int)",
            "ALTER TABLE triaged.veto ADD COLUMN mine int",
            "DROP TABLE triaged.veto",
            "TRUNCATE triaged.veto",
            "UPDATE triaged.schema_version SET version = 9",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
