"""The web port over a real socket: who is answered what, and who is sent away."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.http_probe import HttpProbe, serving
from triaged.daemon.internal_errors import Where

pytestmark = pytest.mark.anyio

PATHS: Final = ("/", "/metrics", "/healthz", "/readyz", "/style.css")
STATUSES: Final = [200, 200, 200, 503, 200]
SAFE: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[HttpProbe]:
    async with serving(tmp_path) as made:
        yield made


async def test_what_is_there(door: HttpProbe) -> None:
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
async def test_nothing_can_be_written(door: HttpProbe, path: str) -> None:
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
async def test_what_is_too_much(door: HttpProbe, words: bytes) -> None:
    """Long headers and nonsense are refused, and the connection is closed."""
    answer = await door.say(words)

    # A reset may overtake the answer to those who go on sending.
    assert answer.startswith(b"HTTP/1.1 400 ") or len(words) > 9_999
    assert (await door.ask("GET", "/healthz")).status_code == 200


async def test_every_answer_has_the_safe_headers(door: HttpProbe) -> None:
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
    door: HttpProbe, host: str, status: int
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


async def test_the_loop_is_not_alive(door: HttpProbe) -> None:
    """Without a poll to come it is 503, and the reason is named."""
    door.daemon.health.poll_due = None
    answer = await door.ask("GET", "/healthz")

    assert (answer.status_code, answer.text) == (503, "no poll is planned\n")


@pytest.mark.parametrize(
    ("path", "where"),
    [("/", Where.PAGE), ("/tasks/x", Where.PAGE), ("/metrics", Where.METRICS)],
)
async def test_an_error_costs_one_answer(
    door: HttpProbe, path: str, where: Where
) -> None:
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


async def test_readers_do_not_hold_the_loop(door: HttpProbe) -> None:
    """What reads the ledger for a page or for metrics runs beside the loop."""
    for path in ("/", "/tasks/x", "/metrics"):
        await door.ask("GET", path)

    assert door.daemon.readers
    assert threading.get_ident() not in door.daemon.readers
