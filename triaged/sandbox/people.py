"""Simulated people: new tasks arrive, and people approve or dismiss them in time.

Time is whatever the sandbox's clock says: before each answer the people catch up with
it. The same seed, policy and times give the same decisions.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from triaged.rules.task import Task, parse_task
from triaged.sandbox.store import PERSON, Store, format_timestamp
from triaged.sandbox.tasks import Fields, TaskGenerator

# From the pending tasks and the time, the status that people give to each, by task id;
# they leave the tasks that are not in it.
Policy: TypeAlias = Callable[[Sequence[Task], datetime], Mapping[str, str]]

_DAY: Final = timedelta(days=1)
_CONTRARY: Final = {"approved": "dismissed", "dismissed": "approved"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleSettings:
    """What people do, how long it takes them, and how many tasks arrive each day.

    ``delay`` is the mean time until a task is settled; a task takes between a quarter
    and seven quarters of it. ``error_rate`` is the share (0 to 1) of decisions that are
    the contrary of the policy.
    """

    policy: Policy
    delay: timedelta = timedelta(hours=8)
    error_rate: float = 0.0
    arrivals_per_day: int = 0


class People:
    """The people of one sandbox; ``policy`` may be replaced at any time."""

    def __init__(
        self, settings: PeopleSettings, store: Store, *, seed: int, now: datetime
    ) -> None:
        self.policy = settings.policy
        self._settings = settings
        self._store = store
        self._seed = seed
        self._started_at = now
        self._days = 0
        self._arriving: list[tuple[datetime, Fields]] = []
        self._seen_at: dict[str, datetime] = {}

    def catch_up(self, now: datetime) -> None:
        """Let everything happen that is due by now, in order of time."""
        self._plan_arrivals(now)
        while self._arriving and self._arriving[0][0] <= now:
            at, task = self._arriving.pop(0)
            self._settle_due(at)
            self._store.add([task])
        self._settle_due(now)

    def _plan_arrivals(self, now: datetime) -> None:
        number = self._settings.arrivals_per_day
        while number and self._started_at + self._days * _DAY <= now:
            begins_at = self._started_at + self._days * _DAY
            chance = random.Random(f"{self._seed} {self._days}")  # noqa: S311 - repeatable
            tasks = TaskGenerator(chance, begins_at + _DAY).make(number)
            for place, task in enumerate(tasks, 1):
                at = begins_at + _DAY * place / number
                self._arriving.append((at, task | {"created_at": format_timestamp(at)}))
            self._days += 1

    def _settle_due(self, now: datetime) -> None:
        pending = [parse_task(fields) for fields in self._store.tasks("pending")]
        waiting = {task.id: task for task in pending if task.id}
        for task_id in self._seen_at.keys() - waiting.keys():
            del self._seen_at[task_id]
        due = []
        for task_id in waiting:
            at = self._seen_at.setdefault(task_id, now) + self._delay(task_id)
            if at <= now:
                due.append((at, task_id))
        if not due:
            return
        decided = self.policy(pending, now)
        for at, task_id in sorted(due):
            status = decided.get(task_id)
            if status is None:
                continue
            if self._chance(task_id, "error").random() < self._settings.error_rate:
                status = _CONTRARY[status]
            self._store.settle(task_id, status, now=at, by=PERSON)

    def _delay(self, task_id: str) -> timedelta:
        share = self._chance(task_id, "delay").uniform(0.25, 1.75)
        return self._settings.delay * share

    def _chance(self, task_id: str, what: str) -> random.Random:
        return random.Random(f"{self._seed} {task_id} {what}")  # noqa: S311 - repeatable
