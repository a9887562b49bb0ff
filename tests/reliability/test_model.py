"""Product and model live through the same days, in every order that may happen."""

from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.reliability.machine import Machine
from tests.reliability.report import FULL, Report

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


def _drop(*_: object) -> str:
    raise structlog.DropEvent
