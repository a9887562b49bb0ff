"""A few histories of the product beside the model; many are in tests/reliability."""

from datetime import timedelta

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.reliability.machine import Machine
from tests.reliability.model_rules import RuleSpec, Spec
from tests.reliability.model_server import Plan
from tests.reliability.twin import Twin


def test_product_and_model_agree() -> None:
    """In a few dozen short histories the ledger and the calls are as the model says."""
    structlog.configure(processors=[_drop])
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("again", [None, ["a"]], ids=["apply", "by hand"])
@pytest.mark.parametrize("fault", ["", "cut-after"])
def test_a_dismissal_that_was_asked_for_twice_counts_once(
    again: list[str] | None, fault: str
) -> None:
    """What a command carries out is not also the daemon's that came to nothing."""
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
