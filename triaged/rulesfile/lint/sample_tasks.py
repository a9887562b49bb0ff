"""Made-up tasks, as different as pending tasks get, to see what a match is about."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from triaged.rules.conditions import (
    Condition,
    DuplicateOf,
    MetadataMatches,
    iter_leaves,
)
from triaged.rules.context import EvaluationContext, build_context
from triaged.rules.evaluate import evaluate
from triaged.rules.task import Json, Task, parse_task

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)

# Each has little in common with the others but what nearly every description has; the
# names of products keep [a-z] from being mistaken for a choice.
_DESCRIPTIONS: Final = (
    "Find 20 CEOs at law firms in New York",
    "Kampagne für Großkanzleien in Köln starten (LinkedIn)",
    "Обновить 5 контактов в HubSpot",
    "LinkedInで弁護士を30人探す",
    "MERGE ALL DUPLICATES IN LIST #7! And tell Zoë",
    "x",
    "Export the quarterly board report, then e-mail it to j.doe@example.com; " * 20,
)
_AGES: Final = tuple(timedelta(hours=1) * n for n in (1, 24 * 30, 24 * 1000))
# By any clock these are all days of the week and all hours of the day.
_AGES_ALL_WEEK: Final = tuple(timedelta(hours=25) * n for n in range(1, 32))
# What no author expects at a path: equal to nothing, and of a type of its own.
_UNEXPECTED_VALUE: Final[Json] = {"odd": ["value"]}


def sample_tasks(
    types: Iterable[str],
    min_age: timedelta,
    *,
    paths: Sequence[str] = (),
    all_week: bool = False,
) -> list[Task]:
    """Return tasks of every type, description and age that a rule could act on.

    Each metadata path given holds an odd value; other metadata there are none.
    """
    some = _AGES_ALL_WEEK if all_week else _AGES
    ages = [min_age + timedelta(seconds=1), *(age for age in some if age > min_age)]
    return [
        parse_task(
            {
                "id": f"{kind}-{index}-{age}",
                "type": kind,
                "status": "pending",
                "description": description,
                "created_at": (NOW - age).isoformat(),
                "metadata": dict.fromkeys(paths, _UNEXPECTED_VALUE),
            }
        )
        for age in ages
        for index, description in enumerate(_DESCRIPTIONS)
        for kind in types
    ]


def sample_context(
    conditions: Iterable[Condition], tasks: Sequence[Task]
) -> EvaluationContext:
    """Learn what the conditions must know of all the probes."""
    return build_context(conditions, tasks, now=NOW)


def holds_for_all(
    condition: Condition, tasks: Iterable[Task], seen: EvaluationContext
) -> bool:
    """Return whether there is no task among them that the condition passes over."""
    return all(evaluate(condition, task, seen) is True for task in tasks)


def is_unknown_for_some(
    condition: Condition, tasks: Iterable[Task], seen: EvaluationContext
) -> bool:
    """Return whether there is a task among them that the condition cannot judge."""
    return any(evaluate(condition, task, seen) is None for task in tasks)


def metadata_paths(condition: Condition) -> Iterator[str]:
    """Yield every metadata path that evaluating the condition looks at."""
    for leaf in iter_leaves(condition):
        match leaf:
            case MetadataMatches(path):
                yield path
            case DuplicateOf(of):
                fields = [p for p in of if p.startswith("metadata.")]
                yield from (field.removeprefix("metadata.") for field in fields)
            case _:
                pass
