"""No traceback, whatever streams, environment and signals the real program meets."""

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import pytest

from tests.e2e.harness import Program, a_listed
from tests.reliability.report import FULL, Report
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.cli import COMMAND_MODULES
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.reliability

CHAPTER: Final = "Surroundings"
CASES: Final = int(os.environ.get("TRIAGED_CASES", "1000" if FULL else "40"))
SIGNALS: Final = 300 if FULL else 12
SEED: Final = int(os.environ.get("TRIAGED_SEED", "11"))
# Those that go on until they are ended, and how long they may.
ENDLESS: Final = (
    ("run",),
    ("run", "--dry-run", "--log-format", "console"),
    ("status", "--watch"),
    ("sandbox", "--port", "0"),
    ("demo", "--seconds", "3"),
)
SECONDS: Final = 4
PROGRAM: Final = (sys.executable, "-m", "triaged")
PATIENCE: Final = 120
HALF: Final = 0.5
UNSHARE: Final = shutil.which("unshare") if os.geteuid() == 0 else None
# `{}` is a directory that may be written.
COMMANDS: Final = (
    *ENDLESS,
    *((name, "--help") for name in COMMAND_MODULES),
    ("--version",),
    ("nonsense",),
    ("apply", "{}/plan.json", "--yes"),
    ("backtest", "--format", "json"),
    ("backup", "{}/copy.sqlite3"),
    ("backup", "--verify", "{}/copy.sqlite3"),
    ("budget",),
    ("check",),
    ("check", "--format", "json"),
    ("check", "--mutate"),
    ("completion", "bash"),
    ("completion", "fish"),
    ("demote", "clutter"),
    ("dismiss", "t1", "--reason", "testing"),
    ("dismiss", "--all", "--reason", "testing", "--yes"),
    ("explain", "t2"),
    ("history",),
    ("history", "--format", "csv"),
    ("history", "--agreement", "--refresh"),
    ("init", "--dir", "{}/new"),
    ("ledger", "init"),
    ("notify", "--preview"),
    ("notify", "--test"),
    ("pause",),
    ("plan",),
    ("plan", "--out", "{}/plan.json"),
    ("plan", "--all", "--format", "json"),
    ("promote", "clutter"),
    ("resume",),
    ("review",),
    ("run", "--once"),
    ("run", "--once", "--metrics-file", "{}/metrics.prom"),
    ("schema",),
    ("status",),
    ("suggest", "--out", "{}/suggested.yaml"),
    ("veto", "t3"),
    ("veto", "--list"),
    ("workspaces",),
)
CODES: Final = frozenset({0, 1, 2, 3, 4, 69, 77, 78})
INPUTS: Final = ("null", "closed", "text", "binary", "directory", "gone")
OUTPUTS: Final = ("open", "closed", "full", "gone", "slow", "read-only")
ANYTHING: Final = (
    "", " ", "\\udcff", "\x7f\x1b[31m", "ä" * 300, "x" * 70_000, "-1", "0", "/", "//",
    "/dev/full", "/dev/null", "/nonexistent/x", "{}", "~", "~nobody/x", "%s{0}$HOME",
    "https://", "http://[::1", "1e999", "nan", "true", "*", ",", ":", "[", "\n",
)  # fmt: skip
ENVIRONMENT: Final[dict[str, tuple[str, ...]]] = {
    "COLUMNS": ("0", "-5", "1", "x", "99999999999"),
    "LINES": ("0", "x"),
    "TERM": ("dumb", "no-such-terminal", "xterm-256color"),
    "NO_COLOR": ("1",),
    "FORCE_COLOR": ("1",),
    "LC_ALL": ("C", "xx_XX.KOI-99", "POSIX"),
    "LANG": ("C", "tr_TR.UTF-8"),
    "PYTHONIOENCODING": ("ascii:strict", "latin-1", "utf-16", "cp1252:strict"),
    "PYTHONUTF8": ("0", "1"),
    "PYTHONCOERCECLOCALE": ("0",),
    "PYTHONUNBUFFERED": ("",),
    "PYTHONOPTIMIZE": ("2",),
    "PYTHONWARNINGS": ("error", "default"),
    "PYTHONDEVMODE": ("1",),
    "TZ": ("Pacific/Kiritimati", ":/nonexistent", "XXX-25:99"),
    "HOME": ("/nonexistent",),
    "TMPDIR": ("/nonexistent",),
    "XDG_STATE_HOME": ("relative", "/nonexistent"),
    "STATE_DIRECTORY": ("/nonexistent", "{}/a:{}/b"),
    "CREDENTIALS_DIRECTORY": ("/nonexistent",),
    "NOTIFY_SOCKET": ("@nobody", "/nonexistent/s", "vsock:2:9"),
    "WATCHDOG_USEC": ("1", "x"),
    "SUDO_USER": ("ada",),
    "PATH": ("",),
    "HTTPS_PROXY": ("socks5://127.0.0.1:9", "http://a:b@:1", "127.0.0.1:99999999"),
    "https_proxy": ("http://127.0.0.1:9", "http://[::1]:x"),
    "ALL_PROXY": ("socks://x", "http://127.0.0.1:9"),
    "HTTP_PROXY": ("socks5://x",),
    "NO_PROXY": ("*", "localhost,,;127.0.0.0/8", "[::1]:443", "::1/999", ".", "*.*"),
    "no_proxy": ("10.0.0.0/8 , example.com:443", "https://x/"),
    "SSL_CERT_FILE": ("/nonexistent", "/dev/null"),
    "SSL_CERT_DIR": ("/nonexistent", "/etc:/nonexistent"),
    "SSLKEYLOGFILE": ("/dev/full", "/nonexistent/x", "/"),
    "OPENSSL_CONF": ("/nonexistent",),
    "TRIAGED_API_URL": ("https://127.0.0.1:1/x", "ftp://x", "https://[::1]:1"),
    "TRIAGED_API_KEY": ("wbk_ä", "x", '"wbk_quoted_0123456789"'),
    "TRIAGED_API_KEY_FILE": ("/etc/passwd",),
    "TRIAGED_RULES": ("/dev/null", "/proc/self/mem"),
    "TRIAGED_WORKSPACE": ("acme", "A b"),
    "TRIAGED_API_PLAN": ("starter", "Pro"),
    "TRIAGED_RATE_LIMIT": ("0/1m", "10/1m", "5"),
    "TRIAGED_DAILY_LIMIT": ("1", "100"),
    "TRIAGED_RESERVE": ("1", "0.5"),
    "TRIAGED_POLL_INTERVAL": ("1ns", "999999999d"),
    "TRIAGED_STATE_DIR": ("/proc/x", "/dev/null", "relative/state"),
    "TRIAGED_RETENTION": ("1d", "99999999d"),
    "TRIAGED_LISTEN": ("[::1]:0", "256.0.0.1:1", "localhost:99999"),
    "TRIAGED_LOG_LEVEL": ("debug", "LOUD"),
    "TRIAGED_LOG_FORMAT": ("console", "json", "xml"),
    "TRIAGED_FLEET": ("{}", "/nonexistent"),
    "TRIAGED_LEDGER_URL": ("postgresql://127.0.0.1:1/x", "mysql://x", "postgresql:"),
    "TRIAGED_NOTIFY_FILE": ("/etc/passwd", "/nonexistent"),
    "TRIAGED_NOTIFY_AT": ("25:00", "08:00 Europe/Nowhere"),
    "TRIAGED_PAGE": ("keep", "write"),
    "TRIAGED_INTERVALL": ("5m",),
    "COMP_WORDS": ("triaged pl", "triaged 'x"),
    "COMP_CWORD": ("1", "x", " "),
    "_TRIAGED_COMPLETE": ("bash_complete", "fish_complete", "zsh_source", "x"),
}


@dataclass
class Case:
    """One command in its surroundings."""

    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    streams: tuple[str, str, str] = ("null", "open", "open")

    @classmethod
    def at_random(cls, chance: random.Random) -> "Case":
        names = chance.sample(sorted(ENVIRONMENT), chance.choice((0, 1, 1, 2, 5)))
        return cls(
            arguments=chance.choice(COMMANDS),
            environment={
                name: chance.choice((*ENVIRONMENT[name], *anything(name, chance)))
                for name in names
            },
            streams=(
                chance.choice(INPUTS),
                chance.choice(OUTPUTS),
                chance.choice(OUTPUTS),
            ),
        )


def anything(name: str, chance: random.Random) -> tuple[str, ...]:
    """Return a value that no one foresaw, where Python itself survives it."""
    return () if name.startswith("PYTHON") else (chance.choice(ANYTHING),)


@dataclass(frozen=True)
class End:
    """How a command ended, and what could be read of it."""

    case: Case
    code: int
    output: bytes

    @property
    def is_sound(self) -> bool:
        """Return whether it ended by itself, or as told, and without a traceback."""
        # Only the daemon handles SIGTERM from its first instruction on.
        is_killable = self.case.arguments in ENDLESS and self.case.arguments[0] != "run"
        codes = CODES | {-15} if is_killable else CODES
        return (
            self.code in codes
            and b"Traceback" not in self.output
            and b"Exception ignored" not in self.output
        )


def run(case: Case, program: Program, directory: Path) -> End:
    """Run a command; one that goes on is told to end."""
    place = str(directory)
    environ = {
        **program.environ(),
        **{name: text.replace("{}", place) for name, text in case.environment.items()},
    }
    arguments = [text.replace("{}", place) for text in case.arguments]
    closed = "".join(
        f" {number}{'>' if number else '<'}&-"
        for number, how in enumerate(case.streams)
        if how == "closed"
    )
    taken, *given = case.streams
    outputs = [Output(how, directory / f"{n}.txt") for n, how in enumerate(given)]
    source = open_input(taken, directory / "input.txt")
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$@"{closed}', "sh", *PROGRAM, *arguments],
        env=environ,
        stdin=source,
        stdout=outputs[0].descriptor,
        stderr=outputs[1].descriptor,
        cwd=directory,
    )
    os.close(source)
    for output in outputs:
        output.hand_over()
    try:
        code = process.wait(SECONDS if case.arguments in ENDLESS else PATIENCE)
    except subprocess.TimeoutExpired:
        process.terminate()
        code = process.wait(PATIENCE)
    finally:
        process.kill()
    return End(case, code, b"".join(output.read() for output in outputs))


def open_input(how: str, file: Path) -> int:
    """Open what a command gets as its standard input."""
    if how == "directory":
        return os.open("/", os.O_RDONLY)
    if how == "gone":
        reader, writer = os.pipe()
        os.close(writer)
        return reader
    if how in {"text", "binary"}:
        file.write_bytes(b"y\n" * 9 if how == "text" else b"\xff\0\n" * 9)
        return os.open(file, os.O_RDONLY)
    return os.open(os.devnull, os.O_RDONLY)


class Output:
    """What a command gets as standard output or error, and what arrives there."""

    def __init__(self, how: str, file: Path) -> None:
        self._file = file
        self._slow: int | None = None
        self._reading: Reading | None = None
        file.write_bytes(b"")
        if how in {"gone", "slow"}:
            reader, self.descriptor = os.pipe()
            if how == "gone":
                os.close(reader)
            else:
                os.set_blocking(self.descriptor, False)
                fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, 4096)
                self._slow = reader
        elif how == "full":
            self.descriptor = os.open("/dev/full", os.O_WRONLY)
        elif how == "read-only":
            self.descriptor = os.open(os.devnull, os.O_RDONLY)
        else:
            self.descriptor = os.open(file, os.O_WRONLY)

    def hand_over(self) -> None:
        """Leave the descriptor to the command alone."""
        os.close(self.descriptor)
        if self._slow is not None:
            self._reading = Reading(os.fdopen(self._slow, "rb"), after=1)

    def read(self) -> bytes:
        """Return what arrived."""
        if self._reading is None:
            return self._file.read_bytes()
        return self._reading.result()


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings) as running:
        running.world.store.add(a_listed(f"t{number}") for number in range(1, 9))
        yield running


def test_no_traceback(tmp_path: Path, sandbox: RunningSandbox, report: Report) -> None:
    """Each command ends with a code of ours, and says why in its own words."""
    program = Program(tmp_path, sandbox.api_url)
    chance, ends = random.Random(SEED), Counter[int]()  # noqa: S311 - repeatable
    with report.check(
        CHAPTER, "streams in any state, any environment: an exit code, no traceback"
    ) as check:
        assert program.run("run", "--once").returncode == 0
        broken = []
        for _ in range(CASES):
            end = run(Case.at_random(chance), program, tmp_path)
            ends[end.code] += 1
            check.runs += 1
            if not end.is_sound:
                broken.append(end)
        codes = (f"{n} ended with {code}" for code, n in sorted(ends.items()))
        check.result = ", ".join(codes)

        assert broken == [], "\n".join(map(repr, broken))


def test_signals_at_any_moment(
    tmp_path: Path, sandbox: RunningSandbox, report: Report
) -> None:
    """SIGTERM and SIGINT end a daemon as told, also as process 1; SIGHUP does not."""
    program = Program(tmp_path, sandbox.api_url)
    chance, ends = random.Random(SEED), Counter[str]()  # noqa: S311 - repeatable
    with report.check(
        CHAPTER, "SIGTERM, SIGINT, SIGHUP from the first instruction on: ends as told"
    ) as check:
        broken = []
        for _ in range(SIGNALS):
            as_first = chance.random() < HALF and UNSHARE is not None
            code, errors = signalled(program, chance, as_first=as_first)
            ends[f"{code} as process 1" if as_first else f"{code}"] += 1
            check.runs += 1
            if code not in {0, 4} or b"Traceback" in errors:
                broken.append((code, errors[-2000:]))
        codes = (f"{n} ended with {code}" for code, n in sorted(ends.items()))
        check.result = ", ".join(codes)

        assert broken == []


def signalled(
    program: Program, chance: random.Random, *, as_first: bool
) -> tuple[int, bytes]:
    """Start a daemon or a cycle, send it signals, and return how it ended."""
    once = ["--once"] if chance.random() < HALF else []
    numbers = [chance.choice((signal.SIGTERM, signal.SIGINT))]
    if chance.random() < HALF:
        numbers.insert(0, signal.SIGHUP)
    prefix = [UNSHARE, "--pid", "--fork", "--kill-child"] if as_first else []
    program_run = [sys.executable, "-X", "importtime", *PROGRAM[1:], "run", *once]
    process = subprocess.Popen(
        [*filter(None, prefix), *program_run],
        env=program.environ(),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    # The handlers are set before the first module of the command line is there.
    for line in process.stderr:
        if b"click" in line:
            break
    reader = Reading(process.stderr)
    for number in numbers:
        time.sleep(chance.uniform(0, 1.5))  # noqa: TID251 - real processes, real time
        with suppress(ProcessLookupError):
            os.kill(child_of(process.pid) if as_first else process.pid, number)
    try:
        code = process.wait(PATIENCE)
    finally:
        process.kill()
    return code, reader.result()


def child_of(pid: int) -> int:
    """Return the only child of a process, which is process 1 of a namespace."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if not children:
        raise ProcessLookupError
    return int(children[0])


class Reading:
    """Reads a pipe to its end, so that its writer is never blocked."""

    def __init__(self, stream: IO[bytes], *, after: float = 0) -> None:
        self._arrived = b""
        self._stream = stream
        self._after = after
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        time.sleep(self._after)  # noqa: TID251 - real processes, real time
        with self._stream:
            self._arrived = self._stream.read()

    def result(self) -> bytes:
        """Return what arrived."""
        self._thread.join(PATIENCE)
        return self._arrived
