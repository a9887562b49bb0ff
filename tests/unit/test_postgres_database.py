"""Tests of the ledger in PostgreSQL where it differs from a file."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from tests.builders import T0, an_intent
from tests.postgres import PostgresServer
from tests.tcp_proxy import tcp_proxy
from triaged.errors import LedgerBusy, LedgerError, LedgerUnavailable
from triaged.ledger import Ledger
from triaged.ledger.postgres import RECONNECT_SECONDS, PostgresDatabase
from triaged.ledger.postgres_errors import translate

PATIENCE = 30.0


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.empty_ledger()


@pytest.fixture
def store(url: str) -> Iterator[PostgresDatabase]:
    with closing(PostgresDatabase(url)) as opened:
        yield opened


@pytest.fixture
def beside(url: str) -> Iterator[PostgresDatabase]:
    """Open the same ledger as another process would."""
    with closing(PostgresDatabase(url, busy_seconds=0.2)) as opened:
        yield opened


def cut_off(store: PostgresDatabase, beside: PostgresDatabase) -> None:
    """End the store's session, as an administrator or a restart does."""
    beside.rows("SELECT pg_terminate_backend(?)", (backend_of(store),))


def test_a_server_that_no_longer_answers_is_left(url: str) -> None:
    """The wait of a daemon ends although the connection lives; later all is well."""
    with closing(PostgresDatabase(url, answer_seconds=1.0)) as store:
        frozen = backend_of(store)
        with pytest.raises(LedgerUnavailable), store.transaction("a"):
            freeze_and_ask(store, frozen)

        assert backend_of(store) != frozen


def freeze_and_ask(store: PostgresDatabase, backend: int) -> None:
    os.kill(backend, signal.SIGSTOP)
    try:
        store.row("SELECT 1 AS one")
    finally:
        os.kill(backend, signal.SIGCONT)


def test_a_long_lock_is_no_lost_connection(store: PostgresDatabase, url: str) -> None:
    """The server answers, that another process writes."""
    with (
        closing(PostgresDatabase(url, busy_seconds=1.2, answer_seconds=2.5)) as waiting,
        store.exclusive(),
    ):
        before = backend_of(waiting)
        with pytest.raises(LedgerBusy), waiting.transaction("a"):
            pass

        assert backend_of(waiting) == before


def backend_of(store: PostgresDatabase) -> int:
    row = store.row("SELECT pg_backend_pid() AS pid")
    assert row is not None
    pid: int = row["pid"]
    return pid


def test_transactions_of_a_workspace_run_one_by_one(url: str) -> None:
    """What is read in one cannot be changed by another before it ends."""

    def add_up() -> None:
        with closing(PostgresDatabase(url)) as database:
            ledger = Ledger(database, "a")
            for _ in range(50):
                with ledger.transaction():
                    version, state = ledger.state.load_quota(unless_version=-1) or (
                        0,
                        {},
                    )
                    spent = (state or {}).get("spent", 0)
                    ledger.state.save_quota(version + 1, {"spent": spent + 1})

    threads = [threading.Thread(target=add_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    with closing(PostgresDatabase(url)) as database:
        found = Ledger(database, "a").state.load_quota(unless_version=-1)
    assert found == (200, {"spent": 200})


def test_another_workspace_does_not_wait(
    store: PostgresDatabase, beside: PostgresDatabase
) -> None:
    """A transaction keeps its own workspace waiting, and no other."""
    ours, same, other = Ledger(store, "a"), Ledger(beside, "a"), Ledger(beside, "b")
    with ours.transaction():
        other.vetoes.add("t1", at=T0)
        with pytest.raises(LedgerBusy):
            same.vetoes.add("t2", at=T0)
    same.vetoes.add("t3", at=T0)

    assert same.vetoes.task_ids() == {"t3"}
    assert other.vetoes.task_ids() == {"t1"}


@pytest.mark.parametrize(
    ("default", "in_force"),
    [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
def test_a_commit_is_on_the_disk(
    store: PostgresDatabase, default: str, in_force: str
) -> None:
    """Whatever the session's default, an answer to COMMIT means that it is durable."""
    store.rows("SELECT set_config('synchronous_commit', ?, false)", (default,))
    with store.transaction("a"):
        found = store.row("SELECT current_setting('synchronous_commit') AS it")

    assert found == {"it": in_force}


def test_a_lost_session_is_made_again(
    store: PostgresDatabase, beside: PostgresDatabase
) -> None:
    """Between transactions the loss of a connection is not even noticed."""
    ledger = Ledger(store, "a")
    ledger.vetoes.add("t1", at=T0)
    cut_off(store, beside)
    read = ledger.vetoes.task_ids()
    cut_off(store, beside)
    ledger.vetoes.add("t2", at=T0)

    assert read == {"t1"}
    assert ledger.vetoes.task_ids() == {"t1", "t2"}


def test_a_session_lost_in_a_transaction_ends_it(
    store: PostgresDatabase, beside: PostgresDatabase
) -> None:
    """Nothing of it is kept, even if its statements' errors are overlooked."""
    ledger = Ledger(store, "a")

    def lose_it() -> None:
        with ledger.transaction():
            ledger.vetoes.add("lost", at=T0)
            cut_off(store, beside)
            for task_id in ("never", "nor this"):
                with pytest.raises(LedgerUnavailable):
                    ledger.vetoes.add(task_id, at=T0)

    with pytest.raises(LedgerUnavailable, match="no answer to COMMIT"):
        lose_it()
    ledger.vetoes.add("kept", at=T0)

    assert ledger.vetoes.task_ids() == {"kept"}


def test_an_overlooked_error_is_not_committed(store: PostgresDatabase) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK then: that is an error, too."""

    def overlook() -> None:
        with store.transaction("a"), pytest.raises(LedgerError):
            store.execute("INSERT INTO veto (workspace) VALUES (?)", ("a",))

    with pytest.raises(LedgerError, match="a statement of the transaction had failed"):
        overlook()


def test_a_commit_without_an_answer_counts_as_not_written(
    postgres: PostgresServer, url: str
) -> None:
    """The caller sends nothing; the row that is there after all shows up as unknown."""
    name = url.rpartition("?")[0].rpartition("/")[2]
    with tcp_proxy(postgres.port) as proxy:
        through = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
        with closing(PostgresDatabase(through)) as database:
            ledger = Ledger(database, "a")
            proxy.drop_answer_to = lambda data: b"COMMIT\0" in data
            with pytest.raises(LedgerUnavailable) as raised:
                ledger.dismissals.record_intent(an_intent("t1"))
            proxy.drop_answer_to = lambda _: False
            unresolved = ledger.dismissals.unresolved()

    assert "no answer to COMMIT" in raised.value.problem
    assert "so it counts as not written" in raised.value.problem
    assert [record.task_id for record in unresolved] == ["t1"]


def test_a_database_that_is_away_is_not_asked_at_each_step(
    postgres: PostgresServer, url: str
) -> None:
    """An attempt may take seconds, so the next one waits; then all goes on."""
    name = url.rpartition("?")[0].rpartition("/")[2]
    now = [1000.0]
    with tcp_proxy(postgres.port) as proxy:
        through = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
        database = PostgresDatabase(through, monotonic=lambda: now[0])
        ledger = Ledger(database, "a", on_close=database.close)
        proxy.accepts = False
        proxy.cut()
        with pytest.raises(LedgerUnavailable) as raised:
            ledger.vetoes.add("t1", at=T0)
        proxy.accepts = True
        with pytest.raises(LedgerUnavailable):
            ledger.vetoes.add("too soon", at=T0)
        now[0] += RECONNECT_SECONDS
        ledger.vetoes.add("t2", at=T0)
        vetoed = ledger.vetoes.task_ids()
        ledger.close()

    assert raised.value.hint == "check that the database runs and can be reached"
    assert vetoed == {"t2"}


def test_a_process_stopped_in_a_transaction_is_not_waited_for(url: str) -> None:
    """The server ends it after a while, so that it keeps nobody from pausing."""
    with (
        closing(PostgresDatabase(url, idle_seconds=0.3)) as stopped,
        closing(PostgresDatabase(url, busy_seconds=PATIENCE)) as other,
    ):
        ledger = Ledger(other, "a")

        def stop_inside() -> None:
            with stopped.transaction("a"):
                # It does not go on: all that happens next is done by others.
                ledger.vetoes.add("t1", at=T0)

        with pytest.raises(LedgerUnavailable):
            stop_inside()

        assert ledger.vetoes.task_ids() == {"t1"}


def test_a_search_path_leads_nowhere_else(postgres: PostgresServer) -> None:
    """Tables of the same name in front of ours are neither read nor written."""
    name = postgres.new_database()
    postgres.run("CREATE TABLE public.veto (LIKE triaged.veto)", database=name)
    postgres.run(
        "INSERT INTO public.veto VALUES ('a', 'forged', '2026-01-01', '')",
        database=name,
    )
    with closing(PostgresDatabase(postgres.url(name))) as database:
        ledger = Ledger(database, "a")
        ledger.vetoes.add("t1", at=T0)

        assert ledger.vetoes.task_ids() == {"t1"}
        assert database.rows("SELECT task_id FROM public.veto") == [
            {"task_id": "forged"}
        ]


@pytest.mark.parametrize(
    ("state", "kind", "hint"),
    [
        ("08006", LedgerUnavailable, "check that the database runs"),
        ("57P01", LedgerUnavailable, "the server is stopping or starting"),
        ("57P03", LedgerUnavailable, "the server is stopping or starting"),
        ("53300", LedgerUnavailable, "short of connections, memory or disk"),
        ("53100", LedgerUnavailable, "short of connections, memory or disk"),
        ("25006", LedgerUnavailable, "give the primary"),
        ("55P03", LedgerBusy, "try again"),
        ("40P01", LedgerBusy, "try again"),
        ("28P01", LedgerError, "PGPASSFILE"),
        ("3D000", LedgerError, "create the database first"),
        ("42P01", LedgerError, "triaged ledger init"),
        ("42501", LedgerError, "triaged ledger init --grant ROLE"),
        ("23505", LedgerError, "nothing is dismissed until it can be written"),
    ],
)
def test_each_error_says_what_to_do(
    state: str, kind: type[LedgerError], hint: str
) -> None:
    """What passes by itself is told from what needs a person."""
    error = psycopg.errors.lookup(state)("it failed\nDETAIL: a row's text")
    found = translate(error, "postgresql://h/t")

    assert type(found) is kind
    assert hint in found.hint
    assert "a row's text" not in str(found)


def test_a_wrong_database_is_told_from_one_that_is_away(
    postgres: PostgresServer,
) -> None:
    """A refused login comes as text only, and waiting does not help against it."""
    with pytest.raises(LedgerError, match="create the database first") as wrong:
        PostgresDatabase(postgres.url("nowhere"))
    with pytest.raises(LedgerError, match="role") as role:
        PostgresDatabase(postgres.url("postgres", user="nobody_known"))
    with pytest.raises(LedgerUnavailable) as away:
        PostgresDatabase("postgresql://me@127.0.0.1:1/t")

    assert not isinstance(wrong.value, LedgerUnavailable)
    assert not isinstance(role.value, LedgerUnavailable)
    assert str(away.value).startswith("postgresql://me@127.0.0.1:1/t: ")
