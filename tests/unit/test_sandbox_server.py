"""Serving: loopback only, beside something else, gone when it is told to go."""

import asyncio
import signal
import socket

import httpx
import pytest

from tests.clocks import AutoAdvanceClock
from tests.sandbox_server import running_sandbox
from triaged.sandbox.faults import parse_fault
from triaged.sandbox.server import Sandbox, listen, root_url, serve_on
from triaged.sandbox.settings import PLANS, SandboxSettings


@pytest.mark.parametrize("host", ["::", "192.0.2.1", "example.com", ""])
def test_only_loopback_is_bound(host: str) -> None:
    """A sandbox takes any key, so it must be reachable from this machine only."""
    with pytest.raises(ValueError, match="loopback only"):
        listen(host)


def test_listening_picks_a_free_port() -> None:
    """Port 0 is any free one, by name or by number."""
    with listen("localhost") as first, listen() as second:
        assert root_url(first).startswith("http://127.0.0.1:")
        assert root_url(first) != root_url(second)


def test_ipv6_is_in_brackets() -> None:
    """The URL of an IPv6 address can be used as it is."""
    try:
        listener = listen("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with listener:
        assert root_url(listener).startswith("http://[::1]:")


def test_serve_ends_when_cancelled_and_leaves_signals_alone() -> None:
    """It runs in the caller's loop, and the caller keeps SIGINT and SIGTERM."""
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    async def scenario() -> tuple[int, list[object], str]:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        sandbox = Sandbox(SandboxSettings(task_count=3), AutoAdvanceClock())
        serving = asyncio.ensure_future(
            serve_on(sandbox, listen(), on_ready=ready.set_result)
        )
        base = await ready
        async with httpx.AsyncClient() as client:
            answer = await client.get(
                f"{base}/v1/lexi/tasks", headers={"Authorization": "Bearer wbk_1"}
            )
        during = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        return answer.status_code, [*during], base

    status, during, base = asyncio.run(scenario())

    assert status == 200
    assert during[1] == handlers[1]
    with pytest.raises(httpx.ConnectError):
        httpx.get(base)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Not at the start, not for a call, not for a cut, not at the end."""
    settings = SandboxSettings(task_count=1)
    with running_sandbox(settings) as running:
        httpx.post(
            f"{running.url}/sandbox/faults", json={"faults": ["any:drop-after-effect"]}
        )
        with pytest.raises(httpx.TransportError):
            httpx.get(
                f"{running.api_url}/v1/lexi/tasks",
                headers={"Authorization": "Bearer wbk_1"},
            )

    assert capfd.readouterr() == ("", "")


def test_endless_answer_does_not_hold_up_the_end(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A client that is still reading is cut off, quietly."""
    settings = SandboxSettings(task_count=1, faults=(parse_fault("list:huge"),))
    with httpx.Client(headers={"Authorization": "Bearer wbk_1"}) as client:
        with running_sandbox(settings) as running:
            request = client.build_request("GET", f"{running.api_url}/v1/lexi/tasks")
            answer = client.send(request, stream=True)
        with pytest.raises(httpx.TransportError):
            answer.read()

    assert capfd.readouterr() == ("", "")


def test_client_that_hangs_up_within_its_request(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Half a request is no request, and no reason to complain."""
    with running_sandbox(SandboxSettings(task_count=1)) as running:
        port = httpx.URL(running.url).port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(
                b"POST /functions/v1/api-gateway/v1/lexi/tasks/x/dismiss HTTP/1.1\r\n"
                b"Host: x\r\nAuthorization: Bearer wbk_1\r\nContent-Length: 9\r\n\r\n{"
            )
        httpx.get(running.url)
        calls = len(running.world.calls)

    assert calls == 0
    assert capfd.readouterr() == ("", "")


def test_plans_have_the_documented_limits() -> None:
    """Starter, pro and org, a minute and a day."""
    assert PLANS == {"starter": (10, 100), "pro": (50, 1000), "org": (200, 10000)}
