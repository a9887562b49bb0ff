"""Configures logging to stderr: JSON, or readable lines on a terminal."""

import logging
import sys
from collections.abc import Callable, Collection, MutableMapping
from typing import Any, Final, TextIO

import click
import structlog

from triaged.cli.log_writer import LogWriter
from triaged.text import escape_unprintable

_MAX_VALUE_LENGTH: Final = 1_000


def configure_logs(
    *,
    level: str,
    form: str | None,
    workspace: str | None,
    stream: TextIO | None = sys.stderr,
    on_lost: Callable[[], None] = lambda: None,
    hidden: Collection[str] = (),
) -> LogWriter:
    """Configure all logging of the process, including that of libraries.

    ``workspace`` is part of every line; without it each cycle of a fleet names its own.
    ``hidden`` events are not written, because the caller prints them in another form.
    ``on_lost`` is called for each line that cannot be written. Log calls never raise
    and never wait for the stream. The lines are written before the command ends, so
    what it then prints, for example why it failed, is below them.
    """
    writer = LogWriter(stream, on_lost=on_lost)
    command = click.get_current_context(silent=True)
    if command is not None:
        command.call_on_close(writer.drain)
    renderer: Any = structlog.processors.JSONRenderer()
    if is_console(form, stream):
        # The tracebacks of rich would show local variables, including keys.
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream is not None and stream.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )

    def hide(_: object, __: str, event: structlog.typing.EventDict) -> Any:  # noqa: ANN401 - a processor
        if event["event"] in hidden:
            raise structlog.DropEvent
        return event

    chain: list[Any] = [
        hide,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        escape_event,
    ]
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=_never_raising(level, writer),
        logger_factory=lambda *_: _QueuedLogger(writer),
        cache_logger_on_first_use=False,
    )
    if workspace is not None:
        structlog.contextvars.bind_contextvars(workspace=workspace)
    # Only warnings of libraries are logged; httpx would log every URL.
    handler = _QueuedHandler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
            foreign_pre_chain=chain,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # APScheduler warns of each coalesced run after a long cycle, which is expected.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    return writer


def is_console(form: str | None, stream: TextIO | None = sys.stderr) -> bool:
    """Return whether logs are readable lines instead of JSON."""
    on_terminal = stream is not None and stream.isatty()
    return (form or ("console" if on_terminal else "json")) == "console"


class _QueuedLogger:
    """The logger at the end of the structlog chain: every method queues the line."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        self._writer.put(line + "\n")

    debug = info = warning = error = critical = exception = log = fatal = msg


class _QueuedHandler(logging.Handler):
    """The handler of the standard library's logging: queues each record."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record; one that cannot be formatted is dropped and counted."""
        try:
            self._writer.put(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - see above
            self._writer.lost()


def _never_raising(level: str, writer: LogWriter) -> type[Any]:
    """Return structlog's logger for a level; what it cannot render is counted."""
    base: Any = structlog.make_filtering_bound_logger(level)

    def proxy(self: Any, *given: Any, **facts: Any) -> Any:  # noqa: ANN401 - structlog's own signature
        try:
            return base._proxy_to_logger(self, *given, **facts)  # noqa: SLF001 - structlog's hook for subclasses
        except Exception:  # noqa: BLE001 - a log call must not raise
            writer.lost()
            return None

    return type("NeverRaisingLogger", (base,), {"_proxy_to_logger": proxy})


def escape_event(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Escape control characters, which terminals and log viewers would interpret."""
    for key, value in event.items():
        keep = "\n" if key == "exception" else ""
        event[key] = _printable(value, keep)
    return event


def _printable(value: object, keep: str) -> object:
    if isinstance(value, str):
        # Task ids have no length limit, but log lines must have one.
        short = (
            value
            if keep or len(value) <= _MAX_VALUE_LENGTH
            else value[:_MAX_VALUE_LENGTH] + "…"
        )
        return escape_unprintable(short, keep=keep)
    return [_printable(v, keep) for v in value] if isinstance(value, list) else value
