"""Metrics of a fleet: of each workspace up to a number, and only sums above it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import Metric

from triaged import __version__
from triaged.daemon.exposition import Family, histogram_family, new_family
from triaged.daemon.fleet_leases import FleetLeases
from triaged.daemon.histogram import (
    CYCLE_SECONDS,
    LATENESS_SECONDS,
    REQUEST_SECONDS,
    Histogram,
    summed,
)
from triaged.daemon.internal_errors import Where
from triaged.daemon.metrics import (
    CYCLE_DURATION,
    DEFINITIONS,
    OPERATIONS,
    REQUEST_DURATION,
    Definition,
    Metrics,
)
from triaged.ledger.dismissals import Outcome
from triaged.ledger.fleet_views import FleetTotals
from triaged.rules.task import DOCUMENTED_REASONS
from triaged.triage.fleet_state import WorkspaceState
from triaged.triage.report import CycleReport

# A scrape of more than this many workspaces has only sums.
MAX_DETAILED: Final = 100

FLEET_DEFINITIONS: Final = (
    Definition("workspaces", "Workspaces of the fleet in this state.", ("state",)),
    Definition("leases_lost_total", "Leases that another daemon has taken over."),
    Definition("fenced_total", "Transactions refused because the lease was lost."),
    Definition("fleet_config_info", "The fleet files in force.", ("sha256",)),
)
LATENESS: Final = Definition(
    "cycle_lateness_seconds", "Time from when a cycle was due until it started."
)

# Sums of one label each; rules are left out, since each workspace may have its own.
_SUMMED: Final = (
    "tasks_pending",
    "tasks_left",
    "cycles_total",
    "api_requests_total",
    "api_rate_limited_total",
)


class FleetMetrics:
    """What the process counts for all workspaces together."""

    def __init__(self) -> None:
        self.lateness = Histogram(LATENESS_SECONDS)
        self.leases: FleetLeases | None = None
        self.config_sha256 = ""

    def collect(self, states: Mapping[str, WorkspaceState]) -> Iterator[Metric]:
        counted = Counter(states.values())
        workspaces, lost, fenced, config = map(new_fleet_family, FLEET_DEFINITIONS)
        config.add_metric([self.config_sha256], 1)
        for state in WorkspaceState:
            workspaces.add_metric([state], counted[state])
        # Leases need a shared ledger: with a file there is one daemon.
        lost.add_metric([], self.leases.lost if self.leases else 0)
        fenced.add_metric([], self.leases.fenced if self.leases else 0)
        yield from (workspaces, lost, fenced, config)
        yield histogram_family(LATENESS, [], [((), self.lateness)])


def new_fleet_family(definition: Definition) -> Family:
    """Return an empty family without the label of a workspace."""
    return new_family(definition, *definition.labels)


def collect_sums(
    members: Sequence[tuple[Metrics, CycleReport | None]],
    totals: FleetTotals | None,
    errors: Mapping[Where, int],
    *,
    dry_run: bool,
    is_rejected: bool,
) -> Iterator[Metric]:
    """Yield the sums over all workspaces, each with its last cycle that had a list.

    Without the totals of the ledger, what comes from it is left out. ``is_rejected``:
    some files as they are now are not in force.
    """
    sums = {name: Counter[tuple[str, ...]]() for name in _SUMMED}
    for metrics, last_list in members:
        for name, labels, value in metrics.summable(last_list):
            if name in sums:
                sums[name][labels] += int(value)
    definitions = {each.name: each for each in DEFINITIONS}
    for name, counted in sums.items():
        yield _filled(new_fleet_family(definitions[name]), counted)
    if totals is not None:
        yield from _totals(totals, definitions)
    single: dict[str, Mapping[tuple[str, ...], float]] = {
        "config_last_reload_successful": {(): not is_rejected},
        "internal_errors_total": {(where,): errors.get(where, 0) for where in Where},
        "dry_run": {(): dry_run},
        "build_info": {(__version__,): 1},
    }
    for name, values in single.items():
        yield _filled(new_fleet_family(definitions[name]), values)
    yield from _histograms([metrics for metrics, _ in members])


def _totals(
    totals: FleetTotals, definitions: Mapping[str, Definition]
) -> Iterator[Metric]:
    for name, counts in (
        ("dismissals_total", totals.dismissals),
        ("observed_total", totals.observed),
    ):
        known = dict.fromkeys((*DOCUMENTED_REASONS, *counts))
        family = new_family(definitions[name], "reason")
        yield _filled(family, {(each,): counts.get(each, 0) for each in known})
    attempts, unresolved = (
        new_fleet_family(definitions[name])
        for name in ("dismissal_attempts_total", "dismissals_unresolved")
    )
    yield _filled(attempts, {(each,): totals.attempts.get(each, 0) for each in Outcome})
    yield _filled(unresolved, {(): totals.unresolved})


def _filled(family: Family, values: Mapping[tuple[str, ...], float]) -> Family:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histograms(members: Sequence[Metrics]) -> Iterator[Metric]:
    cycles = summed((each.cycle_seconds for each in members), CYCLE_SECONDS)
    yield histogram_family(CYCLE_DURATION, [], [((), cycles)])
    requests = [
        ((name,), summed((m.request_seconds[name] for m in members), REQUEST_SECONDS))
        for name in OPERATIONS
    ]
    yield histogram_family(REQUEST_DURATION, ["operation"], requests)
