"""Tests of the client: what every failure becomes, and where the key goes."""

import asyncio
import gzip
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Final, TypeAlias

import httpx
import pytest

from tests.builders import T0
from tests.clocks import AutoAdvanceClock, ManualClock
from tests.connections import OwnConnection
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.leadlex import connection as connection_module
from triaged.leadlex import protocol
from triaged.leadlex.errors import (
    KeyRejected,
    LexiError,
    MalformedResponse,
    NoResponse,
    NotPending,
    RateLimited,
    RequestRejected,
    Unreachable,
)
from triaged.leadlex.models import ApiCall
from triaged.leadlex.reader import LexiReader
from triaged.leadlex.writer import LexiWriter
from triaged.quota import RateLimitHeaders
from triaged.sandbox.faults import (
    KINDS_WITH_EFFECT,
    LIST_KINDS,
    FaultKind,
    parse_fault,
)
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.anyio

BASE: Final = "https://data.leadlex.com/functions/v1/api-gateway"
KEY: Final = "wbk_live_0123456789abcdef"
EMPTY: Final = b'{"data":{"tasks":[]}}'

Server: TypeAlias = Callable[[httpx.Request], httpx.Response]


class Trace:
    """What the connection told of its calls."""

    def __init__(self) -> None:
        self.exchanges: list[ApiCall] = []

    @property
    def only(self) -> ApiCall:
        (exchange,) = self.exchanges
        return exchange


def connect(
    server: Server | httpx.AsyncBaseTransport | None = None,
    *,
    url: str = BASE,
    trace: Trace | None = None,
) -> OwnConnection:
    """Return a connection to a function, a transport or the real network."""
    if not (server is None or isinstance(server, httpx.AsyncBaseTransport)):
        server = httpx.MockTransport(server)
    return OwnConnection(
        base_url=url,
        key=lambda: KEY,
        clock=ManualClock(),
        on_call=(trace or Trace()).exchanges.append,
        transport=server,
    )


def saying(
    status: int = 200, body: bytes = EMPTY, **headers: str
) -> Callable[[httpx.Request], httpx.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, content=body, headers=named)


def failing(error: Exception) -> Server:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    return fail


async def list_error(connection: OwnConnection) -> LexiError:
    async with connection:
        with pytest.raises(LexiError) as raised:
            await LexiReader(connection).list_tasks()
    return raised.value


async def dismiss_error(connection: OwnConnection, task_id: str = "a") -> LexiError:
    async with connection:
        with pytest.raises(LexiError) as raised:
            await LexiWriter(connection).dismiss(task_id, "testing")
    return raised.value


async def test_a_list_asks_for_its_status() -> None:
    """One GET under the base path, with key, agent and status, and no body."""
    asked: list[httpx.Request] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=EMPTY)

    async with connect(server, url=BASE + "/") as connection:
        await LexiReader(connection).list_tasks()
    (request,) = asked

    assert (request.method, str(request.url)) == (
        "GET",
        f"{BASE}/v1/lexi/tasks?status=pending",
    )
    assert request.content == b""
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["user-agent"].startswith("triaged/")
    assert request.headers["accept-encoding"] == "identity"


async def test_a_dismissal_tells_its_reason() -> None:
    """One POST with the reason as JSON, as documented."""
    asked: list[httpx.Request] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        body = b'{"data":{"task_id":"a","status":"dismissed"}}'
        return httpx.Response(200, content=body, headers={"X-Request-ID": "req_1"})

    async with connect(server) as connection:
        done = await LexiWriter(connection).dismiss("a", "testing")
    (request,) = asked

    assert (request.method, request.url.path) == (
        "POST",
        "/functions/v1/api-gateway/v1/lexi/tasks/a/dismiss",
    )
    assert request.content == b'{"reason":"testing"}'
    assert request.headers["content-type"] == "application/json"
    assert done.request_id == "req_1"


async def test_the_key_is_read_for_each_call() -> None:
    """A rotated key is used from the next call on."""
    keys = iter(["wbk_one", "wbk_two"])
    seen: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, content=EMPTY)

    async with OwnConnection(
        base_url=BASE,
        key=lambda: next(keys),
        clock=ManualClock(),
        transport=httpx.MockTransport(server),
    ) as connection:
        await LexiReader(connection).list_tasks()
        await LexiReader(connection).list_tasks()

    assert seen == ["Bearer wbk_one", "Bearer wbk_two"]


async def test_the_headers_are_handed_on() -> None:
    """What the server says of the quota comes with the list and with an error."""
    long = "r" * 200
    good = saying(x_ratelimit_remaining="7", x_request_id=long)
    bad = saying(429, retry_after="0", x_ratelimit_remaining="7", x_request_id=long)
    async with connect(good) as connection:
        listed = await LexiReader(connection).list_tasks()
    error = await list_error(connect(bad))

    assert listed.rate_limit == RateLimitHeaders(remaining=7)
    assert error.rate_limit == RateLimitHeaders(remaining=7, retry_after=T0)
    assert listed.request_id == error.request_id == "r" * 100


@pytest.mark.parametrize("cookie", [b"a=b; Path=/", b"a=\xe9"])
async def test_no_cookie_is_kept(cookie: bytes) -> None:
    """A call depends on no answer before it, however odd that was."""
    asked: list[httpx.Request] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        headers = [(b"Set-Cookie", cookie)]
        return httpx.Response(200, content=EMPTY, headers=headers)

    async with connect(server) as connection:
        await LexiReader(connection).list_tasks()
        await LexiReader(connection).list_tasks()

    assert ["cookie" in request.headers for request in asked] == [False, False]


async def test_each_call_is_reported() -> None:
    """Calls that failed are reported as well."""
    good, bad, cut = Trace(), Trace(), Trace()
    async with connect(saying(x_request_id="r"), trace=good) as connection:
        await LexiReader(connection).list_tasks()
    await dismiss_error(connect(saying(404), trace=bad))
    await list_error(connect(failing(httpx.ReadError("")), trace=cut))

    assert good.only == ApiCall(
        operation="list",
        status=200,
        seconds=0.0,
        request_id="r",
        rate_limit=RateLimitHeaders(),
    )
    assert (bad.only.operation, bad.only.status) == ("dismiss", 404)
    assert (cut.only.operation, cut.only.status) == ("list", None)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.ConnectError("refused"), Unreachable),
        (httpx.ConnectTimeout(""), Unreachable),
        (httpx.PoolTimeout(""), Unreachable),
        (httpx.ReadTimeout(""), NoResponse),
        (httpx.WriteTimeout(""), NoResponse),
        (httpx.ReadError(""), NoResponse),
        (httpx.WriteError(""), NoResponse),
        (httpx.CloseError(""), NoResponse),
        (httpx.RemoteProtocolError("cut"), NoResponse),
        (httpx.ProxyError(""), NoResponse),
        (httpx.DecodingError(""), NoResponse),
        (httpx.StreamClosed(), NoResponse),
        (TimeoutError(), NoResponse),
    ],
)
async def test_only_a_failed_connect_is_sure_that_nothing_was_sent(
    failure: Exception, kind: type[LexiError]
) -> None:
    """Every other failure may have come after LeadLex received the request."""
    error = await dismiss_error(connect(failing(failure)))

    assert type(error) is kind
    assert (error.operation, error.status) == ("dismiss", None)
    assert type(failure).__name__ in str(error)
    assert error.__cause__ is failure


async def test_a_closed_port() -> None:
    """A real refused connection is unreachable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = await dismiss_error(connect(url=f"http://127.0.0.1:{port}"))

    assert type(error) is Unreachable


async def test_an_unknown_host() -> None:
    """A host that no resolver can know is unreachable, however odd its name."""
    error = await list_error(connect(url="https://a..invalid"))

    assert type(error) is Unreachable


@pytest.mark.parametrize(
    ("url", "task_id"), [(BASE, "x" * 70_000), ("https://xn--", "a")]
)
async def test_a_url_that_cannot_be_is_not_sent(url: str, task_id: str) -> None:
    """What makes no URL is refused like what the server will not take."""
    trace = Trace()
    error = await dismiss_error(connect(saying(), url=url, trace=trace), task_id)

    assert type(error) is RequestRejected
    assert trace.only.status is None


@pytest.mark.parametrize(
    "location",
    [
        "https://example.com/elsewhere",
        "/elsewhere",
        "javascript:alert(1)",
        "https:",
        "https://[::1",
        "x:y",
        "\x7f",
        "//",
        "",
    ],
)
async def test_no_redirect_is_followed(location: str) -> None:
    """The key goes nowhere else; what became of the call is unknown."""
    hosts: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(307, headers={"Location": location})

    error = await dismiss_error(connect(server))

    assert isinstance(error, MalformedResponse | NoResponse)
    assert hosts == ["data.leadlex.com"]


async def test_a_body_beyond_the_limit_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer that does not end is given up at the limit, and not a byte before."""
    monkeypatch.setattr(protocol, "MAX_LIST_BYTES", len(EMPTY))
    async with connect(saying()) as connection:
        listed = await LexiReader(connection).list_tasks()
    error = await list_error(connect(saying(body=EMPTY + b" ", x_request_id="r")))

    assert listed.tasks == []
    assert type(error) is MalformedResponse
    assert (error.status, error.request_id) == (200, "r")


class Trickle(httpx.AsyncBaseTransport):
    """Sends a blank now and then, for ever."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        del request

        async def blanks() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.001)  # noqa: TID251 - the real loop's time-out

        return httpx.Response(200, content=blanks())


async def test_a_body_that_trickles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole call has a deadline, whatever keeps coming in."""
    monkeypatch.setattr(connection_module, "TOTAL_TIMEOUT", 0.05)
    error = await dismiss_error(connect(Trickle()))

    assert type(error) is NoResponse
    assert error.status == 200


async def test_cancelling_is_not_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is cancelled stays cancelled, and the call is reported all the same."""
    monkeypatch.setattr(connection_module, "TOTAL_TIMEOUT", 60.0)
    trace = Trace()
    async with connect(Trickle(), trace=trace) as connection:
        calling = asyncio.create_task(LexiWriter(connection).dismiss("a", "testing"))
        await asyncio.sleep(0.02)  # noqa: TID251 - lets the real loop come to it
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling

    assert trace.only.status == 200


DONE: Final = b'{"data":{"task_id":"t","status":"dismissed"}}'


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [
        (202, {}, "the answer has status 202"),
        (203, {}, "the answer has status 203"),
        (206, {}, "the answer has status 206"),
        (207, {}, "the answer has status 207"),
        (200, {"age": "60"}, "a cache gave an earlier answer"),
        (200, {"x_proxy_cache": "HIT"}, "a cache gave an earlier answer"),
    ],
)
async def test_a_confirmation_is_of_leadlex_and_of_now(
    status: int, headers: dict[str, str], why: str
) -> None:
    """Accepted, changed on the way, a part, or of a cache: the list has to tell."""
    error = await dismiss_error(connect(saying(status, DONE, **headers)))

    assert type(error) is MalformedResponse
    assert error.message == why


@pytest.mark.parametrize("status", [200, 201])
async def test_a_confirmation_is_taken(status: int) -> None:
    """What LeadLex says to be done is done."""
    async with connect(saying(status, DONE)) as connection:
        await LexiWriter(connection).dismiss("t", "testing")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"data":{"ok":true}}'])
async def test_a_confirmation_of_nothing_is_garbled(body: bytes) -> None:
    """A 200 that does not name task and status leaves the dismissal unknown."""
    error = await dismiss_error(connect(saying(200, body, x_ratelimit_remaining="5")))

    assert type(error) is MalformedResponse
    assert (error.status, error.rate_limit.remaining) == (200, 5)


async def test_a_body_that_cannot_be_unpacked() -> None:
    """Compression that was not asked for, and is broken, is no answer."""

    def server(_: httpx.Request) -> httpx.Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"no gzip"

        headers = {"Content-Encoding": "gzip"}
        return httpx.Response(200, content=body(), headers=headers)

    assert type(await dismiss_error(connect(server))) is NoResponse


async def test_a_body_is_unpacked_once() -> None:
    """One layer of compression is read; a second would make a flood of a drop."""
    packed = gzip.compress(EMPTY)
    twice = saying(body=gzip.compress(packed), content_encoding="gzip, gzip")
    for encoding in ("gzip", "x-gzip", "GZIP"):

        def once(_: httpx.Request, encoding: str = encoding) -> httpx.Response:
            headers = {"Content-Encoding": encoding}
            return httpx.Response(200, headers=headers, stream=_Whole(packed))

        async with connect(once) as connection:
            listed = await LexiReader(connection).list_tasks()

        assert listed.tasks == []
    assert type(await list_error(connect(twice))) is MalformedResponse


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    with running_sandbox(SandboxSettings(task_count=3), AutoAdvanceClock()) as running:
        yield running


@pytest.fixture
def sandbox(shared: RunningSandbox) -> RunningSandbox:
    shared.world.reset()
    return shared


_FAULTS: Final[
    dict[FaultKind, tuple[type[LexiError] | None, type[LexiError] | None]]
] = {
    FaultKind.MINUTE_LIMIT: (RateLimited, RateLimited),
    FaultKind.DAY_LIMIT: (RateLimited, RateLimited),
    FaultKind.ERROR_500: (NoResponse, NoResponse),
    FaultKind.ERROR_502: (NoResponse, NoResponse),
    FaultKind.ERROR_503: (NoResponse, NoResponse),
    FaultKind.ERROR_AFTER_EFFECT: (NoResponse, NoResponse),
    FaultKind.DROP_BEFORE_EFFECT: (NoResponse, NoResponse),
    FaultKind.DROP_AFTER_EFFECT: (NoResponse, NoResponse),
    FaultKind.SLOW: (None, None),
    FaultKind.DELAY_AFTER_EFFECT: (None, None),
    FaultKind.HTML: (MalformedResponse, MalformedResponse),
    FaultKind.TRUNCATED: (NoResponse, NoResponse),
    FaultKind.BAD_SCHEMA: (MalformedResponse, MalformedResponse),
    FaultKind.REDIRECT: (MalformedResponse, MalformedResponse),
    FaultKind.HUGE: (MalformedResponse, MalformedResponse),
    FaultKind.KEY_REJECTED: (KeyRejected, KeyRejected),
    FaultKind.FORBIDDEN: (KeyRejected, KeyRejected),
    FaultKind.HTML_404: (MalformedResponse, MalformedResponse),
    FaultKind.NOT_PENDING: (RequestRejected, NotPending),
    FaultKind.REJECTED: (RequestRejected, RequestRejected),
    FaultKind.RETRY_AFTER: (NoResponse, NoResponse),
    FaultKind.PARTIAL_ERROR: (None, MalformedResponse),
    FaultKind.AGE: (None, MalformedResponse),
}


async def raised_by(call: object) -> type[LexiError] | None:
    assert asyncio.iscoroutine(call)
    try:
        await call
    except LexiError as error:
        return type(error)
    return None


@pytest.mark.parametrize("kind", sorted(set(FaultKind) - LIST_KINDS))
async def test_every_fault_of_the_sandbox(
    sandbox: RunningSandbox, kind: FaultKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client raises never denies what the server may have done."""
    monkeypatch.setattr(protocol, "MAX_LIST_BYTES", 1 << 20)
    sandbox.world.faults.add(parse_fault(f"list:{kind}"))
    sandbox.world.faults.add(parse_fault(f"dismiss:{kind}"))
    task_id = sandbox.world.store.ids("pending")[0]
    async with connect(url=sandbox.api_url) as connection:
        on_list = await raised_by(LexiReader(connection).list_tasks())
        on_dismiss = await raised_by(LexiWriter(connection).dismiss(task_id, "testing"))
        afterwards = await raised_by(LexiReader(connection).list_tasks())
    done = sandbox.world.store.status_of(task_id) == "dismissed"

    assert (on_list, on_dismiss) == _FAULTS[kind]
    assert done == (kind in KINDS_WITH_EFFECT)
    assert not done or on_dismiss in {None, NoResponse, MalformedResponse}
    assert afterwards is None


@pytest.mark.parametrize(
    ("fault", "doubt", "rows"),
    [
        ("no-filter", "the filter was ignored", False),
        ("paged=1", "1 of 2 tasks are listed", False),
        ("partial-error", "an error beside its tasks", True),
        ("age", "a cache gave an earlier answer", True),
        ("null-tasks", None, False),
    ],
)
async def test_every_misleading_list_of_the_sandbox(
    sandbox: RunningSandbox, fault: str, doubt: str | None, *, rows: bool
) -> None:
    """A list that is not what it seems is read, and says what is wrong with it."""
    task_id = sandbox.world.store.ids("pending")[0]
    async with connect(url=sandbox.api_url) as connection:
        await LexiWriter(connection).dismiss(task_id, "testing")
        sandbox.world.faults.add(parse_fault(f"list:{fault}"))
        listed = await LexiReader(connection).list_tasks()
        afterwards = await LexiReader(connection).list_tasks()

    assert (doubt or "") in (listed.incomplete or "")
    assert (listed.incomplete is None, listed.rows_in_doubt) == (doubt is None, rows)
    assert (len(afterwards.tasks), afterwards.incomplete) == (2, None)


async def test_a_wait_is_honoured_on_any_status(sandbox: RunningSandbox) -> None:
    """Retry-After beside a 503 comes with the error, as with a 429."""
    sandbox.world.faults.add(parse_fault("list:503-retry-after=3600"))
    error = await list_error(connect(url=sandbox.api_url))

    assert type(error) is NoResponse
    assert error.rate_limit.retry_after == T0 + timedelta(hours=1)


@pytest.mark.parametrize(
    ("fault", "done"), [("slow=9", False), ("delay-after-effect=9", True)]
)
async def test_an_answer_that_comes_too_late(
    fault: str, *, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the deadline it is unknown whether the task was dismissed."""
    monkeypatch.setattr(connection_module, "TOTAL_TIMEOUT", 0.3)
    settings = SandboxSettings(task_count=1, faults=(parse_fault(f"dismiss:{fault}"),))
    with running_sandbox(settings, SystemClock()) as running:
        (task_id,) = running.world.store.ids("pending")
        error = await dismiss_error(connect(url=running.api_url), task_id)
        status = running.world.store.status_of(task_id)

    assert type(error) is NoResponse
    assert (status == "dismissed") is done


async def test_no_proxy_sees_plain_http(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment is not asked for what goes to loopback."""
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with connect(url=sandbox.api_url) as connection:
        listed = await LexiReader(connection).list_tasks()

    assert len(listed.tasks) == 3


async def test_a_netrc_does_not_replace_the_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The configured key is sent, whatever the environment knows of the host."""
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine data.leadlex.com login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, content=EMPTY)

    async with connect(server) as connection:
        await LexiReader(connection).list_tasks()

    assert seen == [f"Bearer {KEY}"]


async def test_the_key_shows_nowhere(
    sandbox: RunningSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """No error, no repr, no report and no log of any library holds the key."""
    trace = Trace()
    texts = []
    with caplog.at_level(logging.DEBUG):
        for fault in ("401", "500", "drop-before-effect", "redirect", "html"):
            sandbox.world.faults.add(parse_fault(f"dismiss:{fault}"))
            connection = connect(url=sandbox.api_url, trace=trace)
            error = await dismiss_error(connection)
            texts += [str(error), repr(error), repr(vars(error)), repr(connection)]
            texts += [repr(error.__cause__), str(error.__cause__)]
    texts += [repr(trace.exchanges), caplog.text]

    assert len(trace.exchanges) == 5
    assert not [text for text in texts if KEY in text]


async def test_the_list_of_a_whole_workspace(sandbox: RunningSandbox) -> None:
    """The real client lists what the sandbox has, under its request id."""
    async with connect(url=sandbox.api_url) as connection:
        listed = await LexiReader(connection).list_tasks()

    assert [task.id for task in listed.tasks] == sandbox.world.store.ids("pending")
    assert str(listed.request_id).startswith("req_")
    assert listed.rate_limit.limit == 1000


class _Whole(httpx.AsyncByteStream):
    """A body as the network brings it, not unpacked yet."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


class _CutBody(httpx.AsyncByteStream):
    """A body that breaks off before its end."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"err'
        raise httpx.ReadError("cut")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "kind"), [(401, NoResponse), (403, NoResponse), (429, RateLimited)]
)
async def test_a_refusal_whose_body_is_cut(status: int, kind: type[LexiError]) -> None:
    """A 429 needs no body; only a whole one says that the key was refused."""

    def serve(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, stream=_CutBody())

    async with OwnConnection(
        base_url="http://127.0.0.1",
        key=lambda: "wbk_x",
        clock=ManualClock(),
        transport=httpx.MockTransport(serve),
    ) as connection:
        with pytest.raises(kind):
            await LexiReader(connection).list_tasks()
