"""The table that all tests of a run share, print and write."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.reliability.report import FULL, Report, render

TARGET: Final = Path(__file__).parents[1] / "RELIABILITY.md"
ARTEFACT: Final = TARGET.parents[1] / "build/artefacts/RELIABILITY.md"


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Collect what the tests record; print it when the run ends."""
    report = Report()
    yield report
    table = render(report.rows)
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        print(f"\n{table}")  # noqa: T201 - the run is there to print it
    ARTEFACT.parent.mkdir(parents=True, exist_ok=True)
    for path in (ARTEFACT, TARGET) if FULL else (ARTEFACT,):
        path.write_text(table)
