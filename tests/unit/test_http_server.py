"""The web port over a real socket: who is answered what, and who is sent away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest
from prometheus_client import CollectorRegistry

from tests.builders import T0
from tests.clocks import ManualClock
from tests.e2e.harness import KEY, RULES
from triaged.daemon import http_limits as doorkeeper
from triaged.daemon.health import Health
from triaged.daemon.http_server import HttpServer, listen
from triaged.daemon.metrics import Metrics
from triaged.daemon.rules_watcher import RulesWatcher
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.quota import QuotaSettings
from triaged.settings import Settings
from triaged.workspace import open_workspace

pytestmark = pytest.mark.anyio

PATHS: Final = ("/", "/metrics", "/healthz", "/readyz")
SAFE: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Shown:
    """A daemon that has nothing to do."""

    dry_run = False

    def __init__(self, rules: Path) -> None:
        self.metrics = Metrics("acme", CollectorRegistry())
        self.health = Health(heartbeat_at=T0, interval=timedelta(minutes=5))
        self.rules_watcher = RulesWatcher(
            rules, on_loaded=lambda _: None, on_rejected=lambda: None
        )
        self.rules_watcher.load_initial(now=T0)

    def refresh_metrics(self) -> None:
        pass


class Door:
    """Where a web server listens."""

    def __init__(self, port: int) -> None:
        self.port = port

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
    rules = directory / "rules.yaml"
    rules.write_text(RULES)
    settings = Settings(
        key=KeySource(value=parse_key(KEY)),
        api_url="http://127.0.0.1:1",
        quota=QuotaSettings(),
        state_dir=directory / "state",
    )
    listener = listen(host, 0)
    async with open_workspace(settings, ManualClock()) as workspace:
        server = HttpServer(Shown(rules), workspace)
        server.start(listener)
        try:
            yield Door(listener.getsockname()[1])
        finally:
            await server.stop()
            listener.close()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with serving(tmp_path) as made:
        yield made


async def test_what_is_there(door: Door) -> None:
    """Four pages can be read, and asked about by HEAD; nothing else is there."""
    read = [(await door.ask("GET", path)).status_code for path in PATHS]
    asked = [await door.ask("HEAD", path) for path in PATHS]

    assert read == [200, 200, 200, 503]
    assert [answer.status_code for answer in asked] == read
    assert {answer.content for answer in asked} == {b""}
    for path in ("/nothing", "/metrics/", "//", "/healthz%00", "/../etc/passwd", "*"):
        words = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await door.say(words.encode())).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
async def test_here_is_only_to_read(door: Door, path: str) -> None:
    """Whatever is not GET or HEAD gets a 405 that says what would do."""
    methods = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW")
    for method in methods:
        words = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        answer = await door.say(words.encode())

        assert answer.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nallow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", 413),
        (
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            413,
        ),
        (b"GET /" + b"x" * 1024 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /?" + b"x" * 1024 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 8192 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 999_999, 400),
        (b"GET /" + b"x" * 999_999, 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    ],
)
async def test_what_is_too_much(door: Door, words: bytes, status: int) -> None:
    """Bodies, long heads and nonsense are refused, and the connection is closed."""
    answer = await door.say(words)

    # A reset may overtake the answer to those who go on sending.
    assert answer.startswith(b"HTTP/1.1 %d " % status) or len(words) > 99_999
    assert (await door.ask("GET", "/healthz")).status_code == 200


async def test_every_answer_has_the_safe_headers(door: Door) -> None:
    """Pages, refusals and errors alike may be neither framed, sniffed nor kept."""
    answers = [await door.ask("GET", path) for path in (*PATHS, "/nothing")]
    answers += [await door.ask("POST", "/"), await door.ask("GET", "/", Host="a.b")]
    for answer in answers:
        assert SAFE.items() <= dict(answer.headers).items()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    nonsense = await door.say(b"nonsense\r\n\r\n")
    assert all(f"{k}: {v}".encode() in nonsense for k, v in SAFE.items())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200),
        ("10.1.2.3", 200),
        ("[::1]:9464", 200),
        ("localhost:9464", 200),
        ("LOCALHOST", 200),
        ("triaged:9464", 200),
        ("triaged.localhost", 200),
        ("evil.example", 421),
        ("evil.example:9464", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.", 421),
        ("[evil.example]", 421),
        ("127.0.0.1@evil.example", 421),
    ],
)
async def test_the_page_is_for_whom_it_seems_to_be(
    door: Door, host: str, status: int
) -> None:
    """A site that has its name lead here (DNS rebinding) cannot read the page."""
    assert (await door.ask("GET", "/", Host=host)).status_code == status
    assert (await door.ask("GET", "/metrics", Host=host)).status_code == 200


async def test_an_open_port_answers_to_a_proxys_name(tmp_path: Path) -> None:
    """Opened to others on purpose, the page may be asked for under any name."""
    async with serving(tmp_path, "0.0.0.0") as door:  # noqa: S104 - that is the point
        answer = await door.ask("GET", "/", Host="triaged.cli.demo")

    assert answer.status_code == 200


async def test_a_slow_request_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither silence nor a head that never ends holds a connection for long."""
    monkeypatch.setattr(doorkeeper, "REQUEST_SECONDS", 0.2)
    async with serving(tmp_path) as door:
        said = [await door.say(b""), await door.say(b"GET / HTTP/1.1\r\nHost: x\r\n")]

    assert said == [b"", b""]


async def test_the_one_that_waits_longest_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all places taken a newcomer is answered, and the oldest is gone."""
    monkeypatch.setattr(doorkeeper, "MAX_CONNECTIONS", 3)
    async with serving(tmp_path) as door:
        crowd = []
        for _ in range(3):
            crowd.append(await asyncio.open_connection("127.0.0.1", door.port))
            await door_is_open()
        answer = await door.ask("GET", "/healthz")
        oldest = await asyncio.wait_for(crowd[0][0].read(), 5)
        crowd[1][1].write(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        second = await asyncio.wait_for(crowd[1][0].read(), 5)
        for _, writer in crowd:
            writer.close()

    assert answer.status_code == 200
    assert oldest == b""
    assert second.startswith(b"HTTP/1.1 200 ")


async def door_is_open() -> None:
    """Let the server accept what has connected."""
    for _ in range(20):
        await asyncio.sleep(0)  # noqa: TID251 - no time passes
