"""Whom the key is sent to, and what a stranger on the web port can do."""

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.e2e.harness import Program, RunningDaemon, eventually
from tests.reliability.report import FULL, Report
from tests.reliability.tls import CertificateAuthority, serving
from tests.sandbox_server import running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.reliability

CHAPTER: Final = "Secrets and reach"
NONSENSE: Final = (b"\0\1\2\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\x16\x03\x01" * 9)
# Below the number at which everybody is answered 503.
FLOOD: Final = 900 if FULL else 500


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    made = CertificateAuthority(tmp_path_factory.mktemp("authority"))
    made.make()
    return made


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path, "https://localhost")


def test_only_a_certificate_that_is_trusted(
    authority: CertificateAuthority, program: Program, report: Report
) -> None:
    """The key is sent only to a server whose certificate is trusted and matches."""
    good = authority.issue("good", names="IP:127.0.0.1,DNS:localhost")
    other = authority.issue("other", names="DNS:other.example")
    expired = authority.issue("expired", names="IP:127.0.0.1", days=-1)
    trusted = {"SSL_CERT_FILE": str(authority.certificate), "SSL_CERT_DIR": ""}
    cases: tuple[tuple[Path, dict[str, str], int, str], ...] = (
        (good, trusted, 0, ""),
        (good, {}, 69, "certificate verify failed"),
        (other, trusted, 69, "certificate is not valid for"),
        (expired, trusted, 69, "certificate has expired"),
    )
    with report.check(CHAPTER, "the key needs a certificate that is trusted") as check:
        for certificate, settings, code, why in cases:
            with serving(certificate) as server:
                program.settings = {
                    **settings,
                    "TRIAGED_API_URL": f"https://127.0.0.1:{server.port}",
                }
                _forget(program)
                ended = program.run("run", "--once")
            check.runs += 1

            assert ended.returncode == code, ended.stderr
            assert why in ended.stderr
            assert bool(server.headers) is (code == 0)
        check.result = "trusted: taken; unknown, another's, expired: refused with 69"


def test_no_redirect_is_followed(program: Program, report: Report) -> None:
    """No redirect is followed, with or without the key."""
    statuses = (301, 302, 303, 307, 308) if FULL else (302, 307)
    with (
        report.check(CHAPTER, "no redirect is followed") as check,
        serving() as elsewhere,
    ):
        target = f"http://127.0.0.1:{elsewhere.port}/"
        for status in statuses:
            with serving(status=status, location=target) as server:
                program.settings["TRIAGED_API_URL"] = f"http://127.0.0.1:{server.port}"
                _forget(program)
                ended = program.run("run", "--once")
            check.runs += 1

            assert len(server.headers) == 1
            assert ended.returncode != 0
        check.result = f"the other server was asked {len(elsewhere.headers)} times"

        assert elsewhere.headers == []


def _forget(program: Program) -> None:
    """Remove the ledger: it belongs to one API address, and refuses the next."""
    shutil.rmtree(program.directory / "state", ignore_errors=True)


@pytest.fixture
def daemon(program: Program) -> Iterator[RunningDaemon]:
    settings = SandboxSettings(task_count=5, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as sandbox:
        program.api_url = sandbox.api_url
        with program.daemon() as running:
            running.wait_for("cycle.finished")
            yield running


def connection(daemon: RunningDaemon, first: bytes = b"") -> socket.socket:
    made = socket.create_connection(
        ("127.0.0.1", int(daemon.url().rpartition(":")[2])), 20
    )
    made.sendall(first)
    return made


def test_a_flood_of_connections(daemon: RunningDaemon, report: Report) -> None:
    """Hundreds of silent connections do not keep others from being answered."""
    slowest = 0.0
    with report.check(CHAPTER, "a flood of connections keeps nobody out") as check:
        before = len(daemon.named("cycle.finished"))
        crowd = []
        for number in range(FLOOD):
            crowd.append(connection(daemon, b"GET / HTTP/1.1\r\nHo"))
            if number % 100 == 99:
                began = time.monotonic()
                assert daemon.get("/healthz").status_code == 200
                slowest = max(slowest, time.monotonic() - began)
        eventually(lambda: len(daemon.named("cycle.finished")) > before + 1)
        for each in crowd:
            each.close()
        check.runs = FLOOD
        check.result = f"/healthz within {slowest:.1f} s all along; cycles went on"

        assert slowest < 10


def test_an_idle_connection_is_closed(daemon: RunningDaemon, report: Report) -> None:
    """A connection that was answered and asks for nothing more ends in time."""
    with report.check(CHAPTER, "idle connections end") as check:
        began = time.monotonic()
        with connection(daemon, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as idle:
            while not is_ended(idle) and time.monotonic() < began + 20:
                time.sleep(0.2)  # noqa: TID251 - a stranger's clock
        took = time.monotonic() - began
        check.runs, check.result = 1, f"after {took:.0f} s"

        assert took < 8


def is_ended(each: socket.socket) -> bool:
    """Say whether the other side has closed; read what it sent before."""
    each.settimeout(0.01)
    try:
        return not each.recv(65536)
    except TimeoutError:
        return False
    except OSError:
        return True


# What a daemon tells of itself at any time.
ITS_OWN: Final = ("cycle.", "daemon.", "ledger.", "quota.", "rules.", "web.")


def test_nonsense_fills_no_log(daemon: RunningDaemon, report: Report) -> None:
    """What strangers send is answered or not, and never logged."""
    with report.check(CHAPTER, "nonsense on the web port fills no log") as check:
        daemon.wait_for("cycle.finished")
        before = len(daemon.events)
        for words in NONSENSE * 100:
            with connection(daemon, words) as each:
                each.shutdown(socket.SHUT_WR)
                each.recv(65536)
        answered = httpx.get(daemon.url() + "/healthz").status_code
        names = [event["event"] for event in daemon.events[before:]]
        logged = [name for name in names if not name.startswith(ITS_OWN)]
        told = f"{len(logged)} lines logged; then {answered}"
        check.runs, check.result = 300, told

        assert logged == []
        assert answered == 200
