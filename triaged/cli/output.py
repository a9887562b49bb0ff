"""Formats output for terminals; control characters in external text are escaped.

Tables are formatted here, because importing rich takes longer than most commands.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import click
from rich.cells import cell_len, set_cell_size

from triaged.cli.streams import shows_unicode
from triaged.rules.task import LeaveCause
from triaged.text import escape_unprintable

if TYPE_CHECKING:
    from rich.console import Console

# The table width for output that is not a terminal.
NON_TTY_WIDTH: Final = 160
_GAP: Final = "   "
# If the last column would be narrower, it is put on a separate line.
_MIN_LAST: Final = 20
# The width of a terminal that does not report it.
_NARROW: Final = 80

_collected: ContextVar[list[object] | None] = ContextVar("collected", default=None)

CAUSES: Final[Mapping[str, str]] = {
    LeaveCause.NO_RULE: "no rule matched",
    LeaveCause.LEAVE_RULE: "kept by a rule",
    LeaveCause.PROTECTED: "protected",
    LeaveCause.YOUNG: "younger than min_age",
    LeaveCause.HELD: "on hold",
    LeaveCause.OVER_CAP: "over a limit",
    LeaveCause.BREAKER: "breaker open",
    LeaveCause.PAUSED: "paused",
    LeaveCause.VETOED: "vetoed",
    LeaveCause.NOT_PENDING: "not pending",
    LeaveCause.MALFORMED: "malformed",
    "audit": "left for audit",
    "unsent": "not sent yet",
}


def cause_in_words(cause: str | None) -> str:
    """Return a cause in words for tables; JSON output has the code."""
    return CAUSES.get(str(cause), str(cause).replace("_", " "))


def leave_in_words(cause: str | None, rule: str | None, observed: Sequence[str]) -> str:
    """Return why a task is left, and which rules only observe that it matches."""
    if observed and cause == LeaveCause.NO_RULE:
        return f"leave: no enforced rule matched (observing: {', '.join(observed)})"
    words = f"leave: {cause_in_words(cause)}"
    return f"{words} ({rule})" if rule else words


def echo(
    text: str,
    *,
    error: bool = False,
    end: str = "\n",
    colour: str | None = None,
    bold: bool = False,
) -> None:
    """Print a line, with control characters escaped."""
    line = escape_unprintable(text, keep="\n")
    if (colour or bold) and is_coloured(error=error):
        line = click.style(line, fg=colour, bold=bold or None)
    line += end
    (sys.stderr if error else sys.stdout).write(line)


def notice(text: str) -> None:
    """Print a line about the run itself, to standard error."""
    echo(f"triaged: {text}", error=True)


def echo_json(document: object) -> None:
    """Print a value as JSON, unless ``collected_json`` collects it."""
    if (collected := _collected.get()) is not None:
        collected.append(document)
        return
    text = json.dumps(document, indent=2, ensure_ascii=not shows_unicode(sys.stdout))
    sys.stdout.write(escape_json(text) + "\n")


@contextlib.contextmanager
def collected_json() -> Iterator[list[object]]:
    """Collect the values that the block would print as JSON."""
    collected: list[object] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)


def echo_html(page: str) -> None:
    """Print an HTML page in UTF-8, the encoding that it declares."""
    if not shows_unicode(sys.stdout):
        page = page.encode("ascii", "xmlcharrefreplace").decode("ascii")
    sys.stdout.write(page)


def escape_json(text: str) -> str:
    """Escape invisible characters of a JSON text, so that it remains valid JSON."""
    return "\n".join(
        line
        if line.isprintable()
        else "".join(c if c.isprintable() else _json_escape(c) for c in line)
        for line in text.split("\n")
    )


def _json_escape(character: str) -> str:
    # JSON can escape UTF-16 code units only.
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def console() -> "Console":
    """Return the rich console for trees and live views."""
    from rich.console import Console  # noqa: PLC0415 - slow to import

    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=NON_TTY_WIDTH)


def is_coloured(*, error: bool = False) -> bool:
    """Return whether a stream is a terminal that supports colours."""
    stream = sys.stderr if error else sys.stdout
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; only the last column is truncated to the terminal's width."""
    cells = [[escape_unprintable(cell) for cell in row] for row in rows]
    for number, line in enumerate(layout(headings, cells, width=_width())):
        echo(line, bold=not number)


def _width() -> int:
    if not sys.stdout.isatty():
        return NON_TTY_WIDTH
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _NARROW
    except OSError:
        return _NARROW


def layout(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int
) -> list[str]:
    """Return the lines of a table, headings first; cells contain no line breaks."""
    *fixed, last = [
        max(cell_len(cell) for cell in column)
        for column in zip(headings, *rows, strict=True)
    ]
    left = sum(fixed) + len(_GAP) * len(fixed)
    room = min(last, width - left)
    below = room < min(last, _MIN_LAST)
    if below:
        room = min(last, width - len(_GAP))
    lines = []
    for row in (headings, *rows):
        start = _GAP.join(
            set_cell_size(cell, size) for cell, size in zip(row, fixed, strict=False)
        )
        end = _fit(row[-1], room)
        lines += [start.rstrip(), _GAP + end] if below else [_joined(start, end)]
    rule = "─" * min(max(map(cell_len, lines)), width)
    lines.insert(2 if below else 1, rule)
    return lines


def _joined(start: str, end: str) -> str:
    return (f"{start}{_GAP}{end}" if start else end).rstrip()


def _fit(text: str, room: int) -> str:
    return text if cell_len(text) <= room else set_cell_size(text, room - 1) + "…"


def count_of(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural except for one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def number_or_dash(number: int) -> str:
    """Return a number for a table cell."""
    return f"{number:,}" if number else "—"


def causes_in_words(counts: Mapping[LeaveCause, int] | Mapping[str, int]) -> str:
    """Return how many tasks are left for each cause, in the order given."""
    return ", ".join(f"{n:,} {cause_in_words(c)}" for c, n in counts.items())


def truncate(text: str, width: int = 60) -> str:
    """Truncate a string for a table cell."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
