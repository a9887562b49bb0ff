"""Guarantee: one holder at a time, whatever happens to processes or the database."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.postgres import PostgresServer
from tests.reliability.report import Report
from triaged.ledger.leases import Leases
from triaged.ledger.postgres import PostgresDatabase

pytestmark = pytest.mark.reliability

IS_FULL: Final = os.environ.get("TRIAGED_RELIABILITY") == "full"
ROUNDS: Final = 60 if IS_FULL else 8
WORKERS: Final = 4
WORKSPACES: Final = 20
LEASE_SECONDS: Final = 1.0
WORK_SECONDS: Final = 0.05
CHAPTER: Final = "Shared ledger"
ROOT: Final = Path(__file__).parents[2]

TABLES: Final = """
CREATE TABLE done (
    id bigserial PRIMARY KEY, workspace text, number bigint, fence bigint, holder text
);
CREATE TABLE fenced (workspace text, holder text);
"""


class Workers:
    """Processes on one ledger, which may be stopped, woken and killed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._number = 0
        self.running: list[subprocess.Popen[bytes]] = []
        for _ in range(WORKERS):
            self.add()

    def add(self) -> None:
        self._number += 1
        self.running.append(
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.reliability.lease_worker"),
                    *(self._url, f"worker-{self._number}"),
                    *(str(LEASE_SECONDS), str(WORK_SECONDS)),
                ],
                cwd=ROOT,
            )
        )

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.wait()
        self.running.remove(worker)


@contextmanager
def workers(url: str) -> Iterator[Workers]:
    with ExitStack() as context:
        found = Workers(url)
        for worker in found.running:
            context.callback(worker.wait)
        try:
            yield found
        finally:
            for worker in found.running:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()


def cycles(url: str) -> list[tuple[str, int, int]]:
    """Return the cycles in the order in which they were recorded."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT workspace, number, fence FROM done ORDER BY id"
        ).fetchall()


def count(url: str, table: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - ours
        return int(row[0]) if row else 0


def wait(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - other processes are at work


@pytest.fixture
def ledger(postgres: PostgresServer) -> str:
    """Return the URL of a ledger whose workspaces are all due."""
    name = postgres.new_database()
    url = postgres.url(name)
    postgres.run(TABLES, database=name)
    database = PostgresDatabase(url)
    Leases(database, "test").enrol(
        {f"w{n:02}": timedelta(0) for n in range(WORKSPACES)}
    )
    database.close()
    return url


def wait_for_cycles(
    found: Workers, url: str, number: int, seconds: float = 60.0
) -> None:
    until = time.monotonic() + seconds
    while count(url, "done") < number:
        assert time.monotonic() < until, "the workers do nothing"
        assert None in [worker.poll() for worker in found.running], "no worker lives"
        wait(0.1)


def refuse_doubles(url: str) -> None:
    """Each cycle of a workspace was recorded once, under a fence newer than before."""
    last: dict[str, tuple[int, int]] = {}
    for workspace, number, fence in cycles(url):
        before = last.get(workspace, (0, 0))
        assert number == before[0] + 1, (workspace, number)
        assert fence > before[1], (workspace, fence)
        last[workspace] = number, fence
    assert len(last) == WORKSPACES


def test_stopped_workers_are_fenced(ledger: str, report: Report) -> None:
    """A worker stopped beyond its lease and woken has its work refused: 0 double."""
    rng = random.Random(7)  # noqa: S311 - which worker
    with (
        report.check(CHAPTER, "a worker stopped beyond its lease is fenced") as check,
        workers(ledger) as found,
    ):
        wait_for_cycles(found, ledger, WORKSPACES)
        for _ in range(ROUNDS):
            worker = rng.choice(found.running)
            worker.send_signal(signal.SIGSTOP)
            wait(LEASE_SECONDS * 1.5)
            worker.send_signal(signal.SIGCONT)
            wait(0.1 + rng.random() * 0.2)
        wait_for_cycles(found, ledger, count(ledger, "done") + WORKSPACES)
        refuse_doubles(ledger)
        fenced = count(ledger, "fenced")
        check.runs = ROUNDS
        check.result = f"{count(ledger, 'done')} cycles, {fenced} fenced, 0 double"

        assert fenced > 0


def test_killed_workers_are_replaced(ledger: str, report: Report) -> None:
    """What a killed worker held runs elsewhere once its lease has ended."""
    rng = random.Random(11)  # noqa: S311 - which worker
    with (
        report.check(CHAPTER, "a killed worker's workspaces run elsewhere") as check,
        workers(ledger) as found,
    ):
        wait_for_cycles(found, ledger, WORKSPACES)
        for _ in range(ROUNDS):
            found.kill(rng.choice(found.running))
            found.add()
            wait(0.3)
        before = count(ledger, "done")
        wait(LEASE_SECONDS)
        wait_for_cycles(found, ledger, before + 3 * WORKSPACES)
        refuse_doubles(ledger)
        check.runs = ROUNDS
        check.result = f"{count(ledger, 'done')} cycles, 0 double, none left behind"


def test_a_database_that_crashes_loses_no_cycle(
    postgres: PostgresServer, ledger: str, report: Report
) -> None:
    """The workers outlive it and go on; what was recorded is there once."""
    crashes = max(2, ROUNDS // 4)
    with (
        report.check(CHAPTER, "a crash of the database loses no cycle") as check,
        workers(ledger) as found,
    ):
        wait_for_cycles(found, ledger, WORKSPACES)
        for _ in range(crashes):
            with postgres.away():
                wait(0.5)
            wait_for_cycles(found, ledger, count(ledger, "done") + WORKSPACES)
        alive = [worker.poll() for worker in found.running]
        refuse_doubles(ledger)
        check.runs = crashes
        check.result = f"{count(ledger, 'done')} cycles, 0 lost, 0 double"

        assert alive == [None] * WORKERS
