"""The key is in nothing that the program ever writes, whatever goes wrong."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.e2e.harness import a_listed, eventually
from tests.reliability.key_echo import (
    DISMISS_MOODS,
    KEY,
    LIST_MOODS,
    ODD_KEY,
    answer,
    key_echo_server,
)
from tests.reliability.output_scanner import Call, CapturedOutput, OutputScanner
from tests.reliability.report import FULL, Report

pytestmark = pytest.mark.reliability

CHAPTER: Final = "Secrets and reach"
PAGES: Final = ("/", "/metrics", "/readyz", "/healthz", "/nothing")
COMMANDS: Final = (
    *(("run", "--once"), ("plan",), ("plan", "--format", "json"), ("budget",)),
    *(("explain", "t1"), ("explain", "t1", "--format", "json"), ("history",)),
    *(("plan", "--out", "plan.json"), ("backtest", "--format", "html")),
    ("dismiss", "--all", "--reason", "testing", "--yes"),
    ("history", "--format", "json"),
)


# Each key in each format; a short form takes two of the four.
WAYS: Final = ((KEY, "json"), (ODD_KEY, "console"), (KEY, "console"), (ODD_KEY, "json"))


def try_moods(
    directory: Path, moods: Sequence[str], commands: Sequence[tuple[str, ...]]
) -> tuple[int, int, list[str]]:
    """Run commands in all moods; return how many, what they wrote, and what of it."""
    done, written, found = 0, 0, []
    for way, (key, form) in enumerate(WAYS if FULL else WAYS[:2]):
        with key_echo_server() as echo:
            place = OutputScanner(directory / str(way), echo.url, key, form)
            calls: list[Call] = []
            for number, mood in enumerate(moods):
                settings = {
                    "MOOD": mood,
                    "TRIAGED_API_URL": f"{echo.url}/{number}",
                    "TRIAGED_STATE_DIR": str(place.program.directory / mood),
                }
                # After a 429 whatever asks waits for a minute.
                few = commands[:1] if "429" in mood else commands
                calls += [(settings, words) for words in few]
            place.run_all(calls)
            assert set(echo.keys) == {key}
            assert len(echo.keys) >= len(moods)
        found += place.found(key)
        done, written = done + len(calls), written + place.captured.size
    return done, written, found


def test_an_answer_to_a_list(tmp_path: Path, report: Report) -> None:
    """A server that repeats the key in its answers brings it nowhere."""
    with report.check(CHAPTER, "an answer that repeats the key is scrubbed") as check:
        done, written, found = try_moods(tmp_path, [*LIST_MOODS], COMMANDS)
        check.runs = done
        check.result = f"{written:,} bytes written; the key {len(found)} times"

        assert found == []


def test_an_answer_to_a_dismissal(tmp_path: Path, report: Report) -> None:
    """Nor does it get into the ledger as what became of a dismissal."""
    listed = answer(200, {"data": {"tasks": [a_listed(f"t{n}") for n in range(3)]}})
    commands = (("run", "--once"), ("history", "--format", "json"), ("explain", "t0"))
    with (
        pytest.MonkeyPatch.context() as patch,
        report.check(CHAPTER, "an outcome in the ledger holds no key") as check,
    ):
        for name in LIST_MOODS:
            patch.setitem(LIST_MOODS, name, lambda _: listed)
        done, written, found = try_moods(tmp_path, [*DISMISS_MOODS], commands)
        check.runs = done
        check.result = f"{written:,} bytes written; the key {len(found)} times"

        assert found == []


def serve_pages(place: OutputScanner, process: subprocess.Popen[bytes]) -> None:
    """Ask a daemon for all its pages, and look at its process."""
    eventually(lambda: '"port": ' in place.log())
    port = place.log().rpartition('"port": ')[2].partition(",")[0].strip("}\n")
    eventually(lambda: "cycle.finished" in place.log())
    for page in PAGES:
        for accept in ("*/*", "application/openmetrics-text"):
            shown = httpx.get(
                f"http://127.0.0.1:{port}{page}", headers={"Accept": accept}
            )
            place.captured.add(page, shown.content + repr(shown.headers.raw).encode())
    place.captured.add_process(process.pid)


@contextmanager
def listening(path: Path) -> Iterator[list[bytes]]:
    """Collect what a service manager is sent while the block lasts."""
    told: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))

        def listen() -> None:
            while words := manager.recv(65536):
                told.append(words)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield told
        finally:
            manager.sendto(b"", str(path))
            thread.join()


def test_a_daemon_in_all_its_trouble(tmp_path: Path, report: Report) -> None:
    """Pages, metrics, what systemd is told, /proc, and a log of all that can happen."""
    with (
        report.check(CHAPTER, "a daemon shows the key to nobody") as check,
        key_echo_server() as echo,
        listening(tmp_path / "notify") as told,
    ):
        place = OutputScanner(tmp_path / "place", echo.url, KEY)
        place.program.settings["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        with place.daemon() as process:
            serve_pages(place, process)
            for mood in ("no status", "400 with a code", "502 as a trace"):
                echo.listing, asked = LIST_MOODS[mood], len(echo.keys)
                eventually(lambda asked=asked: len(echo.keys) > asked + 1)
                serve_pages(place, process)
            place.key_file.chmod(0o644)
            eventually(lambda: "api_key.unreadable" in place.log())
            place.key_file.write_text(f"{KEY}\n{KEY}")
            place.program.rules.write_text("version: 1\nrules: []\n")
            process.send_signal(signal.SIGHUP)
            eventually(lambda: "rules.rejected" in place.log())
            process.send_signal(signal.SIGABRT)
            process.wait(30)
            assert "Current thread" in place.log()
        assert told
        place.captured.add("what systemd is told", b"\n".join(told))
        found = place.found(KEY)
        check.runs = len(place.captured.parts)
        check.result = (
            f"{place.captured.size:,} bytes written; the key {len(found)} times"
        )

        assert found == []


WRONG: Final = {
    "a user and a password": {"TRIAGED_API_URL": f"https://u:{KEY}@localhost"},
    "a query": {"TRIAGED_API_URL": f"https://localhost/?key={KEY}"},
    "no TLS there": {"TRIAGED_API_URL": "https://127.0.0.1:{port}"},
    "nobody there": {"TRIAGED_API_URL": "http://127.0.0.1:1"},
    "no such host": {"TRIAGED_API_URL": "https://nobody.invalid"},
    "the key as its file": {"TRIAGED_API_KEY_FILE": KEY},
    "a line end": {"TRIAGED_API_KEY": f"{KEY}\nX: y"},
    "a blank": {"TRIAGED_API_KEY": f"{KEY} x"},
    "a letter": {"TRIAGED_API_KEY": f"{KEY}ü"},
    "an invalid byte": {"TRIAGED_API_KEY": f"{KEY}\udcff"},
    "no place to write": {"TRIAGED_STATE_DIR": "/dev/null/x", "TRIAGED_API_KEY": KEY},
    "a taken port": {"TRIAGED_LISTEN": "127.0.0.1:{port}", "TRIAGED_API_KEY": KEY},
    "no address": {"TRIAGED_LISTEN": "nobody.invalid:1", "TRIAGED_API_KEY": KEY},
}


def test_wrong_settings(tmp_path: Path, report: Report) -> None:
    """Settings that cannot work are named, but the key among them is not shown."""
    with (
        report.check(CHAPTER, "wrong settings are named without the key") as check,
        key_echo_server() as echo,
    ):
        place = OutputScanner(tmp_path / "place", echo.url, KEY)
        usual = {k: v for k, v in place.program.environ().items() if "TRIAGED" in k}
        calls: list[Call] = []
        for name, wrong in WRONG.items():
            port = echo.server_address[1]
            given = {k: v.format(port=port) for k, v in wrong.items()}
            environ = usual | {"MOOD": name} | given
            # A daemon without any answer goes on.
            once = () if "TRIAGED_LISTEN" in wrong else ("--once",)
            calls += [(environ, ("run", *once)), (environ, ("plan",))]
        place.run_all(calls)
        found = place.found(KEY)
        check.runs = len(calls)
        check.result = (
            f"{place.captured.size:,} bytes written; the key {len(found)} times"
        )

        assert found == []


# A bug is put in where the key is near, to see what its traceback shows.
CRASH: Final = """
import triaged.leadlex.{module} as module
def crash(*args, **named): raise RuntimeError("a bug")
module.{name} = crash
from triaged.cli import main
main()
"""
NEAR: Final = (
    ("connection", "read_rate_limit", "no JSON"),
    ("protocol", "error_from_response", "400 with a code"),
    ("connection", "NoResponse", "no status"),
    ("connection", "NoResponse", "no header"),
    ("connection", "NoResponse", "no place to go"),
    ("connection", "ApiCall", "a length"),
)


def test_a_crash(tmp_path: Path, report: Report) -> None:
    """A traceback of ours, or of Python's own, quotes no key."""
    with (
        report.check(CHAPTER, "a traceback quotes no key") as check,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        near = NEAR if FULL else NEAR[:3]
        places = list(
            pool.map(crash, [tmp_path / str(n) for n in range(len(near))], near)
        )
        size = sum(place.captured.size for place in places)
        found = [it for place in places for it in place.found(KEY)]
        check.runs = len(places)
        check.result = f"{size:,} bytes written; the key {len(found)} times"

        assert found == []


def crash(directory: Path, near: tuple[str, str, str]) -> OutputScanner:
    """Have a command and a daemon meet a bug."""
    module, function, mood = near
    code = CRASH.format(module=module, name=function)
    with key_echo_server() as echo:
        echo.listing = LIST_MOODS[mood]
        place = OutputScanner(directory, echo.url, KEY, "console")
        assert "RuntimeError: a bug" in place.run("plan", code=code).stderr
        with place.daemon("-X", "dev", "-c", code):
            eventually(lambda: "internal_error.survived" in place.log())
            eventually(lambda: "RuntimeError: a bug" in place.log())
    return place


def test_a_damaged_ledger(tmp_path: Path, report: Report) -> None:
    """A ledger that cannot be read or written is complained of without the key."""
    with (
        report.check(CHAPTER, "a ledger's trouble quotes no key") as check,
        key_echo_server() as echo,
    ):
        place = OutputScanner(tmp_path / "place", echo.url, KEY)
        place.run("run", "--once")
        ledger = place.program.directory / "state/ledger.sqlite3"
        ledger.write_bytes(ledger.read_bytes()[:5000] + b"x" * 9000)
        assert place.run("run", "--once").returncode == 1
        ledger.write_bytes(b"")
        assert place.run("run", "--once").returncode == 1
        found = place.found(KEY)
        check.runs, check.result = 2, f"the key {len(found)} times"

        assert found == []


def test_the_search_finds_what_is_there() -> None:
    """Were the key in any form in what was written, it would be found."""
    for key in (KEY, ODD_KEY):
        for mood in LIST_MOODS.values():
            captured = CapturedOutput()
            captured.add("an answer", mood(key))
            expected = mood is not LIST_MOODS["nothing"]

            assert bool(captured.found(key)) is (expected and mood is not GZIPPED)


GZIPPED: Final = LIST_MOODS["compressed"]
