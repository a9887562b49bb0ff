"""The server's time, by its `Date` and the monotonic clock."""

import pytest

from tests.unit.quota.builders import NOON
from triaged.quota.server_time import ServerTime


def test_time_passes_by_the_monotonic_clock() -> None:
    """An hour of the monotonic clock is an hour."""
    assert ServerTime(NOON, 10.0, "boot").at(3_610.0) == NOON + 3_600


@pytest.mark.parametrize(
    ("ahead", "after"), [(0, 0), (2, 0), (-2, 0), (3, 3), (-3, -3), (90_000, 90_000)]
)
def test_date_corrects_the_time(ahead: float, after: float) -> None:
    """A `Date` counts when it differs by more than its own precision."""
    time = ServerTime(NOON, 10.0, "boot")
    time.correct(70.0, NOON + 60 + ahead)

    assert time.at(70.0) == NOON + 60 + after


@pytest.mark.parametrize(
    ("monotonic", "boot_id", "is_valid"),
    [(10.0, "a", True), (99.0, "a", True), (9.9, "a", False), (99.0, "b", False)],
)
def test_another_boot_is_another_clock(
    monotonic: float, boot_id: str, *, is_valid: bool
) -> None:
    """After a restart of the machine the monotonic clock starts again."""
    assert ServerTime(NOON, 10.0, "a").is_valid(monotonic, boot_id) is is_valid
