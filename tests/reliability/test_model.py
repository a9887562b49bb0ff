"""Product and model live through the same days, in every order that may happen."""

from datetime import timedelta
from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.reliability.comparison import ModelComparison
from tests.reliability.model_rules import RuleSpec, Spec
from tests.reliability.model_server import ServerLimits
from tests.reliability.report import FULL, Report
from tests.reliability.state_machine import ProductStateMachine
from triaged.ledger.dismissals import DismissalFilter
from triaged.triage.reconcile import EFFECT_TIMEOUT

pytestmark = pytest.mark.reliability

HISTORIES: Final = 2000 if FULL else 80
STEPS: Final = 50


def test_the_product_does_what_the_model_does(report: Report) -> None:
    """Whatever happens in whichever order, ledger and calls are as the model says."""
    structlog.configure(processors=[_drop])
    with report.check(
        "Model",
        "Cycle, guard, dispatcher, ledger and quota do what a model of the guarantees"
        " does, step by step",
    ) as check:
        run_state_machine_as_test(
            ProductStateMachine,
            settings=settings(
                max_examples=HISTORIES,
                stateful_step_count=STEPS,
                derandomize=True,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        counted = ProductStateMachine.counted
        check.runs = HISTORIES
        check.result = (
            f"{counted['cycles']:,} cycles and {counted['commands']:,} commands"
            f" compared, {counted['decisions']:,} decisions,"
            f" {counted['dismissals']:,} dismissals asked for,"
            f" {counted['crashes']} deaths amid them"
        )

        assert counted["dismissals"] > HISTORIES
        assert counted["crashes"] > 0


@pytest.mark.parametrize("again", [None, ["a"]], ids=["apply", "by hand"])
@pytest.mark.parametrize("fault", ["", "drop-after-effect"])
def test_a_dismissal_that_was_asked_for_twice_counts_once(
    again: list[str] | None, fault: str
) -> None:
    """A command's confirmed dismissal does not confirm the daemon's failed try."""
    spec = Spec(rules=(RuleSpec(on="clutter"),))
    comparison = ModelComparison(spec, ServerLimits(minute=1000, day=10_000))
    comparison.server.add("a", "clutter a", comparison.clock.now() - timedelta(days=1))
    comparison.server.faults["a"] = "drop-before-effect"
    comparison.cycle()
    # Only a list of a later time settles it, and while paused it is not tried again.
    comparison.clock.advance(EFFECT_TIMEOUT.total_seconds())
    comparison.cycle_while_paused()
    comparison.server.faults["a"] = fault
    comparison.command(again)
    comparison.cycle()
    records = comparison.beside.dismissals.query(DismissalFilter())
    attempts = comparison.beside.counters.values("attempts")
    comparison.close()

    assert [record.outcome for record in records] == ["failed", "confirmed"]
    assert attempts["confirmed", ""] == 1


def _drop(*_: object) -> str:
    raise structlog.DropEvent
