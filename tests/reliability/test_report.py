"""The table itself."""

import pytest

from tests.reliability.report import Report, render


def test_a_broken_promise_stands_in_the_table() -> None:
    """A trial that raises is a row that says so, and the error goes on."""
    report = Report()
    with pytest.raises(LookupError), report.trial("Faults", "it holds"):
        raise LookupError

    assert "| Faults | it holds | 0 | BROKEN: LookupError |" in render(report.rows)
