"""Values to text for terminals: tables, trees, and nothing that a task could steer."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from triaged.text import escape_unprintable

# Wide enough for a pipe; a terminal says how wide it is itself.
NON_TTY_WIDTH: Final = 160
_MARKS: Final = {True: "✓", False: "✗", None: "?"}
_STYLES: Final = {True: "green", False: "red", None: "yellow"}


def echo(text: str, *, error: bool = False, end: str = "\n") -> None:
    """Print a line, with control characters made visible."""
    stream = sys.stderr if error else sys.stdout
    stream.write(escape_unprintable(text, keep="\n") + end)


def echo_json(document: object) -> None:
    """Print a document as JSON."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    sys.stdout.write(escape_json(text) + "\n")


def escape_json(text: str) -> str:
    """Escape what a JSON text holds that cannot be seen, so that it stays JSON."""
    return "\n".join(
        line
        if line.isprintable()
        else "".join(c if c.isprintable() else _json_escape(c) for c in line)
        for line in text.split("\n")
    )


def _json_escape(character: str) -> str:
    # JSON knows no other escape than one for each UTF-16 unit.
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def console() -> Console:
    """Return where tables go."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=NON_TTY_WIDTH)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Make a table of plain texts."""
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        made.add_column(Text(heading), overflow="fold")
    for row in rows:
        made.add_row(*(Text(escape_unprintable(cell)) for cell in row))
    return made


def truncate(text: str, width: int = 60) -> str:
    """Cut a text for a table cell."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def rule_tree(rule: dict[str, Any]) -> Tree:
    """Draw one rule's condition tree, as it stands in a trace."""
    notes = [rule["action"]]
    if rule["mode"] != "enforce":
        notes.append(rule["mode"])
    if rule["applied"]:
        notes.append("applied")
    elif not rule["evaluated"]:
        notes.append("not reached")
    title = Text(
        f"{escape_unprintable(rule['rule'])} ({', '.join(notes)})", style="bold"
    )
    tree = Tree(title)
    add_verdict(tree, rule["match"])
    return tree


def add_verdict(tree: Tree, verdict: dict[str, Any]) -> None:
    """Hang one condition's verdict, and those of its parts, into a tree."""
    truth = verdict["result"]
    line = Text()
    line.append(f"{_MARKS[truth]} ", style=_STYLES[truth])
    line.append(
        f"{escape_unprintable(verdict['condition'])}: expected {escape_unprintable(verdict['expected'])}"
    )
    line.append(f"; saw {escape_unprintable(verdict['actual'])}")
    if truth is None:
        line.append(" (cannot be judged)", style="yellow")
    branch = tree.add(line)
    for part in verdict.get("children", ()):
        add_verdict(branch, part)
