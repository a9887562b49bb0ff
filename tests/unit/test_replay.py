"""An earlier answer that comes again is told from the answer to what was asked."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from triaged.leadlex.replay import ReplayDetector, StaleDetector

Head = tuple[tuple[bytes, bytes], ...]
T0: Final = datetime(2026, 3, 1, tzinfo=UTC)


def head(request_id: str | None, date: str | None = "00:00:00", **more: str) -> Head:
    fields = {"X-Request-Id": request_id, "Date": date and f"Sun, 01 Mar 2026 {date}"}
    named = {name: text for name, text in fields.items() if text is not None} | more
    return tuple((name.encode(), text.encode()) for name, text in named.items())


@pytest.mark.parametrize(
    ("answers", "replays"),
    [
        # Answers of the same second with different ids, then one of them again.
        ([(0, head("1")), (0, head("2")), (0, head("1"))], [0, 0, 1]),
        # Later, with the Date of then: an earlier answer, whatever is known of ids.
        ([(0, head("1")), (9, head("1")), (12, head("1"))], [0, 1, 1]),
        ([(0, head("1", None)), (9, head("1", None))], [0, 1]),
        # One id for all: in one second two answers look the same.
        ([(0, head("1")), (1, head("1")), (1, head("1", "00:00:01"))], [0, 0, 0]),
        ([(0, head("1")), (5, head("1", "00:00:05")), (6, head("1"))], [0, 0, 0]),
        ([(0, head("1", None, n="1")), (1, head("1", None, n="2"))] * 2, [0] * 4),
        # Without ids nothing is known.
        ([(0, head(None)), (9, head(None))], [0, 0]),
    ],
)
def test_replays(answers: list[tuple[float, Head]], replays: list[int]) -> None:
    """The same head again is a replay where ids tell answers apart."""
    detector = ReplayDetector()

    assert [detector.is_replay(it, at) for at, it in answers] == list(
        map(bool, replays)
    )


def test_memory_is_bounded() -> None:
    """Of very many answers the first are forgotten."""
    detector = ReplayDetector()
    for number in range(100):
        detector.is_replay(head(str(number)), number)

    assert not detector.is_replay(head("0"), 100)
    assert detector.is_replay(head("99"), 100)


@pytest.mark.parametrize(
    ("answers", "stale"),
    [
        # (seconds of our clock, seconds of the server's Date)
        ([(0, 0), (300, 300), (600, 600)], [0, 0, 0]),
        ([(0, 0), (300, 200), (310, 310)], [0, 0, 0]),
        ([(0, 0), (300, 0), (600, 0), (900, 900)], [0, 1, 1, 0]),
        ([(0, 0), (1, -3600), (2, -3600), (3, -3600)], [0, 1, 1, 1]),
        # A clock that was set back runs on from there.
        ([(0, 0), (300, -3300), (600, -3000), (900, -2700)], [0, 1, 0, 0]),
        # Two cached answers of different age do not.
        ([(0, 0), (300, -3300), (600, -1000), (900, 900)], [0, 1, 1, 0]),
        # A clock that was set forward, and a machine that slept.
        ([(0, 0), (1, 9000), (2, 9001)], [0, 0, 0]),
        ([(0, None), (300, None)], [0, 0]),
    ],
)
def test_stale_answers(
    answers: list[tuple[float, float | None]], stale: list[int]
) -> None:
    """An answer whose Date stays behind the answers before it is an earlier one."""
    detector = StaleDetector()
    dates = [
        (at, None if said is None else T0 + timedelta(seconds=said))
        for at, said in answers
    ]

    assert [detector.is_stale(date, at) for at, date in dates] == list(map(bool, stale))
