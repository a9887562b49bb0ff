"""Weeks of a daemon's life: faults, restarts, reloads, and nothing that adds up."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.reliability.report import FULL, Report
from tests.reliability.resource_usage import Sample, slope
from tests.reliability.simulated_time import STRIDE, SimulatedScheduler
from tests.reliability.soak import Soak
from triaged.daemon import scheduler as schedule
from triaged.daemon import supervisor

pytestmark = pytest.mark.reliability

DAYS: Final = 30 if FULL else 3
RETENTION: Final = timedelta(days=4 if FULL else 1)
SEED: Final = 6
# What may be added in the second half and still be called flat: a share of the whole.
# The auditor's own books grow with each task, and what the kernel gives is coarse.
RSS_RISE: Final = 0.05
BLOCKS_RISE: Final = 0.03
ROWS_RISE: Final = 0.4
# SQLite writes its log back after so much, 1,000 pages, and then some.
WAL_KIB: Final = 8 * 1024


@pytest.fixture
def soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Soak:
    soak = Soak(tmp_path, days=DAYS, retention=RETENTION, seed=SEED)
    # APScheduler knows no other time than the machine's.
    monkeypatch.setattr(
        schedule,
        "Scheduler",
        lambda on_due: SimulatedScheduler(soak.clock, on_due),
    )
    # A tick each second would only make the days longer.
    monkeypatch.setattr(supervisor, "TICK_SECONDS", STRIDE)
    return soak


def test_weeks_change_nothing(report: Report, soak: Soak) -> None:
    """After weeks of faults, restarts and reloads the books agree and nothing grew."""
    with report.check(
        "Long run",
        "Weeks with faults, restarts and edited rules: nothing twice, nothing that the"
        " rules leave, books and counters agree, no call beyond the quota",
    ) as check:
        soak.run()
        found, logged, lives = soak.around.findings, soak.logged.counts, soak.lives
        check.runs = found.audits

        assert found.broken == []
        assert logged["internal_error.survived"] <= lives["died at work"]
        assert min(found.dismissed, found.by_people, found.faults, soak.looks) > 0
        assert min(lives["stopped"], lives["died at work"], soak.bad_edits) > 0
        check.result = (
            f"{DAYS} days, {logged['cycle.finished']:,} cycles, {found.calls:,} calls"
            f" ({found.faults} met a fault), {found.tasks:,} tasks,"
            f" {found.dismissed:,} dismissed; {lives['stopped']} stops,"
            f" {lives['died at work']} deaths at work, {soak.edits} edits of the rules"
            f" ({soak.bad_edits} bad); at most {found.most_calls_a_day} calls a day"
        )
    _check_memory(report, soak.samples)
    _check_restarts(report, soak.restarts)
    _check_ledger(report, soak.samples)


def _check_memory(report: Report, samples: Sequence[Sample]) -> None:
    with report.check(
        "Long run", "LedgerCopy stays flat over half of these days"
    ) as check:
        check.runs = len(samples)
        rss, blocks = (
            _rise(samples, lambda sample: sample.rss_kib),
            _rise(samples, lambda sample: sample.blocks),
        )
        last = samples[-1]
        check.result = (
            f"{last.rss_kib / 1024:.1f} MiB with the sandbox, slope {rss:+.0f} KiB a"
            f" day; {last.blocks:,} blocks of Python's, slope {blocks:+.0f} a day"
        )
        span = last.day - samples[0].day

        assert rss * span < RSS_RISE * last.rss_kib
        assert blocks * span < BLOCKS_RISE * last.blocks


def _check_restarts(report: Report, restarts: Sequence[Sample]) -> None:
    with report.check("Long run", "No descriptor or thread outlives its use") as check:
        check.runs = len(restarts)
        descriptors = sorted({sample.descriptors for sample in restarts})
        threads = sorted({sample.threads for sample in restarts})
        check.result = f"descriptors {descriptors}, threads {threads} at each restart"

        assert len(descriptors) == len(threads) == 1


def _check_ledger(report: Report, samples: Sequence[Sample]) -> None:
    days = RETENTION / timedelta(days=1)
    with report.check(
        "Long run", "The ledger grows to what its retention keeps, and no further"
    ) as check:
        check.runs = len(samples)
        rows = _rise(samples, lambda sample: sample.pruned_rows)
        size = _rise(samples, lambda sample: sample.ledger_kib)
        last, span = samples[-1], samples[-1].day - samples[0].day
        mean = sum(sample.pruned_rows for sample in samples) / len(samples)
        check.result = (
            f"{days:.0f} days kept: {mean:,.0f} rows on average, slope {rows:+.1f} a"
            f" day; {last.ledger_kib:,} KiB, slope {size:+.1f} a day"
        )

        assert rows * span < ROWS_RISE * mean
        assert size * span < ROWS_RISE * last.ledger_kib
        assert max(sample.wal_kib for sample in samples) < WAL_KIB


def _rise(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    return slope([(sample.day, of(sample)) for sample in samples])
