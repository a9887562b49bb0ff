"""Product and model live through the same days, in every order that may happen."""

from datetime import timedelta
from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.reliability.machine import Machine
from tests.reliability.model_rules import RuleSpec, Spec
from tests.reliability.model_server import Plan
from tests.reliability.report import FULL, Report
from tests.reliability.twin import Twin

pytestmark = pytest.mark.reliability

HISTORIES: Final = 2000 if FULL else 80
STEPS: Final = 50


def test_the_product_does_what_the_model_does(report: Report) -> None:
    """Whatever happens in whichever order, ledger and calls are as the model says."""
    structlog.configure(processors=[_drop])
    with report.trial(
        "Model",
        "Cycle, guard, gate, ledger and quota do what a plain model of the promises"
        " does, step by step",
    ) as trial:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=HISTORIES,
                stateful_step_count=STEPS,
                derandomize=True,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        counted = Machine.counted
        trial.trials = HISTORIES
        trial.happened = (
            f"{counted['cycles']:,} cycles and {counted['commands']:,} commands"
            f" compared, {counted['decisions']:,} decisions,"
            f" {counted['dismissals']:,} dismissals asked for,"
            f" {counted['crashes']} deaths amid them"
        )

        assert counted["dismissals"] > HISTORIES
        assert counted["crashes"] > 0


@pytest.mark.parametrize("again", [None, ["a"]], ids=["apply", "by hand"])
@pytest.mark.parametrize("fault", ["", "cut-after"])
def test_a_dismissal_that_was_asked_for_twice_counts_once(
    again: list[str] | None, fault: str
) -> None:
    """A command's confirmed dismissal does not confirm the daemon's failed try."""
    spec = Spec(rules=(RuleSpec(on="clutter"),))
    twin = Twin(spec, Plan(minute=1000, day=10_000))
    twin.server.add("a", "clutter a", twin.clock.now() - timedelta(days=1))
    twin.server.faults["a"] = "cut-before"
    twin.cycle()
    twin.server.faults["a"] = fault
    twin.command(again)
    twin.cycle()
    outcomes = [line.outcome for line in twin.model.book.values()]
    attempts = twin.beside.flags.counters("attempts")
    twin.close()

    assert sorted(map(str, outcomes)) == ["confirmed", "failed"]
    assert attempts["confirmed", ""] == 1


def _drop(*_: object) -> str:
    raise structlog.DropEvent
