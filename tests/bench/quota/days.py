"""Whole days: backlogs of several, a day locked out, and a week of ordinary work."""

import json
import random
from dataclasses import dataclass
from typing import Final

from tests.bench.quota.clients import Client, Ours
from tests.bench.quota.drain import Drain, Drained
from tests.bench.quota.rows import Case, make_client
from tests.quota_servers import DAY, START, WINDOW, Api, FixedWindow, SlidingLog
from triaged.quota import PLANS, Purpose, QuotaLimiter, QuotaSettings, RateLimitHeaders

PER_CYCLE: Final = 25
REQUESTED: Final = 300.0
TOOK: Final = 0.3


def drain_days(plan: str, days: float) -> tuple[float, Drained, int]:
    """Drain so many days' worth; return drain over best and what may be spent a day."""
    per_minute, per_day = PLANS[plan]
    usable = per_day - per_day // 5
    tasks = round(usable * days)
    api = Api(FixedWindow(per_minute, 13.0), day_limit=per_day)
    client = Ours(QuotaSettings.for_plan(plan), tasks)
    drained = Drain(client, api).run(tasks, patience=20 * DAY)
    whole, rest = divmod(tasks, usable)
    best = whole * DAY + max(rest / per_minute - 1, 0) * WINDOW
    return drained.seconds / best, drained, usable


def lock_out(strategy: str, *, headers: bool) -> int:
    """Count the calls refused in a day of which others have spent nine tenths."""
    limit, per_day, tasks = PLANS["pro"].per_minute, PLANS["pro"].per_day, 1_000
    client: Client
    if strategy == "known":
        client = Ours(QuotaSettings.for_plan("pro", reserve=0.0), tasks)
    else:
        client = make_client(
            Case(strategy=strategy, kind="sliding", limit=limit), tasks
        )
    api = Api(SlidingLog(limit), day_limit=per_day, headers=headers)
    api.spent = per_day * 9 // 10
    return Drain(client, api).run(tasks, patience=DAY - 120).refused


@dataclass
class Week:
    """What a simulated week came to; waits are from due to done."""

    refused: int = 0
    most_spent: int = 0
    longest_wait: float = 0.0
    dismissed: int = 0
    left: int = 0


class Office:
    """The daemon on the smallest plan: polls, dismisses, and begins anew each time."""

    def __init__(
        self, settings: QuotaSettings, *, a_day: int, days: int, seed: int
    ) -> None:
        chance = random.Random(seed)  # noqa: S311 - repeatable
        self._settings = settings
        self._quota = QuotaLimiter(settings)
        self._api = Api(FixedWindow(10, 13.0), day_limit=100)
        self._now, self._ends = START, START + days * DAY
        moments = (START + chance.random() * days * DAY for _ in range(a_day * days))
        self._due = sorted(moments, reverse=True)
        self._waiting: list[float] = []
        self._week = Week()

    def run(self) -> Week:
        """Work until the week is over."""
        while self._now < self._ends:
            self._cycle()
            at = self._quota.next_poll(self._now, REQUESTED, backlog=len(self._waiting))
            state = json.loads(json.dumps(self._quota.to_dict()))
            self._quota, self._now = QuotaLimiter(self._settings, state), at
        week = self._week
        week.left = len(self._waiting) + len(self._due)
        waits = [self._ends - since for since in (*self._waiting, *self._due)]
        week.longest_wait = max(week.longest_wait, *waits, 0.0)
        return week

    def _cycle(self) -> None:
        if not self._call(Purpose.POLL):
            return
        while self._due and self._due[-1] <= self._now:
            self._waiting.append(self._due.pop())
        for _ in range(min(PER_CYCLE, len(self._waiting))):
            if not self._call(Purpose.DISMISS):
                return
            since = self._waiting.pop(0)
            self._week.dismissed += 1
            self._week.longest_wait = max(self._week.longest_wait, self._now - since)

    def _call(self, purpose: Purpose) -> bool:
        while (grant := self._quota.acquire(self._now, purpose)).permit is None:
            if grant.reason == "day":
                return False
            self._now = max(grant.retry_at or 0.0, self._now + 0.05)
        served, word = self._api.take(self._now + TOOK / 2)
        self._now += TOOK
        self._week.most_spent = max(self._week.most_spent, self._api.spent)
        self._learn(grant.permit, word, served=served)
        return served

    def _learn(self, permit: int, word: RateLimitHeaders, *, served: bool) -> None:
        if served:
            self._quota.on_response(self._now, permit, word)
        else:
            self._week.refused += 1
            self._quota.on_rate_limited(self._now, permit, word)


def starter_week(*, known: bool, a_day: int = 40, seed: int = 3) -> Week:
    """Work for a week on the smallest plan, told or learned."""
    plan = "starter" if known else None
    settings = QuotaSettings.for_plan(plan)
    return Office(settings, a_day=a_day, days=7, seed=seed).run()
