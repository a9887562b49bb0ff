"""The review on a real terminal."""

import os
import pty
import select
import subprocess
import sys
import time

from tests.e2e.harness import PATIENCE, Program, a_listed, add
from tests.sandbox_server import RunningSandbox


class Terminal:
    """A program on a pseudo-terminal, and what it has shown so far."""

    def __init__(self, program: Program, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "triaged", *arguments],
            env=program.environ(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.shown = ""

    def expect(self, text: str) -> None:
        """Read until the terminal shows a text beyond what was read before."""
        until, seen = time.monotonic() + PATIENCE, ""
        while text not in seen:
            assert time.monotonic() < until, (text, seen)
            seen += self._read()

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Read the rest and return the exit code."""
        code = self._process.wait(PATIENCE)
        while self._read():
            pass
        os.close(self._master)
        return code

    def _read(self) -> str:
        ready, _, _ = select.select([self._master], [], [], 0.2)
        try:
            text = os.read(self._master, 4096).decode() if ready else ""
        except OSError:
            return ""
        self.shown += text
        return text


def a_mixed_list(sandbox: RunningSandbox) -> None:
    days = [
        a_listed(f"t{n}", created_at=f"2026-01-0{n}T00:00:00Z") for n in range(1, 5)
    ]
    days[1]["description"] = "Find 20 CEOs \x1b[31mat law firms"
    add(sandbox, days)


def test_a_review_does_what_the_person_says(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Approve, dismiss with a reason, skip, undo, quit: each key does its work."""
    a_mixed_list(sandbox)
    screen = Terminal(program, "review")
    screen.expect("1 of 4")
    screen.press("d")
    screen.expect("(Enter)")
    screen.press("\r")
    screen.expect("2 of 4")
    screen.press("a")
    screen.expect("3 of 4")
    screen.press("u")
    screen.expect("2 of 4")
    screen.press("s")
    screen.expect("3 of 4")
    screen.press("a")
    screen.expect("4 of 4")
    screen.press("q")

    assert screen.end() == 0
    store = sandbox.world.store
    assert [store.status_of(f"t{n}") for n in range(1, 5)] == [
        "dismissed",
        "pending",
        "approved",
        "pending",
    ]
    assert "clutter would dismiss as testing" in screen.shown
    assert "\x1b[31m" not in screen.shown
    (row,) = program.json("history")
    assert (row["source"], row["reason"]) == ("review", "testing")


def test_a_review_goes_on_where_it_stopped(
    program: Program, sandbox: RunningSandbox
) -> None:
    """What was skipped comes last the next time."""
    a_mixed_list(sandbox)
    first = Terminal(program, "review")
    first.expect("1 of 4")
    first.press("s")
    first.expect("2 of 4")
    first.press("q")
    first.end()
    again = Terminal(program, "review")
    again.expect("1 of 4")
    again.press("q")
    again.end()

    assert "Going on behind t1" in again.shown
    assert "t2" in again.shown


def test_a_review_needs_a_terminal(program: Program) -> None:
    """Without a terminal it says what scripts use instead."""
    refused = program.run("review", stdin="a\n")

    assert refused.returncode == 2
    assert "triaged dismiss" in refused.stderr
