"""Synthetic tasks, as diverse as possible, to find matches that are too wide."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from triaged.rules.conditions import (
    Condition,
    DuplicateOf,
    MetadataMatches,
    iter_leaves,
)
from triaged.rules.task import Json, Task, parse_task

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)

# The descriptions share only what nearly every description has; product names with
# digits and capitals keep [a-z] from passing as a specific condition.
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
# In any time zone these cover all days of the week and all hours of the day.
_AGES_ALL_WEEK: Final = tuple(timedelta(hours=25) * n for n in range(1, 32))
# A value that no rule expects at a path: it equals nothing and has an unusual type.
_UNEXPECTED_VALUE: Final[Json] = {"odd": ["value"]}


def sample_tasks(
    types: Iterable[str],
    min_age: timedelta,
    *,
    paths: Sequence[str] = (),
    all_week: bool = False,
) -> list[Task]:
    """Return tasks of every type, description and age that a rule could act on.

    Their only metadata is an unexpected value at each of the given paths.
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


def metadata_paths(condition: Condition) -> Iterator[str]:
    """Yield every metadata path that the condition reads."""
    for leaf in iter_leaves(condition):
        match leaf:
            case MetadataMatches(path):
                yield path
            case DuplicateOf(of):
                fields = [p for p in of if p.startswith("metadata.")]
                yield from (field.removeprefix("metadata.") for field in fields)
            case _:
                pass
