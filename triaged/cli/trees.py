"""Draws condition trees for the terminal."""

from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text
from rich.tree import Tree

from triaged.text import escape_unprintable

_SYMBOLS: Final = {True: "✓", False: "✗", None: "?"}
_STYLES: Final = {True: "green", False: "red", None: "yellow"}


def rule_tree(rule: dict[str, Any], notes: list[str]) -> Tree:
    """Return the condition tree of one rule of a stored trace."""
    title = Text(f"{escape_unprintable(rule['rule'])} ({', '.join(notes)})")
    title.stylize("bold")
    tree = Tree(title)
    add_result(tree, rule["match"])
    return tree


def add_result(tree: Tree, result: Mapping[str, Any]) -> None:
    """Add the result of one condition, and those of its parts, to a tree."""
    truth = result["result"]
    line = Text()
    line.append(f"{_SYMBOLS[truth]} ", style=_STYLES[truth])
    line.append(
        f"{escape_unprintable(result['condition'])}:"
        f" expected {escape_unprintable(result['expected'])}"
        f"; saw {escape_unprintable(result['actual'])}"
    )
    if truth is None:
        line.append(" (cannot be evaluated)", style="yellow")
    branch = tree.add(line)
    for part in result.get("children", ()):
        add_result(branch, part)
