"""The table itself."""

import pytest

from tests.reliability.report import Report, render


def test_a_broken_guarantee_is_in_the_table() -> None:
    """A test that raises has a row that shows it, and the error is raised."""
    report = Report()
    with pytest.raises(LookupError), report.check("Faults", "it holds"):
        raise LookupError

    assert "| Faults | it holds | 0 | BROKEN: LookupError |" in render(report.rows)


def test_the_same_guarantee_is_one_row() -> None:
    """What is tried in several ways is counted together, and no break is hidden."""
    report = Report()
    for runs in (2, 3):
        with report.check("Clocks", "it holds") as check:
            check.runs = runs
    with pytest.raises(LookupError), report.check("Clocks", "it holds"):
        raise LookupError

    assert "| it holds | 5 | held; BROKEN: LookupError |" in render(report.rows)
