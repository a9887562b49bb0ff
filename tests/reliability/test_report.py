"""The table itself."""

import pytest

from tests.reliability.report import Report, render


def test_a_broken_promise_stands_in_the_table() -> None:
    """A trial that raises is a row that says so, and the error goes on."""
    report = Report()
    with pytest.raises(LookupError), report.trial("Faults", "it holds"):
        raise LookupError

    assert "| Faults | it holds | 0 | BROKEN: LookupError |" in render(report.rows)


def test_the_same_promise_is_one_row() -> None:
    """What is tried in several ways is counted together, and no break is hidden."""
    report = Report()
    for trials in (2, 3):
        with report.trial("Clocks", "it holds") as trial:
            trial.trials = trials
    with pytest.raises(LookupError), report.trial("Clocks", "it holds"):
        raise LookupError

    assert "| it holds | 5 | held; BROKEN: LookupError |" in render(report.rows)
