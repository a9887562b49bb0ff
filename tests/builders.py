"""Ordinary values for tests: ordinary unless told otherwise."""

from datetime import UTC, datetime, timedelta
from typing import Final

from triaged.rules.task import Json, Task, parse_task

T0: Final = datetime(2026, 3, 1, tzinfo=UTC)


def a_task(*, age: timedelta = timedelta(days=1), **fields: Json) -> Task:
    """Return a task as listed at T0."""
    listed: dict[str, Json] = {
        "id": "task-1",
        "type": "prospect_search",
        "status": "pending",
        "description": "Find 20 CEOs at law firms in New York",
        "created_at": (T0 - age).isoformat(),
        "metadata": {},
    }
    return parse_task(listed | fields)
