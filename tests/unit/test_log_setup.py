"""Tests of the logs: events as JSON or as lines, ours and the libraries'."""

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any, Final

import click
import pytest
import structlog

from triaged.cli.log_setup import configure_logs
from triaged.cli.log_writer import LogWriter

LOCAL: Final = "kept-by-a-local-variable"


class Written(io.StringIO):
    """A stream that is read once everything queued was written to it."""

    writer: LogWriter | None = None

    def getvalue(self) -> str:
        assert self.writer is None or self.writer.drain()
        return super().getvalue()


class Terminal(Written):
    """A stream that takes colours."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, scheduler = logging.getLogger(), logging.getLogger("apscheduler")
    before = (root.handlers[:], root.level, scheduler.level)
    # With ``force`` these would be closed, which pytest still needs open.
    root.handlers.clear()
    yield
    root.handlers[:], root.level = before[:2]
    scheduler.setLevel(before[2])


def configured(
    *, level: str = "info", form: str | None = "json", stream: io.StringIO | None = None
) -> io.StringIO:
    stream = stream or Written()
    writer = configure_logs(level=level, form=form, workspace="acme", stream=stream)
    if isinstance(stream, Written):
        stream.writer = writer
    return stream


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def crash(local: str) -> None:
    raise RuntimeError("\x1bno"[: len(local)])


def log_a_crash(log: Any) -> None:
    try:
        crash(LOCAL)
    except RuntimeError:
        log.exception("cycle.crashed")


def test_an_event_is_a_line_of_json() -> None:
    """Name, level, time in UTC, workspace and the given keys; one line each."""
    stream = configured()
    log = structlog.get_logger()
    log.info("task.dismissed", task="t-1", reason="testing")
    log.warning("dismissal.unknown", tasks=["a"], count=3, why=None)
    first, second = events(stream)

    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "task.dismissed",
        "level": "info",
        "workspace": "acme",
        "task": "t-1",
        "reason": "testing",
    }
    assert (second["level"], second["tasks"], second["count"]) == ("warning", ["a"], 3)


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_only_what_is_grave_enough_is_written(level: str, written: list[str]) -> None:
    """The level asked for and those above it."""
    stream = configured(level=level)
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("x")

    assert [event["level"] for event in events(stream)] == written


@pytest.mark.parametrize(
    ("form", "stream", "is_json", "is_coloured"),
    [
        (None, Written, True, False),
        (None, Terminal, False, True),
        ("json", Terminal, True, False),
        ("console", Written, False, False),
        ("console", Terminal, False, True),
    ],
)
def test_a_terminal_gets_lines_for_people(
    form: str | None, stream: type[io.StringIO], *, is_json: bool, is_coloured: bool
) -> None:
    """JSON unless a person looks on, colours only where they show."""
    text = configured(form=form, stream=stream())
    structlog.get_logger().info("cycle.finished", pending=7)

    assert text.getvalue().startswith("{") is is_json
    assert ("\x1b[" in text.getvalue()) is is_coloured
    assert "cycle.finished" in text.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_text_from_outside_moves_no_cursor(form: str) -> None:
    """Control characters of tasks and servers arrive as escapes, in lists too."""
    stream = configured(form=form)
    structlog.get_logger().info(
        "a\x1bb",
        message="x\n\x1b[2Jy\u202e\ud800",
        problems=["p\x1bq", 1],
        nested={"k": "\x1b"},
        pair=("\x1b",),
    )
    (line,) = stream.getvalue().splitlines()

    assert line.isprintable()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_crash_is_logged_with_its_traceback_alone(form: str) -> None:
    """A traceback has its lines but no local variables, and moves no cursor."""
    stream = configured(form=form)
    log_a_crash(structlog.get_logger())
    text = stream.getvalue()

    assert "Traceback" in text
    assert "in crash" in text
    assert "\x1b" not in text
    assert LOCAL not in text
    assert (len(text.splitlines()) == 1) is (form == "json")


def test_a_crash_on_a_terminal_is_plain() -> None:
    """Where rich could draw a traceback, the local variables are not in it either."""
    stream = configured(form=None, stream=Terminal())
    log_a_crash(structlog.get_logger())

    assert "in crash" in stream.getvalue()
    assert LOCAL not in stream.getvalue()


def test_libraries_only_warn() -> None:
    """What a library logs comes in the same form, from a warning upwards."""
    stream = configured()
    logging.getLogger("httpx").info("HTTP Request: GET https://x")
    logging.getLogger("uvicorn").warning("odd %s", "\x1bthing")
    log_a_crash(logging.getLogger("asyncio"))
    odd, crashed = events(stream)

    assert (odd["event"], odd["level"]) == (r"odd \x1bthing", "warning")
    assert odd["workspace"] == "acme"
    assert odd["timestamp"].endswith("Z")
    assert crashed["level"] == "error"
    assert "Traceback" in crashed["exception"]


def test_a_coalesced_run_is_no_warning() -> None:
    """The scheduler's word on long cycles is by design, its errors are not."""
    stream = configured()
    logging.getLogger("apscheduler.scheduler").warning("was missed")
    logging.getLogger("apscheduler.scheduler").error("raised an exception")

    assert [event["event"] for event in events(stream)] == ["raised an exception"]


def test_the_last_configuration_counts() -> None:
    """Loggers that exist already follow a new configuration."""
    log = structlog.get_logger()
    first = configured()
    log.info("one")
    second = configured(level="error")
    log.info("two")
    log.error("three")

    assert [event["event"] for event in events(first)] == ["one"]
    assert [event["event"] for event in events(second)] == ["three"]


def test_hidden_events_are_not_written() -> None:
    """An event for which a more readable line stands is left out, others stay."""
    stream = Written()
    stream.writer = configure_logs(
        level="info", form="json", workspace="a", stream=stream, hidden={"task.x"}
    )
    structlog.get_logger().info("task.x")
    structlog.get_logger().info("cycle.x")

    assert [event["event"] for event in events(stream)] == ["cycle.x"]


def test_a_log_call_never_raises() -> None:
    """An event that cannot be rendered is lost and counted, and nothing else."""

    class Unprintable:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    lost: list[None] = []
    stream = Written()
    stream.writer = configure_logs(
        level="info",
        form="json",
        workspace="a",
        stream=stream,
        on_lost=lambda: lost.append(None),
    )
    structlog.get_logger().info("broken", value=Unprintable())
    structlog.get_logger().info("fine")

    assert [event["event"] for event in events(stream)] == ["fine"]
    assert len(lost) == 1


def test_without_a_stream_nothing_happens() -> None:
    """A process whose stderr is closed logs into nothing."""
    writer = configure_logs(level="info", form=None, workspace="a", stream=None)
    structlog.get_logger().info("x")

    assert writer.drain()


def test_what_a_command_prints_last_is_below_its_log() -> None:
    """A command ends only after its lines are written, however slow the stream is."""

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            time.sleep(0.05)  # noqa: TID251 - of the thread that writes
            return super().write(text)

    stream = Slow()

    @click.command
    def fails() -> None:
        configured(stream=stream)
        for _ in range(4):
            structlog.get_logger().info("cycle.x")
        raise click.ClickException("the ledger is full")

    with pytest.raises(click.ClickException):
        fails(standalone_mode=False, args=[])
    assert stream.getvalue().count("cycle.x") == 4
