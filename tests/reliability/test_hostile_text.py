"""Hostile task text through the real program: terminal, files, page, logs, metrics."""

import csv
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as metrics

from tests.e2e.harness import PATIENCE, Program, RunningDaemon, add, eventually
from tests.e2e.terminal import Terminal
from tests.reliability.hostile_texts import (
    TEXTS,
    foreign_elements,
    label_sets,
    listed,
    longest_line,
    longest_storm,
    odd_characters,
)
from tests.reliability.report import Report
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.cli.plan_file import read_plan
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.reliability

CHAPTER: Final = "Hostile input"
# A text of 2,000 characters, each of them shown as an escape of ten.
LINE: Final = 20_100
STORM: Final = 8
# Two are too long to be read, and what is no valid Unicode may be what is protected.
KEPT: Final = {"mebibyte", "mebibyte_odd", "surrogates"}

RULES: Final = r"""
version: 1
safety:
  {min_age: 1m, max_share_of_pending: 1.0, max_dismissals_per_cycle: 1000}
protect:
  - metadata: {source: {equals: protected}}
rules:
  - name: clutter
    match: {description: '^\[TEST\]'}
    dismiss: testing
  - name: from-api
    mode: observe
    match: {metadata: {source: {regex: '.'}}, type: prospect_search}
    dismiss: not_relevant
  - name: waits
    hold: 24h
    match: {description: '^leave'}
    dismiss: duplicate
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as running:
        yield running


@pytest.fixture
def program(tmp_path: Path, sandbox: RunningSandbox) -> Program:
    sandbox.world.reset()
    add(sandbox, listed())
    people = [{**task, "status": "approved"} for task in listed()]
    add(sandbox, [{**task, "id": f"p{n}"} for n, task in enumerate(people)])
    program = Program(tmp_path, sandbox.api_url)
    program.rules.write_text(RULES)
    return program


def is_sound(text: str, *, is_json: bool = False) -> None:
    """Check that a terminal can show a text; JSON tells texts as they are."""
    assert odd_characters(text) == set()
    assert is_json or longest_storm(text) <= STORM
    assert is_json or longest_line(text) <= LINE


def test_what_commands_print(report: Report, program: Program) -> None:
    """Tables, trees, JSON and CSV hold no character that a terminal obeys."""
    guarantee = "hostile task text in every command's table, tree, JSON and CSV: sound"
    with report.check(CHAPTER, guarantee) as check:
        plan = program.directory / "plan.json"
        shown = [
            program.run("plan", "--out", str(plan)),
            program.run("dismiss", "--all", "--reason", "testing", stdin="n\n"),
            program.run("backtest"),
            program.run("run", "--once"),
            program.run("history"),
            program.run("history", "--held"),
            program.run("explain", "t-clear"),
            program.run("explain", "t-odd"),
            program.run("explain", f"clear {TEXTS['clear']}"),
            program.run("review", stdin=""),
            program.run("apply", str(plan), "--yes"),
            program.run("veto", TEXTS["clear"]),
        ]
        for done in shown:
            assert done.returncode in {0, 2, 4}, done.stderr[-1_000:]
            is_sound(done.stdout)
            is_sound(done.stderr)
        cells = _csv(program.run("history", "--format", "csv").stdout)
        formats = _json(program)

        assert {len(row) for row in cells} == {len(cells[0])}
        assert not [c for row in cells for c in row if c[:1] in {"=", "+", "@"}]
        check.runs = len(TEXTS) * (len(shown) + len(formats) + 1)
        check.result = (
            f"{len(TEXTS)} texts in {len(shown)} tables and trees, {len(formats)} JSON"
            f" answers and a CSV; 0 control characters, longest line"
            f" {max(longest_line(done.stdout) for done in shown):,}"
        )


def _csv(text: str) -> list[list[str]]:
    is_sound(text, is_json=True)
    csv.field_size_limit(1 << 26)
    return list(csv.reader(io.StringIO(text)))


def _json(program: Program) -> list[object]:
    """Read each command's JSON, and the plan file; all of it is printable, too."""
    commands = (
        ("plan",),
        ("history",),
        ("history", "--held"),
        ("explain", "t-clear"),
        ("explain", "t-percent"),
        ("backtest",),
    )
    texts = [program.run(*given, "--format", "json").stdout for given in commands]
    texts.append((program.directory / "plan.json").read_text())
    for text in texts:
        is_sound(text, is_json=True)
    plan = read_plan(texts[-1])
    dismissed = {entry.task_id for entry in plan.entries}
    assert {f"t-{name}" for name in TEXTS.keys() - KEPT} <= dismissed
    return [json.loads(text) for text in texts]


def test_pages(report: Report, program: Program) -> None:
    """The status page and the backtest's hold no element that a task brought."""
    guarantee = (
        "hostile task text in the status page and the backtest's: text, no markup"
    )
    with report.check(CHAPTER, guarantee) as check:
        pages = [program.run("backtest", "--format", "html").stdout]
        with program.daemon() as daemon:
            daemon.wait_for("cycle.finished")
            answer = daemon.get("/")
            ready = daemon.get("/readyz").json()
            pages.append(answer.text)

        assert ready["ready"] is True
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        for page in pages:
            assert "&lt;script&gt;" in page
            assert foreign_elements(page) == []
            is_sound(page, is_json=True)
        check.runs = len(pages) * len(TEXTS)
        check.result = f"{len(TEXTS)} texts; 0 elements, 0 links, 0 controls"


def test_logs_metrics_and_the_service_manager(
    report: Report, program: Program, sandbox: RunningSandbox
) -> None:
    """A line is one event, label sets do not grow, systemd gets one message a line."""
    guarantee = (
        "hostile task text leaves logs one JSON object a line, label sets closed"
    )
    with report.check(CHAPTER, guarantee) as check, service_manager(program) as words:
        sandbox.world.reset()
        with program.daemon() as daemon:
            daemon.wait_for("cycle.finished")
            before = _label_sets(daemon)
            add(sandbox, listed())
            eventually(
                lambda: len(daemon.named("task.dismissed")) >= len(TEXTS.keys() - KEPT)
            )
            cycles = len(daemon.named("cycle.finished"))
            daemon.wait_for("cycle.finished", times=cycles + 2)
            after = _label_sets(daemon)
            assert daemon.end() == 0

        assert all({"event", "level", "timestamp"} <= set(e) for e in daemon.events)
        for event in daemon.events:
            texts = [value for value in event.values() if isinstance(value, str)]
            is_sound("\n".join(texts), is_json=True)
        assert _closed(after) == _closed(before)
        assert any(word.startswith("STATUS=") for word in words)
        assert not [word for word in words if odd_characters(word, keep="")]
        check.runs = len(daemon.events)
        check.result = (
            f"{len(daemon.events)} log lines, {len(after)} samples, {len(words)} words"
            " to the service manager; 0 unsound, 0 new label sets"
        )


def _label_sets(daemon: RunningDaemon) -> set[tuple[str, ...]]:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    opened = httpx.get(daemon.url() + "/metrics", headers=accept, timeout=PATIENCE)
    assert list(open_metrics(opened.text))  # type: ignore[no-untyped-call]
    return label_sets(metrics(daemon.get("/metrics").text))


def _closed(sets: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    # Statuses of calls are those that the server answered with.
    return {names for names in sets if not names[0].startswith("triaged_api_request")}


@contextmanager
def service_manager(program: Program) -> Iterator[list[str]]:
    """Play the service manager: collect the messages that the daemon sends."""
    path = str(program.directory / "notify")
    program.settings["NOTIFY_SOCKET"] = path
    words: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)

        def listen() -> None:
            while (word := heard.recv(1 << 20).decode()) != "END":
                words.append(word)

        thread = threading.Thread(target=listen)
        thread.start()
        yield words
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"END", path)
        thread.join()


def test_a_console_log(program: Program, report: Report) -> None:
    """For people a log line is one line, too."""
    with report.check(CHAPTER, "hostile task text in the console log: sound") as check:
        program.settings["TRIAGED_LOG_FORMAT"] = "console"
        lines = program.run("run", "--once").stderr

        is_sound(lines)
        assert all(
            re.match(r"20\d\d-|\d\d:\d\d:\d\d ", line) for line in lines.splitlines()
        )
        check.runs = lines.count("\n")


@pytest.mark.parametrize(
    ("command", "last"),
    [("review", "Review: "), ("plan", " listed: "), ("history", " dismissals.")],
)
def test_a_terminal(command: str, last: str, program: Program, report: Report) -> None:
    """On a terminal no control passes but our own colours and line ends."""
    guarantee = f"hostile task text on a terminal, {command}: our own colours alone"
    with report.check(CHAPTER, guarantee) as check:
        if command == "history":
            program.run("run", "--once")
        screen = Terminal(program, command)
        screen.press("s" * len(listed()) if command == "review" else "")
        screen.expect(last)
        screen.end()

        assert odd_characters(screen.shown, keep="\r\n", colours=True) == set()
        assert longest_storm(screen.shown) <= STORM
        check.runs = len(listed())
