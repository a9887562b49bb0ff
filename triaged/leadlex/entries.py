"""Entries of a list answer: where one ends in the text, and what it takes in memory."""

import math
import re
from collections.abc import Iterable
from sys import getsizeof
from typing import Final

from triaged.rules.task import Json, Task

# A value that is there but cannot be represented; for ``parse_task`` it is unreadable.
UNREADABLE: Final = math.nan
# A text, with a group if it is closed, or what separates and nests values.
_MARK: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(")?|[\[\]{},]', re.DOTALL)
# Levels that json decodes in any case.
_DEEP: Final = 100


def integer(digits: str) -> Json:
    """Read an integer of any length."""
    try:
        return int(digits)
    except ValueError:
        # Python reads no integer of more than 4,300 digits.
        return UNREADABLE


def find_end(text: str, start: int) -> tuple[int | None, bool]:
    """Return where a value ends, if that is in the text, and if it nests deeply."""
    depth = deepest = 0
    for mark in _MARK.finditer(text, start):
        found = mark[0]
        if found[0] == '"':
            if mark[1] is None:
                return None, False
        elif found in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif depth == 0:
            return mark.start(), deepest > _DEEP
        elif found != ",":
            depth -= 1
    return None, False


def task_size(task: Task) -> int:
    """Return the memory that a task takes."""
    size = getsizeof(task) + _size(task.raw)
    if task.metadata is not task.raw.get("metadata"):
        size += _size(task.metadata)
    return size


def _size(value: object) -> int:
    """Return the memory that a value takes, apart from keys, which are shared."""
    size = getsizeof(value)
    if isinstance(value, dict):
        inner: Iterable[object] = value.values()
    elif isinstance(value, list):
        inner = value
    else:
        return size
    for item in inner:
        size += _size(item) if isinstance(item, dict | list) else getsizeof(item)
    return size
