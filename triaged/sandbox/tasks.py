"""Generates realistic tasks from a seed: test data, duplicates, stale searches, work.

The same seed, count and time give the same tasks on every machine.
"""

import json
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from triaged.rules.task import DOCUMENTED_TYPES, Json
from triaged.sandbox.store import format_timestamp

Fields: TypeAlias = dict[str, Json]

_Choice = TypeVar("_Choice")

_SHARES: Final = {"test_data": 0.20, "duplicate": 0.15, "stale": 0.20}
_MINUTES_A_DAY: Final = 24 * 60

# The shares of human decisions in each category, for backtests.
_SETTLED: Final = {
    "test_data": {"dismissed": 97, "failed": 3},
    "duplicate": {"dismissed": 88, "approved": 4, "completed": 8},
    "stale": {"dismissed": 80, "completed": 15, "failed": 5},
    "ordinary": {"approved": 30, "completed": 52, "dismissed": 12, "failed": 6},
}

# Names, places and phrases of a made-up law firm's workspace, invented or taken from
# the examples in the LeadLex documentation.
_SAMPLES: Final = json.loads(Path(__file__).with_name("sample_data.json").read_bytes())

# Variations of a request that is typed again in a hurry.
_RETYPED: Final[tuple[Callable[[str], str], ...]] = (
    str.upper,
    str.lower,
    lambda text: f"  {text} ",
    lambda text: text.replace(" ", "  "),
    lambda text: text,
)


def generate(
    seed: int, count: int, now: datetime, *, settled_ratio: float = 0.0
) -> list[Fields]:
    """Generate pending tasks and ``settled_ratio`` times as many with a final status.

    About a fifth is test data, a fifth stale searches, 15 % duplicates.
    """
    maker = TaskGenerator(random.Random(seed), now)  # noqa: S311 - repeatable, not secret
    pending = maker.make(count)
    settled = maker.make(round(count * settled_ratio), settled=True)
    return pending + settled


@dataclass(slots=True)
class _Generated:
    category: str
    task: Fields


class TaskGenerator:
    """Generates tasks from one random source, dated relative to ``now``."""

    def __init__(self, chance: random.Random, now: datetime) -> None:
        self._chance = chance
        self._now = now

    def make(self, count: int, *, settled: bool = False) -> list[Fields]:
        made: list[_Generated] = []
        for category in self._categories(count):
            task = (
                self._copy(made) if category == "duplicate" else self._fresh(category)
            )
            made.append(_Generated(category, task))
        if settled:
            for each in made:
                shares = _SETTLED[each.category]
                statuses, weights = list(shares), list(shares.values())
                each.task["status"] = self._chance.choices(statuses, weights)[0]
        return [each.task for each in made]

    def _categories(self, count: int) -> list[str]:
        categories = [
            category
            for category, share in _SHARES.items()
            for _ in range(round(count * share))
        ]
        categories += ["ordinary"] * (count - len(categories))
        self._chance.shuffle(categories)
        # A duplicate needs an earlier task.
        if "ordinary" in categories:
            first = categories.index("ordinary")
            categories[0], categories[first] = categories[first], categories[0]
        return categories

    def _fresh(self, category: str) -> Fields:
        if category == "test_data":
            return self._test_data()
        return self._stale() if category == "stale" else self._ordinary()

    def _copy(self, made: list[_Generated]) -> Fields:
        models = [each.task for each in made if each.category == "ordinary"]
        model = self._chance.choice(models)
        text = str(model["description"])
        variant = self._chance.choice(_RETYPED)
        since = datetime.fromisoformat(str(model["created_at"]))
        later = (self._now - since) * self._chance.random()
        copy = dict(model, id=self._id(), description=variant(text))
        copy["created_at"] = format_timestamp(self._now - later)
        return copy

    def _test_data(self) -> Fields:
        text = self._phrase(self._pick(_SAMPLES["test_data"]))
        metadata: Fields = {"source": self._chance.choice(["test", "api"])}
        kind = self._chance.choice(DOCUMENTED_TYPES)
        return self._task(kind, text, metadata, most_days=120)

    def _stale(self) -> Fields:
        phrases = _SAMPLES["phrases"]
        role, sector = self._pick(phrases["role"]), self._pick(phrases["sector"])
        city, number = self._pick(phrases["city"]), self._chance.randint(20, 400)
        metadata: Fields = {
            "query": f"{role} {sector} {city}".lower(),
            "limit": self._chance.choice([1200, 2000, 2500, 5000]),
            "source": self._chance.choice(["api", "api", "test"]),
        }
        text = f"Find {number} {role} at {sector} in {city}"
        if self._chance.random() < 1 / 3:
            metadata["list_id"] = self._id()
        return self._task(
            "prospect_search", text, metadata, least_days=15, most_days=364
        )

    def _ordinary(self) -> Fields:
        roll = self._chance.random()
        if roll < 1 / 20:
            text = self._phrase(self._pick(_SAMPLES["protected"]))
            kind, metadata = "list_operation", self._list_metadata()
        elif roll < 2 / 20:
            text, kind = self._phrase(_SAMPLES["long_note"]), "prospect_search"
            metadata = {"query": self._phrase("{role} {sector}"), "source": "chat"}
        else:
            kind, template = self._pick(_SAMPLES["ordinary"])
            text, metadata = self._phrase(template), self._metadata(kind)
        task = self._task(kind, text, metadata, most_days=60)
        loss = self._chance.random()
        if loss < 1 / 15:
            del task["metadata"]
        elif loss < 2 / 15:
            task["metadata"] = None if loss < 1 / 10 else {}
        return task

    def _metadata(self, kind: str) -> Fields:
        if kind == "campaign_start":
            recipients = self._chance.randint(101, 400)
            return {"campaign_id": self._id(), "recipients": recipients}
        if kind == "contact_update":
            return {"contact_id": self._id()}
        if kind == "list_operation":
            return self._list_metadata()
        return {
            "query": self._phrase("{role} at {sector} in {city}"),
            "limit": self._chance.choice([20, 50, 100]),
            "filters": {"country": self._chance.choice(["US", "CH", "DE", "JP"])},
            "source": "chat",
        }

    def _list_metadata(self) -> Fields:
        return {
            "list_id": self._id(),
            "list_name": self._pick(_SAMPLES["phrases"]["list"]),
        }

    def _task(
        self,
        kind: str,
        text: str,
        metadata: Fields,
        *,
        most_days: float,
        least_days: float = 0,
    ) -> Fields:
        # More recent tasks than old ones, as in a real workspace.
        share = self._chance.random() ** 2
        minutes = _MINUTES_A_DAY * (least_days + share * (most_days - least_days))
        created_at = self._now - timedelta(minutes=max(1, round(minutes)))
        return {
            "id": self._id(),
            "type": kind,
            "status": "pending",
            "description": text,
            "created_at": format_timestamp(created_at),
            "metadata": metadata,
        }

    def _phrase(self, template: str) -> str:
        number = self._chance.randint(2, 200)
        phrases = {
            name: self._pick(choices) for name, choices in _SAMPLES["phrases"].items()
        }
        return template.format(n=number, **phrases)

    def _pick(self, choices: Sequence[_Choice]) -> _Choice:
        return self._chance.choice(choices)

    def _id(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
