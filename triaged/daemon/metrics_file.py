"""Writes the metrics of one cycle for node_exporter's textfile collector."""

from pathlib import Path

from prometheus_client import write_to_textfile

from triaged.daemon.exposition import collect, make_registry
from triaged.daemon.health import Health
from triaged.daemon.metrics import Metrics
from triaged.daemon.snapshot import LiveState, with_totals
from triaged.errors import TriagedError, os_reason
from triaged.ledger.views import open_views
from triaged.rules.rule import Ruleset
from triaged.triage.report import CycleReport
from triaged.workspace import Workspace


class MetricsFileError(TriagedError):
    """The cycle ran, but its metrics could not be written."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(file, why)
        self.file = file
        self.why = why

    def __str__(self) -> str:
        return f"{self.file}: the metrics could not be written: {self.why}"


def write_metrics_file(
    file: Path,
    metrics: Metrics,
    workspace: Workspace,
    ruleset: Ruleset,
    report: CycleReport,
    *,
    dry_run: bool,
) -> None:
    """Replace the file atomically, or raise ``MetricsFileError``."""
    now, settings = workspace.clock.now(), workspace.settings
    metrics.rules_loaded(now)
    metrics.record_cycle(report, at=now)
    with open_views(settings.ledger, settings.workspace) as views:
        totals = views.totals()
    live = LiveState(
        workspace=settings.workspace,
        now=now,
        dry_run=dry_run,
        ruleset=ruleset,
        health=Health(
            heartbeat_at=0.0,
            interval=settings.poll_interval,
            last_report=report,
            last_list=report if report.listed else None,
        ),
        quota=workspace.rate_limiter.snapshot(),
        clock_skew=workspace.rate_limiter.clock_skew,
        errors={},
    )
    snapshot = with_totals(live, totals)
    # Without process_*: those would be mistaken for node_exporter's own metrics.
    registry = make_registry(lambda: collect([(metrics, snapshot)]), process=False)
    try:
        write_to_textfile(str(file), registry)
    except OSError as error:
        raise MetricsFileError(file, os_reason(error)) from error
