"""Exposes metrics as Prometheus reads them: families with labels, in a registry."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Metric,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from triaged.daemon.histogram import Histogram
from triaged.daemon.metrics import (
    CYCLE_DURATION,
    DEFINITIONS,
    REQUEST_DURATION,
    Definition,
    Metrics,
)
from triaged.daemon.snapshot import LiveState

Family = CounterMetricFamily | GaugeMetricFamily

# Totals are older than the process, so its creation timestamps would be wrong.
disable_created_metrics()  # type: ignore[no-untyped-call]


def collect(parts: Sequence[tuple[Metrics, LiveState]]) -> Iterator[Metric]:
    """Yield every metric of the table, and the histograms, of some workspaces."""
    families = {
        each.name: new_family(each, "workspace", *each.labels) for each in DEFINITIONS
    }
    for metrics, state in parts:
        for name, labels, value in metrics.samples(state):
            families[name].add_metric([metrics.workspace, *labels], value)
    yield from families.values()
    cycles = [((m.workspace,), m.cycle_seconds) for m, _ in parts]
    yield histogram_family(CYCLE_DURATION, ["workspace"], cycles)
    requests = [
        ((metrics.workspace, operation), seconds)
        for metrics, _ in parts
        for operation, seconds in metrics.request_seconds.items()
    ]
    yield histogram_family(REQUEST_DURATION, ["workspace", "operation"], requests)


def new_family(definition: Definition, *labels: str) -> Family:
    """Return an empty family with these labels."""
    is_counter = definition.name.endswith("_total")
    made = CounterMetricFamily if is_counter else GaugeMetricFamily
    return made(f"triaged_{definition.name}", definition.help, labels=labels)


def histogram_family(
    definition: Definition,
    labels: Sequence[str],
    series: Iterable[tuple[tuple[str, ...], Histogram]],
) -> HistogramMetricFamily:
    """Return a family of histograms, each with the values of its labels."""
    name = f"triaged_{definition.name}"
    family = HistogramMetricFamily(name, definition.help, labels=labels)
    for values, histogram in series:
        family.add_metric(values, histogram.buckets(), histogram.total)
    return family


class _Collector(Collector):
    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()

    def describe(self) -> Iterable[Metric]:
        """Return nothing, because registration must not read the ledger."""
        return ()


def make_registry(
    read: Callable[[], Iterable[Metric]], *, process: bool
) -> CollectorRegistry:
    """Return a registry that reads at each scrape; ``process`` adds that of Python."""
    registry = CollectorRegistry()
    registry.register(_Collector(read))
    if process:
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
    return registry
