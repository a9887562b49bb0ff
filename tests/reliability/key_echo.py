"""A server that repeats the key in every way."""

import base64
import gzip
import html
import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from tests.e2e.harness import a_listed

PREFIX: Final = "wbk_live_"
KEY: Final = PREFIX + "q7Zr2LkXv9TnB4sWm8YcH3fJd6GpAe1U"
# All that a key may consist of and that something somewhere escapes.
ODD_KEY: Final = PREFIX + "Zx\"9%4f'<q&>\\n{u}$`k~^#?;:/+=,@!vWb2"

Headers: TypeAlias = Mapping[str, str]

# From the key in a request to the bytes of an answer.
Mood: TypeAlias = Callable[[str], bytes]


def answer(status: int, body: object, headers: Headers | None = None) -> bytes:
    """Write an HTTP answer by hand: no library lets such headers through."""
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    content = text if isinstance(text, bytes) else text.encode()
    given = {"Content-Length": str(len(content)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    head = f"HTTP/1.1 {status} Whatever\r\nConnection: close\r\n{lines}\r\n"
    return head.encode() + content


def error(code: str, message: str) -> dict[str, Any]:
    """Make a body as the API refuses things."""
    return {"error": {"code": code, "message": message}}


def tasks(key: str) -> dict[str, Any]:
    """List tasks that quote the key everywhere."""
    quoting = {"metadata": {key: [key, f"Bearer {key}"]}, "created_at": key}
    listed = [
        a_listed("t1", f"[TEST] use {key}", metadata={"note": {key: key}}),
        a_listed(key, f"[TEST] {quote(key, safe='')}"),
        a_listed("t3", base64.b64encode(key.encode()).decode(), **quoting),
        a_listed("t4", f"[TEST] {html.escape(key)}", type=key),
        a_listed("t5", "[TEST] x", status=key),
        {"id": key},
        key,
    ]
    return {"data": {"tasks": listed}}


def _with_header(name: str, *, status: int = 200) -> Mood:
    good: Any = {"data": {"tasks": []}}
    return lambda key: answer(status, good, {name: key})


LIST_MOODS: Final[dict[str, Mood]] = {
    "tasks that quote it": lambda key: answer(200, tasks(key)),
    "400 with a message": lambda key: answer(400, error("bad", f"no such key {key}")),
    "400 with a code": lambda key: answer(400, error(key, "")),
    "401 with a message": lambda key: answer(401, error("invalid_key", f"'{key}'")),
    "401 masked": lambda key: answer(401, error("invalid_key", f"{key[:21]}…")),
    "401 masked otherwise": lambda key: answer(401, error("x", f"…{key[12:]}")),
    "403 with headers quoted": lambda key: answer(
        403, error("forbidden", json.dumps({"authorization": f"Bearer {key}"}))
    ),
    "404 with its URL": lambda key: answer(404, error("x", quote(f"/{key}", safe=""))),
    "429 with a message": lambda key: answer(
        429, error(key, key), {"Retry-After": key}
    ),
    "500 as HTML": lambda key: answer(500, f"<pre>{html.escape(key)}</pre>"),
    "502 as a trace": lambda key: answer(502, f"Traceback: Bearer {key}\n" * 50),
    "no JSON": lambda key: answer(200, f"Authorization: Bearer {key}"),
    "JSON of another shape": lambda key: answer(200, {"data": {key: key}}),
    "a key as the answer": lambda key: answer(200, json.dumps(key)),
    "compressed": lambda key: answer(
        400,
        gzip.compress(json.dumps(error("bad", key)).encode()),
        {"Content-Encoding": "gzip"},
    ),
    "an encoding": _with_header("Content-Encoding"),
    "a request id": _with_header("X-Request-ID"),
    "a request id of a refusal": _with_header("X-Request-ID", status=401),
    "a limit": _with_header("X-RateLimit-Limit"),
    "a date": _with_header("Date"),
    "a cookie": _with_header("Set-Cookie"),
    "a place to go": lambda key: answer(302, "", {"Location": f"/?key={quote(key)}"}),
    "no place to go": lambda key: answer(302, "", {"Location": f"http://[{key}:{key}"}),
    "a bad port to go to": lambda key: answer(307, "", {"Location": f"http://x:{key}"}),
    "a length": lambda key: (
        f"HTTP/1.1 200 OK\r\nContent-Length: {key}\r\n\r\n".encode()
    ),
    "a chunk's length": lambda key: (
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{key}\r\n".encode()
    ),
    "no header": lambda key: f"HTTP/1.1 200 OK\r\nBearer {key}\r\n\r\n".encode(),
    "no status": lambda key: f"Bearer {key}\r\n\r\n".encode(),
    "a phrase": lambda key: f"HTTP/1.1 400 {key}\r\n\r\n".encode(),
    "a cut amid the key": lambda key: answer(
        200, f'{{"data":{{"tasks":["{key}', {"Content-Length": "9999"}
    ),
    "nothing": lambda _: b"",
}

DISMISS_MOODS: Final[dict[str, Mood]] = {
    "done to a key": lambda key: answer(
        200, {"data": {"task_id": key, "status": key}}, {"X-Request-ID": key}
    ),
    "refused": lambda key: answer(409, error(key, key), {"X-Request-ID": key}),
    "not pending": lambda key: answer(400, error("validation_error", key)),
    "gone": lambda key: answer(404, error("task_not_found", key)),
    "unknown": lambda key: answer(500, error(key, key), {"X-Request-ID": key}),
    "key refused": lambda key: answer(403, error("forbidden", key)),
    "garbled": lambda key: f"Bearer {key}\r\n\r\n".encode(),
}


class KeyEchoServer(socketserver.ThreadingTCPServer):
    """Answers each request by the mood it is in, and counts them."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 50

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.listing: Mood = LIST_MOODS["tasks that quote it"]
        self.dismissing: Mood = DISMISS_MOODS["done to a key"]
        self.keys: list[str] = []

    def mood(self, request: str) -> Mood:
        """Return how to answer: as the path says (/12/…), else as told before."""
        number = request.partition("/")[2].partition("/")[0]
        moods = DISMISS_MOODS if "POST" in request else LIST_MOODS
        if number.isdigit() and int(number) < len(moods):
            return [*moods.values()][int(number)]
        return self.dismissing if "POST" in request else self.listing

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Request(socketserver.StreamRequestHandler):
    server: KeyEchoServer  # type: ignore[mutable-override]
    timeout = 1.0  # type: ignore[mutable-override] # who speaks TLS sends no line

    def handle(self) -> None:
        with suppress(TimeoutError):
            self._answer()

    def _answer(self) -> None:
        first = self.rfile.readline()
        key, length = "", 0
        while line := self.rfile.readline().strip().decode("latin-1"):
            name, _, value = line.partition(": ")
            if name.lower() == "authorization":
                key = value.removeprefix("Bearer ")
            elif name.lower() == "content-length":
                length = int(value)
        self.rfile.read(length)
        self.server.keys.append(key)
        self.wfile.write(self.server.mood(first.decode())(key))


@contextmanager
def key_echo_server() -> Iterator[KeyEchoServer]:
    """Serve until the block ends."""
    with KeyEchoServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
