"""The two forms of the page: keep a task, and pause.

Both only ever forbid dismissals; nothing here can release or dismiss.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, TypeVar
from urllib.parse import parse_qsl, quote, unquote

import structlog
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from triaged.clock import Clock
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.request_filter import RequestLimiter, actor, is_same_origin
from triaged.errors import LedgerUnavailable
from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.ledger.location import LedgerLocation

MAX_FORM_BYTES: Final = 16 * 1024
FORM_SECONDS: Final = 5.0
# How long a form waits while another process writes the ledger.
LEDGER_SECONDS: Final = 10.0

_MAX_WAITING: Final = 8
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 2
_SEE_OTHER: Final = 303

T = TypeVar("T")
# Opens the ledger of a workspace, by its name in the path; "" where there is only one.
OpenLedger = Callable[[str], AbstractContextManager[Ledger]]

log = structlog.get_logger()


def open_for_form(ledger: LedgerLocation, workspace: str) -> Ledger:
    """Open the ledger of a workspace, or raise ``LedgerError``."""
    return Ledger.open(
        ledger, workspace=workspace, create=False, busy_seconds=LEDGER_SECONDS
    )


class RefusedForm(Exception):
    """A form that is not accepted, with the HTTP status and the reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why


class PageForms:
    """Answers the forms of one daemon, and records them in its ledger.

    Routes may have a parameter ``name``, which is then the workspace. ``forget_page``
    is awaited with it after a change, so that the next page shows it.
    """

    def __init__(
        self,
        open_ledger: OpenLedger,
        clock: Clock,
        *,
        user_header: str | None,
        errors: InternalErrors,
        forget_page: Callable[[str], Awaitable[None]],
    ) -> None:
        self.token: Final = secrets.token_urlsafe(32)
        self._open_ledger = open_ledger
        self._clock = clock
        self._user_header = user_header
        self._errors = errors
        self._forget_page = forget_page
        self._limiter = RequestLimiter()
        # Apart from the thread of pages and metrics, since a write may have to wait.
        self._thread = ThreadPoolExecutor(1, "page-forms")
        self._waiting = 0

    def close(self) -> None:
        """End the thread; what is under way is finished."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def routes(self, base: str, middleware: Sequence[Middleware]) -> list[Route]:
        """Return the routes of both forms, below a path; they take POST only."""
        return [
            Route(
                f"{base}{path}",
                partial(self._answer, act),
                methods=["POST"],
                middleware=middleware,
            )
            for path, act in (("/veto", self._add_veto), ("/pause", self._set_pause))
        ]

    async def _answer(
        self,
        act: Callable[[str, dict[str, str], str], Awaitable[str]],
        request: Request,
    ) -> Response:
        """Check a request, act on it, and redirect to a path of this server."""
        name = str(request.path_params.get("name", ""))
        base = f"/workspaces/{quote(name, safe='')}" if name else ""
        try:
            fields, by = await self._accept(request)
            path = base + await act(name, fields, by)
            await self._forget_page(name)
        except RefusedForm as refused:
            headers = {"Retry-After": "5"} if refused.status in {429, 503} else None
            return PlainTextResponse(f"{refused.why}\n", refused.status, headers)
        except ClientDisconnect:
            # There is no client that could read an answer.
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001 - fails this request only
            self._errors.record(Where.PAGE, error)
            return PlainTextResponse("nothing was recorded; see the log\n", 500)
        return RedirectResponse(path or "/", _SEE_OTHER)

    async def _accept(self, request: Request) -> tuple[dict[str, str], str]:
        """Return the fields of a form, and who sent it."""
        peer = request.client.host if request.client else "an unknown address"
        if not self._limiter.admit(peer, now=self._clock.monotonic()):
            raise RefusedForm(429, "too many requests; try again in a few seconds")
        headers = request.headers
        if not is_same_origin(
            origins=headers.getlist("origin"),
            fetch_sites=headers.getlist("sec-fetch-site"),
            host=headers.get("host", ""),
        ):
            raise RefusedForm(403, "the form was not sent from this page")
        if headers.get("content-type", "").partition(";")[0].strip() != _FORM_TYPE:
            raise RefusedForm(415, f"expected {_FORM_TYPE}")
        fields = _parse(await _read_body(request))
        # compare_digest refuses text that is not ASCII, so bytes are compared.
        given = fields.pop("token", "").encode()
        if not secrets.compare_digest(given, self.token.encode()):
            raise RefusedForm(
                403,
                "the page was loaded before the daemon's last start;"
                " go back, reload it and try again",
            )
        names = headers.getlist(self._user_header) if self._user_header else []
        return fields, actor(peer=peer, names=[_utf8(name) for name in names])

    async def _add_veto(self, name: str, fields: dict[str, str], by: str) -> str:
        task_id = _task_id(fields)
        now = self._clock.now()

        def add() -> bool | None:
            with self._open_ledger(name) as ledger:
                # Unknown ids would let anyone fill the ledger.
                if ledger.task_ids(task_id, limit=1) != [task_id]:
                    return None
                return ledger.vetoes.add(task_id, at=now, by=by)

        is_new = await self._write(add)
        if is_new is None:
            raise RefusedForm(404, "the ledger knows no such task")
        if is_new:
            with _about(name):
                log.warning("task.vetoed", task=task_id, by=by)
        return f"/tasks/{quote(task_id, safe='')}"

    async def _set_pause(self, name: str, _: dict[str, str], by: str) -> str:
        now = self._clock.now()

        def set_flag() -> bool:
            with self._open_ledger(name) as ledger:
                # Without a note, an earlier pause keeps its author and its note.
                return ledger.flags.set(FlagName.PAUSED, at=now, by=by)

        if await self._write(set_flag):
            with _about(name):
                log.warning("dismissing.paused", by=by)
        return ""

    async def _write(self, step: Callable[[], T]) -> T:
        """Run a step that writes the ledger in the thread."""
        busy = RefusedForm(
            503,
            "nothing was recorded: the ledger is busy or away;"
            " try again, or `triaged pause`",
        )
        if self._waiting >= _MAX_WAITING:
            raise busy
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, step)
        except LedgerUnavailable as error:
            raise busy from error
        finally:
            self._waiting -= 1


def _about(name: str) -> AbstractContextManager[None]:
    """Name the workspace in a log line of a fleet."""
    if not name:
        return nullcontext()
    return structlog.contextvars.bound_contextvars(workspace=name)


async def _read_body(request: Request) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_FORM_BYTES:
                    raise RefusedForm(413, "the form is too large")
    except TimeoutError as error:
        raise RefusedForm(408, "the form did not arrive in time") from error
    return body


def _parse(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise RefusedForm(400, "the form cannot be read") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RefusedForm(400, "the form has a field twice")
    return fields


def _task_id(fields: dict[str, str]) -> str:
    """Return the id in a form, percent-encoded there: browsers change line ends."""
    try:
        task_id = unquote(fields.get("task", ""), errors="strict")
    except UnicodeDecodeError:
        task_id = ""
    if not task_id:
        raise RefusedForm(400, "the form names no task")
    return task_id


def _utf8(value: str) -> str:
    # Header values arrive as Latin-1; proxies send UTF-8.
    return value.encode("latin-1").decode("utf-8", "replace")
