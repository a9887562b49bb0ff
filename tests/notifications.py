"""Facts, times and a sender for tests of notifications."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from tests.builders import T0
from triaged.daily_time import DailyTime, parse_daily_time
from triaged.notify.message import Delivery, Message, Receipt
from triaged.triage.digest import ChangedRule, DigestFacts, Hold, TaskLine

BERLIN: Final = parse_daily_time("08:00 Europe/Berlin")
HOSTILE: Final = (
    "@everyone <!channel> [pay](https://evil.example.com) **now** `rm -rf` <b>bold</b>"
    " \x1b[31mred\u202e"
)


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
)

daily_times = st.builds(
    lambda hour, minute, zone: DailyTime(time(hour, minute), zone),
    st.integers(0, 23),
    st.integers(0, 59),
    st.sampled_from(ZONES),
)
dates = st.dates(date(2020, 1, 1), date(2037, 12, 31))


def some_facts(**given: Any) -> DigestFacts:
    """Return what an eventful day leaves, except for what a test names."""
    clutter, stale = ("test-clutter", "testing"), ("stale-searches", "not_relevant")
    facts = DigestFacts(
        workspace="acme",
        since=T0 - timedelta(days=1),
        until=T0,
        dismissed={clutter: 12, (None, "bulk_cleanup"): 2, stale: 1},
        examples={
            clutter: [
                TaskLine("7a3c0001-aaaa", "[TEST] merge contacts"),
                TaskLine("7a3c0002-aaaa", HOSTILE),
                TaskLine("7a3c0003-aaaa", "Lorem ipsum " * 40),
            ],
            stale: [TaskLine("odd/id?\x07", "")],
            (None, "bulk_cleanup"): [TaskLine("7a3c0004-aaaa", "Find 20 CEOs")],
        },
        holds=[
            Hold("7a3c0005-aaaa", "stale-searches", T0 + timedelta(hours=5)),
            Hold("7a3c0006-aaaa", "stale-searches", T0 - timedelta(hours=1)),
            Hold("7a3c0007-aaaa", "stale-searches", T0 + timedelta(days=2)),
        ],
        descriptions={"7a3c0005-aaaa": "Find 50 CFOs in Lyon"},
        observed={"weekend-noise": 5},
        decided={"weekend-noise": (3, 1)},
        decided_ever={"weekend-noise": (37, 2)},
        changes=[
            ChangedRule(
                rule="stale-searches", is_promotion=True, at=T0 - timedelta(hours=9)
            ),
            ChangedRule(
                rule="old-lists",
                is_promotion=False,
                at=T0 - timedelta(hours=2),
                by="lex@laptop",
            ),
        ],
        problems=["The breaker has been open since 02:10 UTC: 30 of 40 tasks."],
    )
    return replace(facts, **given)


@dataclass
class FakeSender:
    """Takes messages down, and gives the receipts that a test asks for.

    ``receipts`` are those of the next attempts, by destination; later ones succeed.
    ``before`` runs before each attempt, and may raise.
    """

    destinations: tuple[str, ...] = ("mail",)
    receipts: list[dict[str, Receipt]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    sent: list[tuple[str, Message]] = field(default_factory=list)

    def check(self) -> None:
        self.before()

    def send(
        self, message: Message, *, skip: frozenset[str] = frozenset()
    ) -> Sequence[Delivery]:
        self.before()
        given = self.receipts.pop(0) if self.receipts else {}
        deliveries = []
        for line, key in enumerate(self.destinations, 1):
            if key not in skip:
                receipt = given.get(key, Receipt.SENT)
                if receipt is Receipt.SENT:
                    self.sent.append((key, message))
                problem = "" if receipt is Receipt.SENT else "answered 500"
                deliveries.append(
                    Delivery(
                        key=key,
                        line=line,
                        service=key,
                        receipt=receipt,
                        problem=problem,
                    )
                )
        return deliveries
