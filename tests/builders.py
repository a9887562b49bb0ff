"""Builders of values that are ordinary except for what a test names."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from triaged.ledger.dismissals import Intent, Source
from triaged.ledger.observations import NewObservation
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


def an_intent(task_id: str = "task-1", **changes: object) -> Intent:
    intent = Intent(
        task=a_task(id=task_id),
        rule="clutter",
        reason="testing",
        source=Source.DAEMON,
        cycle="cycle-1",
        decided_at=T0,
        rules_sha256="ab12",
        trace='{"rule": "clutter"}',
    )
    return replace(intent, **changes)  # type: ignore[arg-type]


def an_observation(task_id: str = "task-1", **changes: object) -> NewObservation:
    observation = NewObservation(
        task_id=task_id, rule="watch", reason="testing", fingerprint="f1"
    )
    return replace(observation, **changes)  # type: ignore[arg-type]
