"""Tests of bytes to values: every answer of the API, and everything else."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders import T0
from triaged.leadlex import list_decoder, protocol
from triaged.leadlex.errors import (
    KeyRejected,
    LexiError,
    MalformedResponse,
    NoResponse,
    NotPending,
    RateLimited,
    RequestRejected,
    TaskNotFound,
)
from triaged.leadlex.headers import is_from_cache, read_rate_limit
from triaged.leadlex.list_decoder import ListDecoder
from triaged.quota import RateLimitHeaders
from triaged.rules.task import Json, Task, is_unreadable, parse_task

BASE: Final = "https://data.leadlex.com/functions/v1/api-gateway"
DEEP: Final = b'{"data":{"tasks":' + b"[" * 200_000 + b"]" * 200_000 + b"}}"


def envelope(code: str, message: str = "No") -> bytes:
    return json.dumps({"error": {"code": code, "message": message}}).encode()


HTML: Final = b"<!doctype html><html><body><h1>Not here</h1></body></html>"
PLATFORM: Final = b'{"code":"BOOT_ERROR","message":"Function failed to start"}'
NOT_PENDING: Final = envelope("validation_error", "Task has already been dismissed")


@pytest.mark.parametrize("operation", ["list", "dismiss"])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, envelope("invalid_key"), KeyRejected),
        (401, HTML, MalformedResponse),
        (401, b"", MalformedResponse),
        (401, PLATFORM, MalformedResponse),
        (401, envelope("revoked_key"), KeyRejected),
        (401, envelope("missing_authorization"), KeyRejected),
        (401, envelope("teapot"), RequestRejected),
        (403, envelope("insufficient_permissions"), KeyRejected),
        (403, HTML, MalformedResponse),
        (403, envelope("rate_limited"), RateLimited),
        (403, envelope("blocked_country"), RequestRejected),
        (403, envelope("country_forbidden"), RequestRejected),
        (403, envelope("subscription_expired"), RequestRejected),
        (403, envelope("monkey_business"), RequestRejected),
        (403, envelope("author_unknown"), RequestRejected),
        (403, envelope("forbidden"), KeyRejected),
        (401, envelope("token_expired"), KeyRejected),
        (403, envelope("token_bucket_empty"), RateLimited),
        (403, envelope("daily_limit_exceeded"), RateLimited),
        (400, envelope("throttled"), RateLimited),
        (429, envelope("rate_limited"), RateLimited),
        (429, HTML, RateLimited),
        (400, envelope("ambiguous_reference"), RequestRejected),
        (400, HTML, MalformedResponse),
        (402, envelope("insufficient_credits"), RequestRejected),
        (404, HTML, MalformedResponse),
        (404, PLATFORM, MalformedResponse),
        (404, b"", MalformedResponse),
        (405, HTML, MalformedResponse),
        (413, HTML, RequestRejected),
        (409, envelope("conflict"), RequestRejected),
        (414, b"", RequestRejected),
        (422, envelope("validation_error"), RequestRejected),
        (500, envelope("internal_error"), NoResponse),
        (502, HTML, NoResponse),
        (503, PLATFORM, NoResponse),
        (504, envelope("research_timeout"), NoResponse),
        (599, b"\xff", NoResponse),
        (101, b"", MalformedResponse),
        (304, b"", MalformedResponse),
        (307, HTML, MalformedResponse),
    ],
)
def test_the_error_table(
    operation: str, status: int, body: bytes, kind: type[LexiError]
) -> None:
    """Each documented and each likely refusal means one thing, by its status."""
    error = protocol.error_from_response(operation, status, body, request_id="req_1")

    assert type(error) is kind
    assert (error.operation, error.status) == (operation, status)
    assert error.request_id == "req_1"


@pytest.mark.parametrize(
    ("status", "code", "message", "on_dismiss"),
    [
        (400, "validation_error", "Task has already been dismissed", NotPending),
        (400, "validation_error", "Task is not pending", NotPending),
        (400, "validation_error", "The task is no longer pending.", NotPending),
        (400, "validation_error", "Task was already approved", NotPending),
        (400, "validation_error", "Task is not in 'pending' status", NotPending),
        (400, "validation_error", "reason must not be 'pending'", MalformedResponse),
        (400, "validation_error", "not valid for approved tasks", MalformedResponse),
        (400, "validation_error", "key not approved", MalformedResponse),
        (400, "validation_error", "field already processed", MalformedResponse),
        (400, "validation_error", "reason: at most 200 characters", MalformedResponse),
        (400, "validation_error", "body is not valid JSON", MalformedResponse),
        (400, "validation_error", "", MalformedResponse),
        (404, "not_found", "No such task", TaskNotFound),
        (404, "not_found", "", TaskNotFound),
        (404, "task_not_found", "", TaskNotFound),
        (404, "not_found", "Route not found", MalformedResponse),
        (404, "not_found", "Workspace not found", MalformedResponse),
        (404, "not_found", "API version not found", MalformedResponse),
        (404, "not_found", "Resource /v1/lexi not found", MalformedResponse),
        (404, "not_found", "Task not found in this workspace", TaskNotFound),
        (404, "not_found", "Not Found", TaskNotFound),
        (404, "route_not_found", "", MalformedResponse),
        (404, "webhook_not_found", "", MalformedResponse),
    ],
)
def test_what_concerns_a_task_only_comes_of_a_dismissal(
    status: int,
    code: str,
    message: str,
    on_dismiss: type[LexiError],
) -> None:
    """A list has no such task, and a code that may mean something else proves none."""
    kinds = [
        type(
            protocol.error_from_response(
                operation, status, envelope(code, message), request_id=None
            )
        )
        for operation in ("list", "dismiss")
    ]

    assert kinds == [RequestRejected, on_dismiss]


def test_an_error_tells_what_the_server_said() -> None:
    """Status, code, message and request id are in the sentence for people."""
    error = protocol.error_from_response(
        "dismiss", 400, NOT_PENDING, request_id="req_1"
    )

    assert str(error) == (
        "dismiss: the task is not pending any more (HTTP 400): validation_error:"
        " Task has already been dismissed [request req_1]"
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (NOT_PENDING, ("validation_error", "Task has already been dismissed")),
        (b'{"error":{"code":"x","message":"y","details":{"fields":{}}}}', ("x", "y")),
        (b'{"data":null,"meta":null,"error":{"code":"x"}}', ("x", "")),
        (b'{"error":{"message":"y"}}', ("", "y")),
        (b'{"error":{"code":7,"message":["y"]}}', ("", "")),
        (b'{"error":"no"}', ("", "")),
        (b'{"error":null}', ("", "")),
        (PLATFORM, ("", "")),
        (HTML, ("", "")),
        (NOT_PENDING[:-3], ("", "")),
        (b"", ("", "")),
        (b"[1]", ("", "")),
        (b"\xff\xfe", ("", "")),
        (DEEP, ("", "")),
        (b'{"error":{"code":"\\ud800","message":"z"}}', ("\ufffd", "z")),
        (envelope("c" * 999, "m" * 999), ("c" * 300, "m" * 300)),
    ],
)
def test_an_error_body_is_read_defensively(body: bytes, said: tuple[str, str]) -> None:
    """Of whatever came, code and message are taken where they are, and no more."""
    assert protocol.read_error(body) == said


def test_a_list_is_read() -> None:
    """Tasks come in the order listed; other members are ignored."""
    body = b'{"data":{"tasks":[{"id":"b"},{"id":"a","new":1}]},"meta":{"total":9}}'

    assert [task.id for task in protocol.decode_list(body)] == ["b", "a"]


@pytest.mark.parametrize(
    "entry",
    [
        b"null",
        b"7",
        b'"x"',
        b"[]",
        b"{}",
        b'{"id":7}',
        b'{"id":"a\\ud800"}',
        b'{"id":"x\xff"}',
        b'{"id":"x\xed\xa0\x80"}',
        b'{"id":"x","id":"y"}',
        b'{"id":NaN}',
        b"-Infinity",
        b"1e400",
        b"1" * 5_000,
        b"[" * 50_000 + b"]" * 50_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"id":"' + b"x" * 1_100_000 + b'"}',
        b"{id:1}",
        b"{'id': 1}",
        b'{"id":"\\q"}',
        b'{"id":tru}',
        b"[1,]",
        b"01",
        b"",
    ],
    ids=lambda entry: repr(entry[:12]),
)
@pytest.mark.parametrize("size", [7, 65_536])
def test_a_broken_entry_costs_itself(entry: bytes, size: int) -> None:
    """Among good tasks a broken one becomes one without an id, whatever is wrong."""
    body = b'{"data":{"tasks":[{"id":"a"},' + entry + b',{"id":"b"}]}}'
    if size < 10 < len(body) // 10_000:
        size = 5_000
    decoder = ListDecoder()
    for start in range(0, len(body), size):
        decoder.feed(body[start : start + size])

    assert [task.id for task in decoder.close()] == ["a", None, "b"]


@pytest.mark.parametrize(
    "value",
    ["1e400", "-1e400", "9" * 5_000, "NaN", "-Infinity", '1,"a":2'],
    ids=lambda value: value[:9],
)
def test_a_value_that_cannot_be_read_is_not_missing(value: str) -> None:
    """The task keeps its id, and under the key stands something other than null."""
    body = f'{{"data":{{"tasks":[{{"id":"a","metadata":{{"a":{value}}}}}]}}}}'
    seen: list[Json] = []

    def keep(entry: Json) -> Task:
        seen.append(entry)
        return parse_task(entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_decoder, "parse_task", keep)
        (task,) = protocol.decode_list(body.encode())
    (entry,) = seen
    assert isinstance(entry, dict)
    assert isinstance(metadata := entry["metadata"], dict)
    assert isinstance(found := metadata["a"], float)

    assert task.id == "a"
    assert not math.isfinite(found)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_one_task_is_read_as_in_a_list(mark: bytes) -> None:
    """What cannot be represented costs its own key, not the task."""
    body = mark + b'{"id":"a","metadata":{"n":' + b"9" * 5_000 + b',"m":1}}'

    task = protocol.decode_task(body)

    assert task is not None
    assert task.id == "a"
    assert task.metadata is not None
    assert task.metadata["m"] == 1
    assert is_unreadable(task.metadata["n"])


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"x", b"7", b"[]", b"{}", b"null", b'{"id":"a"},{"id":"b"}'),
        *(b'{"data":{"tasks":[]}}', b'{"id":"a"}],"x":[{"id":"b"}', b'{"id":"a" "b"}'),
    ],
)
def test_what_is_not_one_task_is_none(body: bytes) -> None:
    """A list, several tasks, another value and what is not JSON are no task."""
    assert protocol.decode_task(body) is None


def test_a_byte_order_mark_is_skipped() -> None:
    """Editors put one in front of a saved answer; null is an empty list."""
    body = b'\xef\xbb\xbf{"data":{"tasks":[{"id":"a"}]}}'

    assert [task.id for task in protocol.decode_list(body)] == ["a"]
    assert protocol.decode_list(b'{"data":{"tasks":null},"x":1}') == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"data":null}',
        b'{"data":[]}',
        b'{"data":{}}',
        b'{"data":{"tasks":{}}}',
        b'{"data":{"tasks":nil}}',
        b'{"data":{"tasks":"none"}}',
        b'{"data":{"items":[]}}',
        b'{"tasks":[]}',
        b'{"data":{"tasks":[]}',
        b'{"data":{"tasks":[{"id":"a"},{"id":"b',
        b'{"data":{"tasks":[]}}{"data":{"tasks":[]}}',
        '{"data":{"tasks":[]}}'.encode("utf-16"),
        HTML,
        PLATFORM,
        envelope("internal_error"),
    ],
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    """A body that is not the promised list as a whole is no list at all."""
    with pytest.raises(ValueError, match=r"\S"):
        protocol.decode_list(body)


def test_odd_values_cost_themselves() -> None:
    """Numbers beyond a float and text beyond Unicode make no list unreadable."""
    entry = (
        b'{"id":"a","description":"x\\ud800","metadata":{"n":1e999,"i":'
        + b"9" * 400
        + b"}}"
    )
    (task,) = protocol.decode_list(b'{"data":{"tasks":[' + entry + b"]}}")

    assert (task.id, task.description) == ("a", "x\ufffd")
    assert task.metadata is not None
    assert is_unreadable(task.metadata["n"])
    assert task.metadata["i"] == int("9" * 400)


def test_an_id_beyond_unicode_is_none() -> None:
    """An id that would change on its way into a URL must not be used."""
    (task,) = protocol.decode_list(b'{"data":{"tasks":[{"id":"a\\ud800"}]}}')

    assert task.id is None


_json: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "tasks", "id", "status", "created_at", "error"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
_lists = _json.map(lambda value: {"data": {"tasks": [value, {"id": value}]}})
_bodies = st.binary() | (_json | _lists).map(lambda value: json.dumps(value).encode())


@given(_bodies)
def test_any_bytes_are_a_list_or_a_value_error(body: bytes) -> None:
    """Whatever the network brings, decoding it ends in one of two ways."""
    try:
        tasks = protocol.decode_list(body)
    except ValueError:
        return

    assert all(isinstance(task, Task) for task in tasks)
    assert all(len(task.content_hash()) == 64 for task in tasks)


@given(st.sampled_from(["list", "dismiss"]), st.integers(100, 599), _bodies)
def test_any_refusal_has_a_name(operation: str, status: int, body: bytes) -> None:
    """Whatever comes with a status, there is an error for it, and it can be shown."""
    error = protocol.error_from_response(operation, status, body, request_id=None)

    assert str(error).encode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":{"task_id":"a","status":"dismissed"}}',
        b'{"data":{"task_id":"a","status":"dismissed","at":1},"meta":{}}',
        b'{"data":{"task_id":"a","status":"dismissed"},"error":null,"errors":[]}',
        b'{"data":{"task_id":"a","status":"dismissed","dry_run":false},"success":true}',
    ],
)
def test_a_confirmation_is_taken(body: bytes) -> None:
    """An answer that names task and status confirms, whatever else it says."""
    protocol.verify_confirmation(body, task_id="a", status="dismissed")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"data":null}',
        b'{"data":{"ok":true}}',
        b'{"data":{"task_id":"b","status":"dismissed"}}',
        b'{"data":{"task_id":"a","status":"approved"}}',
        b'{"data":{"task_id":"a","status":"dismissed"}',
        b'{"task_id":"a","status":"dismissed"}',
        b'{"data":{"task_id":"a","status":"dismissed"},"error":{"code":"x"}}',
        b'{"data":{"task_id":"a","status":"dismissed"},"errors":["x"]}',
        b'{"data":{"task_id":"b","task_id":"a","status":"dismissed"}}',
        b'{"data":{"task_id":"a","status":"dismissed","error":"locked"}}',
        b'{"data":{"task_id":"a","status":"dismissed","errors":[1]}}',
        b'{"data":{"task_id":"a","status":"dismissed"},"success":false}',
        b'{"data":{"task_id":"a","status":"dismissed","ok":false}}',
        b'{"data":{"task_id":"a","status":"dismissed","dry_run":true}}',
        b'{"data":{"task_id":"a","status":"dismissed"},"queued":true}',
        envelope("validation_error"),
        HTML,
    ],
)
def test_anything_else_confirms_nothing(body: bytes) -> None:
    """Another task, another status or another shape is no confirmation."""
    with pytest.raises(ValueError, match=r"\S"):
        protocol.verify_confirmation(body, task_id="a", status="dismissed")


_ODD_IDS: Final = (
    "task-1",
    "a/b",
    "../../approve",
    "a/../../../x",
    "x/approve",
    "x/approve?",
    "x/approve#",
    "a?b=c",
    "a#b",
    "a%2Fb",
    "a%",
    "%2e%2e",
    "a..b",
    "...",
    "a\\b",
    "a\0b",
    "a\nb",
    " a ",
    "a:b@c",
    "//host",
    "https://host/x",
    "ü\u202e\U0001f600",
)


def raw_path(path: str) -> str:
    return httpx.URL(BASE + path).raw_path.decode("ascii")


@pytest.mark.parametrize("task_id", _ODD_IDS)
def test_an_odd_id_stays_one_segment(task_id: str) -> None:
    """No id changes the path around it, before or after httpx has read the URL."""
    segment = raw_path(protocol.path_of(task_id, "dismiss")).removeprefix(
        "/functions/v1/api-gateway/v1/lexi/tasks/"
    )

    assert segment.endswith("/dismiss")
    assert segment.count("/") == 1
    assert not set(segment) & set("?#\\")


@given(st.text(max_size=30))
@example(".")
@example("..")
def test_any_id_that_a_list_gives_stays_one_segment(text: str) -> None:
    """What is taken for an id dismisses that id and nothing else."""
    task_id = parse_task({"id": text}).id
    if task_id is None:
        return
    url = httpx.URL(BASE + protocol.path_of(task_id, "dismiss"))
    parts = url.raw_path.decode("ascii").split("/")

    assert url.host == "data.leadlex.com"
    assert parts[:-2] == ["", "functions", "v1", "api-gateway", "v1", "lexi", "tasks"]
    assert parts[-1] == "dismiss"
    assert url.path.endswith(f"/tasks/{task_id}/dismiss")


def test_approving_is_another_path() -> None:
    """The path for a person's approval differs in its last segment alone."""
    assert protocol.path_of("a/b", "approve") == "/v1/lexi/tasks/a%2Fb/approve"
    assert protocol.path_of("a/b", "dismiss") == "/v1/lexi/tasks/a%2Fb/dismiss"


def word(**headers: str) -> RateLimitHeaders:
    named = {
        name.replace("_", "-").encode(): value.encode()
        for name, value in headers.items()
    }
    return read_rate_limit(httpx.Headers(named), received_at=T0)


def test_the_documented_headers_are_read() -> None:
    """Limit, what remains and the reset, as the quickstart shows them."""
    said = word(
        x_ratelimit_limit="1000",
        x_ratelimit_remaining="995",
        x_ratelimit_reset="1708905600",
        date="Sun, 01 Mar 2026 00:00:03 GMT",
    )

    assert said == RateLimitHeaders(
        limit=1000,
        remaining=995,
        reset=datetime(2024, 2, 26, tzinfo=UTC),
        retry_after=None,
        date=T0 + timedelta(seconds=3),
    )


def test_no_headers_say_nothing() -> None:
    """An answer without headers tells nothing of the quota."""
    assert word() == RateLimitHeaders()


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1.5", "1e3", "many", "0x10", "²", "1, 2", "9" * 12, "9" * 9999],
)
def test_unusable_numbers_are_left_out(text: str) -> None:
    """What is not a plain count of sane size is not a count."""
    said = word(
        x_ratelimit_limit=text, x_ratelimit_remaining=text, x_ratelimit_reset=text
    )

    assert said == RateLimitHeaders()


def test_a_reset_at_the_epoch_is_none() -> None:
    """Zero is what services write when they do not know."""
    assert word(x_ratelimit_reset="0").reset is None


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", timedelta(0)),
        ("30", timedelta(seconds=30)),
        (" 30 ", timedelta(seconds=30)),
        ("99999999999", timedelta(days=7)),
        ("Sun, 01 Mar 2026 00:01:00 GMT", timedelta(minutes=1)),
        ("Sunday, 01-Mar-26 00:01:00 GMT", timedelta(minutes=1)),
        ("Sat, 28 Feb 2026 00:00:00 GMT", timedelta(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(days=7)),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("1.5", timedelta(seconds=1.5)),
        ("30, 60", timedelta(minutes=1)),
        ("9" * 400, timedelta(days=7)),
        ("Sun Mar  1 00:01:00 2026", timedelta(minutes=1)),
        ("30 seconds", timedelta(seconds=30)),
        ("30s", timedelta(seconds=30)),
        ("+30", timedelta(seconds=30)),
        ('"30"', timedelta(seconds=30)),
        ("2026-03-01T00:01:00Z", timedelta(minutes=1)),
        ("2026-03-01T00:01:00", None),
        ("1772323260", timedelta(minutes=1)),  # seconds since the epoch
        ("1772323260000", timedelta(minutes=1)),
        ("30, Sun, 01 Mar 2026 00:01:00 GMT", timedelta(minutes=1)),
        (
            "Sun, 01 Mar 2026 00:00:30 GMT, Sun, 01 Mar 2026 00:01:00 GMT",
            timedelta(minutes=1),
        ),
        ("30, soon", timedelta(seconds=30)),
        ("30 minutes", None),
        ("30;x", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, wait: timedelta | None) -> None:
    """Both forms give a moment of ours, at most a week ahead and never past."""
    expected = None if wait is None else T0 + wait

    assert word(retry_after=text).retry_after == expected


def test_a_date_is_by_the_servers_clock() -> None:
    """A server whose clock is an hour ahead means a minute by a date a minute on."""
    said = word(
        date="Sun, 01 Mar 2026 01:00:00 GMT",
        retry_after="Sun, 01 Mar 2026 01:01:00 GMT",
    )

    assert said.retry_after == T0 + timedelta(minutes=1)


@pytest.mark.parametrize("text", ["Sun, 01 Mar 2026 00:00:00 -0000", "yesterday", "1"])
def test_a_date_is_aware_or_absent(text: str) -> None:
    """A date without a time zone is taken as UTC, garbage as none."""
    assert word(date=text).date in {T0, None}


@pytest.mark.parametrize(
    "text", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"]
)
def test_a_date_leaves_room_to_reckon(text: str) -> None:
    """A clock at the end of the calendar is wrong, and nothing overflows by it."""
    date = word(date=text).date

    assert date is not None
    assert abs(date - T0) > timedelta(days=365)
    assert date + timedelta(days=500) > date > date - timedelta(days=500)


_dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Sun", "Xyz", ""]),
    st.integers(-1, 40),
    st.sampled_from(["Mar", "Dec", "Foo", "3"]),
    st.integers(-1, 12_000),
    st.integers(0, 30),
    st.integers(0, 70),
    st.integers(0, 70),
    st.sampled_from(["GMT", "-2359", "+9999", "+99999999999", "", "XYZ"]),
)
_values = st.text() | _dates | st.integers().map(str)
_names = st.sampled_from(
    [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
        "date",
    ]
)


@given(st.dictionaries(_names, _values))
def test_any_headers_are_read(headers: dict[str, str]) -> None:
    """No header value is an error, and every moment is aware."""
    said = read_rate_limit(headers, received_at=T0)

    for moment in (said.reset, said.retry_after, said.date):
        assert moment is None or moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (HTML, "the API URL probably lacks its path"),
        (b'{"error":"requested path is invalid"}', "/functions/v1/api-gateway"),
        (b'{"message":"no Route matched with those values"}', "no such path"),
        (b"", "no such path"),
    ],
)
def test_a_wrong_base_url_is_named(body: bytes, hint: str) -> None:
    """A 404 that is not the API's own says what is probably wrong."""
    error = protocol.error_from_response("list", 404, body, request_id=None)

    assert hint in str(error)


@pytest.mark.parametrize(
    ("headers", "is_cached"),
    [
        ({}, False),
        ({"age": "0"}, False),
        ({"age": "7"}, True),
        ({"age": "0, 30"}, True),
        ({"x-cache": "MISS from p"}, False),
        ({"x-cache": "HIT from p"}, True),
        ({"x-cache": "TCP_HIT"}, True),
        ({"cf-cache-status": "DYNAMIC"}, False),
        ({"cf-cache-status": "STALE"}, True),
        ({"cache-status": "p; fwd=miss"}, False),
        ({"cache-status": "p; hit"}, True),
        ({"warning": '110 p "Response is Stale"'}, True),
        ({"warning": '199 p "odd"'}, False),
        ({"cf-cache-status": "UPDATING"}, True),
        ({"cf-cache-status": "EXPIRED"}, False),
        ({"cache-status": "p; fwd=stale; stored"}, False),
        ({"cache-status": "p; fwd=stale, q; hit"}, True),
        ({"x-proxy-cache": "HIT"}, True),
        ({"X-Vercel-Cache": "STALE"}, True),
        ({"cdn-cache": "MISS"}, False),
        ({"x-cache": "Miss from p", "x-cache-hits": "0, 0"}, False),
        ({"x-cache-hits": "0, 3"}, True),
        ({"x-cache": "MISS", "x-cache-lookup": "HIT from p:3128"}, False),
        ({"cache-control": "stale-if-error=60"}, False),
        ({"x-varnish": "12"}, False),
        ({"x-varnish": "12 34"}, True),
        ({"server-timing": "cdn-cache; desc=HIT"}, True),
        ({"server-timing": "cdn-cache; desc=MISS, edge; dur=1"}, False),
    ],
)
def test_a_cache_is_known(headers: dict[str, str], *, is_cached: bool) -> None:
    """Each way in which caches say that they answered is read."""
    assert is_from_cache(headers) is is_cached
