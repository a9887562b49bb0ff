"""Logs as events on stderr: JSON, or lines for people on a terminal."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from triaged.text import escape_unprintable

_LONGEST: Final = 1_000

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logs(
    *, level: str, form: str | None, workspace: str, stream: TextIO = sys.stderr
) -> None:
    """Set up all logging of the process, ours and the libraries'."""
    renderer: Any = structlog.processors.JSONRenderer()
    if (form or ("console" if stream.isatty() else "json")) == "console":
        # The pretty tracebacks that rich offers show local variables, keys included.
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
    chain: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        escape_event,
    ]
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(workspace=workspace)
    # Libraries only speak up when something is wrong; httpx would log every URL.
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            renderer,
        ],
        foreign_pre_chain=chain,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # APScheduler warns of each run that a long cycle coalesces, which is by design.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def escape_event(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep control characters out of terminals and log viewers."""
    for key, value in event.items():
        keep = "\n" if key == "exception" else ""
        event[key] = _printable(value, keep)
    return event


def _printable(value: object, keep: str) -> object:
    if isinstance(value, str):
        # A task's id has no limit of its own; a log line must have one.
        short = value if keep or len(value) <= _LONGEST else value[:_LONGEST] + "…"
        return escape_unprintable(short, keep=keep)
    return [_printable(v, keep) for v in value] if isinstance(value, list) else value
