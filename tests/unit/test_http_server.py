"""The web port over a real socket: who is answered what, and who is sent away."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.clocks import ManualClock
from tests.e2e.harness import KEY, RULES
from triaged.daemon.health import Health
from triaged.daemon.http_server import HttpServer, listen
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.metrics import Metrics
from triaged.daemon.snapshot import LiveState
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.quota import QuotaSettings
from triaged.rulesfile.loader import parse
from triaged.settings import Settings
from triaged.workspace import Workspace, open_workspace

pytestmark = pytest.mark.anyio

PATHS: Final = ("/", "/metrics", "/healthz", "/readyz", "/style.css")
STATUSES: Final = [200, 200, 200, 503, 200]
SAFE: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class IdleDaemon:
    """A daemon that has nothing to do."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.metrics = Metrics("default")
        self.errors = InternalErrors()
        self.health = Health(
            heartbeat_at=0.0, interval=timedelta(minutes=5), poll_due=9.0
        )
        self.ruleset = parse(RULES.encode(), "rules.yaml").ruleset
        self.quota = workspace.rate_limiter.snapshot()
        self.error: Exception | None = None
        self.readers: set[int] = set()

    def live_state(self) -> LiveState:
        self.readers.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        return LiveState(
            workspace="default",
            now=self.workspace.clock.now(),
            dry_run=False,
            ruleset=self.ruleset,
            health=self.health,
            quota=self.quota,
            clock_skew=timedelta(0),
            errors=self.errors.counts(),
        )


class Door:
    """Where a web server listens."""

    def __init__(self, port: int, daemon: IdleDaemon) -> None:
        self.port = port
        self.daemon = daemon

    async def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as http:
            return await http.request(method, path, headers=headers)

    async def say(self, words: bytes) -> bytes:
        """Send bytes; return all that comes back until the other side closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(words)
        try:
            return await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def serving(directory: Path, host: str = "127.0.0.1") -> AsyncIterator[Door]:
    settings = Settings(
        key=KeySource(value=parse_key(KEY)),
        api_url="http://127.0.0.1:1",
        quota=QuotaSettings(),
        state_dir=directory / "state",
    )
    listener = listen(host, 0)
    async with open_workspace(settings, ManualClock()) as workspace:
        daemon = IdleDaemon(workspace)
        server = HttpServer(daemon)
        server.start(listener)
        try:
            yield Door(listener.getsockname()[1], daemon)
        finally:
            await server.stop()
            listener.close()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with serving(tmp_path) as made:
        yield made


async def test_what_is_there(door: Door) -> None:
    """Five pages can be read, and asked about by HEAD; nothing else is there."""
    read = [(await door.ask("GET", path)).status_code for path in PATHS]
    asked = [await door.ask("HEAD", path) for path in PATHS]

    assert read == STATUSES
    assert [answer.status_code for answer in asked] == read
    assert {answer.content for answer in asked} == {b""}
    for path in ("/nothing", "/metrics/", "//", "/healthz%00", "/../etc/passwd", "*"):
        words = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await door.say(words.encode())).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_can_be_written(door: Door, path: str) -> None:
    """A method that is neither GET nor HEAD gets a 405 that names those two."""
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"):
        answer = await door.ask(method, path)

        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 99_999,
        b"GET /" + b"x" * 99_999,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
)
async def test_what_is_too_much(door: Door, words: bytes) -> None:
    """Long headers and nonsense are refused, and the connection is closed."""
    answer = await door.say(words)

    # A reset may overtake the answer to those who go on sending.
    assert answer.startswith(b"HTTP/1.1 400 ") or len(words) > 9_999
    assert (await door.ask("GET", "/healthz")).status_code == 200


async def test_every_answer_has_the_safe_headers(door: Door) -> None:
    """Pages, refusals and errors alike may be neither framed, sniffed nor kept."""
    answers = [await door.ask("GET", path) for path in (*PATHS, "/nothing")]
    answers += [await door.ask("POST", "/"), await door.ask("GET", "/", Host="a.b")]
    for answer in answers:
        assert SAFE.items() <= dict(answer.headers).items()
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("localhost:9464", 200),
        ("LOCALHOST", 200),
        ("triaged.localhost", 200),
        ("10.1.2.3", 400),
        ("evil.example", 400),
        ("evil.example:9464", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.", 400),
        ("[evil.example]", 400),
        ("127.0.0.1@evil.example", 400),
    ],
)
async def test_pages_answer_to_their_own_name(
    door: Door, host: str, status: int
) -> None:
    """A site that has its name lead here (DNS rebinding) cannot read the pages."""
    assert (await door.ask("GET", "/", Host=host)).status_code == status
    task = (await door.ask("GET", "/tasks/t1", Host=host)).status_code
    assert task == (404 if status == 200 else status)
    assert (await door.ask("GET", "/metrics", Host=host)).status_code == 200


async def test_an_open_port_answers_to_a_proxys_name(tmp_path: Path) -> None:
    """Opened to others on purpose, the page may be asked for under any name."""
    async with serving(tmp_path, "0.0.0.0") as door:  # noqa: S104 - that is the point
        answer = await door.ask("GET", "/", Host="triaged.example")

    assert answer.status_code == 200


async def test_the_loop_is_not_alive(door: Door) -> None:
    """Without a poll to come it is 503, and the reason is named."""
    door.daemon.health.poll_due = None
    answer = await door.ask("GET", "/healthz")

    assert (answer.status_code, answer.text) == (503, "no poll is planned\n")


@pytest.mark.parametrize(
    ("path", "where"),
    [("/", Where.PAGE), ("/tasks/x", Where.PAGE), ("/metrics", Where.METRICS)],
)
async def test_an_error_costs_one_answer(door: Door, path: str, where: Where) -> None:
    """What a page or a metric raises is a 500 and is counted; the rest goes on."""
    door.daemon.error = ZeroDivisionError()
    broken = await door.ask("GET", path)
    alive = await door.ask("GET", "/healthz")
    door.daemon.error = None

    assert broken.status_code == 500
    assert "ZeroDivision" not in broken.text
    assert alive.status_code == 200
    assert door.daemon.errors.counts()[where] == 1
    assert (await door.ask("GET", path)).status_code in {200, 404}


async def test_readers_do_not_hold_the_loop(door: Door) -> None:
    """What reads the ledger for a page or for metrics runs beside the loop."""
    for path in ("/", "/tasks/x", "/metrics"):
        await door.ask("GET", path)

    assert door.daemon.readers
    assert threading.get_ident() not in door.daemon.readers
