"""Entries of a list response: where one ends in the text, and its memory use."""

import math
import re
from collections.abc import Iterable
from sys import getsizeof
from typing import Final

from triaged.rules.task import Json, Task

# Replaces a value that cannot be represented; ``parse_task`` makes it unreadable.
UNREADABLE: Final = math.nan
# A JSON string, with a group if it is closed, or a separator or bracket.
_MARK: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(")?|[\[\]{},]', re.DOTALL)
# Nesting depth that json can always decode.
_DEEP: Final = 100


def integer(digits: str) -> Json:
    """Parse an integer; one that Python cannot represent becomes ``UNREADABLE``."""
    try:
        return int(digits)
    except ValueError:
        # Python rejects integers of more than 4,300 digits.
        return UNREADABLE


def find_end(text: str, start: int) -> tuple[int | None, bool]:
    """Return the end offset of a value (or None), and whether it is deeply nested."""
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
    """Return the approximate memory use of a task, in bytes."""
    size = getsizeof(task) + _size(task.raw)
    if task.metadata is not task.raw.get("metadata"):
        size += _size(task.metadata)
    return size


def _size(value: object) -> int:
    """Return the memory use of a value in bytes, without keys, which are shared."""
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
