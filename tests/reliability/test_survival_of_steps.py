"""Whatever raises in a cycle, later cycles do its work, and nothing is lost or twice.

The whole daemon, with its plan of the next poll, is tried in ``test_survival``; here a
life of the rules (observed, promoted, audited, demoted; a breaker, a veto, an unknown
outcome) is lived again and again, and each time another of its steps raises.
"""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from tests.builders import T0
from tests.fakes import TriageHarness
from tests.reliability.report import Report
from triaged.leadlex.errors import NoResponse
from triaged.ledger.dismissals import Outcome
from triaged.triage.feedback import REFRESH_INTERVAL
from triaged.triage.reconcile import EFFECT_TIMEOUT

pytestmark = [pytest.mark.anyio, pytest.mark.reliability]

RULES: Final = r"""
version: 1
safety: {max_share_of_pending: 0.9}
rules:
  - name: watch
    mode: observe
    promote: {agreement: 0.5, tasks: 5}
    audit: 0.5
    match: {description: '^\[TEST\]'}
    dismiss: testing
"""
# What a life without errors logs; each of them is a step that may raise.
EVENTS: Final = frozenset(
    {
        "breaker.opened",
        "breaker.closed",
        "dismissal.resolved",
        "dismissal.skipped",
        "dismissal.unknown",
        "rule.demoted",
        "rule.promoted",
        "task.dismissed",
    }
)


# One that is vetoed before its cycle, and one in the middle of it.
VETOED: Final = frozenset({"new3", "new8"})
LATE_VETO: Final = "new8"


class InjectedError(Exception):
    """What no code of ours expects."""


class Steps:
    """Counts log calls, lists, connections and calls; raises at one of them."""

    def __init__(self, raise_at: int) -> None:
        self._raise_at = raise_at
        self.count = 0
        self.events: set[str] = set()

    def step(self) -> None:
        self.count += 1
        if self.count == self._raise_at:
            raise InjectedError

    async def before_list(self, _: str) -> None:
        self.step()

    def log(self, _: Any, __: str, event: MutableMapping[str, Any]) -> Any:
        self.events.add(event["event"])
        self.step()
        raise structlog.DropEvent


class Life:
    """The cycles of one workspace; a cycle that raises is followed by the next."""

    def __init__(self, directory: Path, raise_at: int) -> None:
        self.steps = Steps(raise_at)
        self.raise_at = raise_at
        self.errors = 0
        self.outcomes: list[tuple[str, str | None]] = []
        self.harness = TriageHarness(directory)
        self.harness.rules(RULES)
        lexi = self.harness.leadlex
        lexi.before_list = self.steps.before_list
        lexi.while_connecting = self.connect
        lexi.after_list = self.steps.step
        lexi.before_dismiss = self.harness.clock.on_sleep = self.steps.step
        structlog.configure(processors=[self.steps.log])

    def connect(self) -> None:
        """Open a connection while another person vetoes what comes later."""
        self.harness.ledger.vetoes.add(LATE_VETO, at=T0)
        self.steps.step()

    async def poll(self) -> None:
        try:
            await self.harness.cycle()
        except InjectedError:
            self.errors += 1
        self.harness.clock.advance(60)

    async def pass_a_day(self) -> None:
        self.harness.clock.advance(REFRESH_INTERVAL.total_seconds() + 1)
        await self.poll()
        await self.poll()

    async def live(self) -> None:
        lexi = self.harness.leadlex
        observed = [f"seen{number}" for number in range(5)]
        lexi.add(*observed)
        await self.poll()
        await self.poll()
        for task_id in observed:
            lexi.tasks[task_id]["status"] = "dismissed"
        await self.pass_a_day()
        # Promoted by now, or at a later poll: half of these are audited.
        lexi.errors = [NoResponse("dismiss")]
        lexi.effect_before_error = True
        self.harness.ledger.vetoes.add("new3", at=T0)
        audited = [f"new{number}" for number in range(12)]
        lexi.add(*audited)
        await self.poll()
        lexi.errors = []
        self.harness.clock.advance(EFFECT_TIMEOUT.total_seconds())
        await self.poll()
        lexi.add(*(f"many{number}" for number in range(30)))
        await self.poll()
        for number in range(30):
            if lexi.tasks[f"many{number}"]["status"] == "pending":
                lexi.tasks[f"many{number}"]["status"] = "completed"
        await self.poll()
        for task_id in audited:
            if lexi.tasks[task_id]["status"] == "pending":
                lexi.tasks[task_id]["status"] = "approved"
        await self.pass_a_day()
        self.harness.clock.advance(EFFECT_TIMEOUT.total_seconds())
        await self.poll()
        await self.poll()

    def is_whole(self) -> bool:
        """Return whether the ledger has each dismissal, and that the step raised."""
        resolved = {Outcome.CONFIRMED, Outcome.FAILED}
        confirmed = [task for task, end in self.outcomes if end is Outcome.CONFIRMED]
        return (
            self.errors == bool(self.raise_at)
            and resolved.issuperset(end for _, end in self.outcomes)
            and confirmed == sorted(self.harness.leadlex.dismissed)
            and VETOED.isdisjoint(confirmed)
        )


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


async def test_each_step_may_raise(tmp_path: Path, report: Report) -> None:
    """Each dismissal is recorded once, and none stays unknown, whatever raised."""
    guarantee = "each step of promotion, audit and breaker raises: later cycles do it"
    with report.check("Survival", guarantee) as check:
        undisturbed = await lived(tmp_path, 0)
        broken = []
        for raise_at in range(1, undisturbed.steps.count + 1):
            if not (await lived(tmp_path, raise_at)).is_whole():
                broken.append(raise_at)
            check.runs += 1
        events = len(undisturbed.steps.events)
        check.result = f"{events} kinds of log events; 0 dismissals lost or twice"

        assert undisturbed.steps.events == EVENTS
        assert undisturbed.is_whole()
        assert len(undisturbed.outcomes) > 1
        assert broken == []


async def lived(directory: Path, raise_at: int) -> Life:
    """Return a life in which this step raised."""
    home = directory / str(raise_at)
    home.mkdir()
    life = Life(home, raise_at)
    await life.live()
    life.outcomes = life.harness.outcomes()
    life.harness.ledger.close()
    return life
