"""Measures one client at one server, against what that server's window allows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final, Literal, TypeAlias

from tests.bench.quota.clients import (
    AioLimiter,
    Client,
    Ours,
    PlainLoop,
    PyrateLimiter,
    Tenacity,
)
from tests.bench.quota.drain import FAST, Drain, Drained, Neighbour
from tests.quota_servers import (
    DAY,
    WINDOW,
    Api,
    FixedWindow,
    Limiter,
    SlidingLog,
    TokenBucket,
)
from triaged.quota import PLANS, QuotaSettings

Company: TypeAlias = Literal["alone", "evenly", "randomly"]

KINDS: Final = ("fixed", "sliding", "bucket")
COMPANIES: Final[tuple[Company, ...]] = ("alone", "evenly", "randomly")
PHASES: Final = (7.0, 23.0, 41.0, 59.0)
SHARE: Final = 0.3
NO_DAY: Final = 10_000_000
OURS: Final = ("known", "from headers", "unknown")
OTHERS: Final = ("plain loop", "tenacity", "aiolimiter", "pyrate-limiter")
DAILY: Final = dict(PLANS.values())
# Whoever takes so many times the best is not waited for.
PATIENCE: Final = 10
# A share of refusals is learned over many calls.
NEIGHBOUR_WINDOWS: Final = {10: 301, 50: 81, 200: 31}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One server with its circumstances, and one way to spend its quota.

    ``company`` says whether a neighbour takes its share, and how its calls come.
    """

    strategy: str
    kind: str
    limit: int
    phase: float = 0.0
    headers: bool = False
    counted: bool = False
    company: Company = "alone"
    latency: tuple[float, float] = FAST
    windows: int = 21
    seed: int = 1


@dataclass(frozen=True)
class Row:
    """The figures of one case."""

    case: Case
    over: float
    share_refused: float
    per_dismissal: float
    refused: int


def measure(case: Case) -> Row:
    """Drain a number of windows' worth and compare it with what the server allows.

    The phase of a window is unknown, so the best is a first window's worth at once and
    a window for each further one; a lucky phase may come out below 1.
    """
    alone = case.company == "alone"
    available = case.limit * (1.0 if alone else 1 - SHARE)
    tasks = round(available * case.windows)
    neighbour = Neighbour(case.limit * SHARE, evenly=case.company == "evenly")
    drained = Drain(
        make_client(case, tasks),
        Api(
            make_limiter(case),
            day_limit=DAILY[case.limit] if case.headers else NO_DAY,
            headers=case.headers,
            counts_refused=case.counted,
        ),
        neighbour=None if alone else neighbour,
        latency=case.latency,
        seed=case.seed,
    ).run(tasks, patience=min(PATIENCE * case.windows * WINDOW, DAY - 120))
    best = (tasks / available - 1) * WINDOW
    return Row(
        case,
        drained.seconds / best if drained.done >= tasks else inf,
        drained.share_refused,
        drained.calls / max(drained.done, 1),
        drained.refused,
    )


def make_limiter(case: Case) -> Limiter:
    """Return the server's limiter, new."""
    match case.kind:
        case "fixed":
            return FixedWindow(case.limit, case.phase, case.counted)
        case "sliding":
            return SlidingLog(case.limit, case.counted)
        case _:
            return TokenBucket(case.limit, case.counted)


def make_client(case: Case, tasks: int) -> Client:
    """Return the strategy, new; whoever is told a limit is told the right one."""
    known, unknown = settings(case.limit), settings(None)
    makers: dict[str, Callable[[], Client]] = {
        "known": lambda: Ours(known, tasks),
        "from headers": lambda: Ours(QuotaSettings(reserve=0.0), tasks),
        "unknown": lambda: Ours(unknown, tasks),
        "plain loop": lambda: PlainLoop(tasks),
        "tenacity": lambda: Tenacity(tasks),
        "aiolimiter": lambda: AioLimiter(case.limit, tasks),
        "pyrate-limiter": lambda: PyrateLimiter(case.limit, tasks),
    }
    return makers[case.strategy]()


def settings(limit: int | None) -> QuotaSettings:
    """Return settings under which the day never ends."""
    return QuotaSettings(minute_limit=limit, daily_limit=NO_DAY, reserve=0.0)


def cases(strategy: str, limits: tuple[int, ...], *, quick: bool) -> Iterator[Case]:
    """Give every combination of what a server may be; fewer of them when quick."""
    phases = PHASES[1:2] if quick else PHASES
    headers = strategy == "from headers"
    companies = COMPANIES[: 2 if quick else 3]
    if headers or (quick and strategy == "unknown"):
        companies = COMPANIES[:1]
    for limit in limits:
        for kind in KINDS:
            for phase in phases if kind == "fixed" else (0.0,):
                for counted in (False, True):
                    for company in companies:
                        alone = company == "alone" or strategy not in OURS
                        windows = 21 if alone else NEIGHBOUR_WINDOWS[limit]
                        if headers:
                            # A day's worth at most.
                            windows = min(windows, DAILY[limit] // limit - 1)
                        yield Case(
                            strategy=strategy,
                            kind=kind,
                            limit=limit,
                            phase=phase,
                            headers=headers,
                            counted=counted,
                            company=company,
                            windows=windows,
                        )


def drain_changing(
    limits: tuple[int, ...], *, kind: str, phase: float, windows: int = 20
) -> tuple[float, Drained]:
    """Drain while a hidden limit changes; return drain over best as well."""
    case = Case(strategy="unknown", kind=kind, limit=limits[0], phase=phase)
    tasks = sum(limits) * windows
    changes = tuple((n * windows * WINDOW, limit) for n, limit in enumerate(limits))
    drained = Drain(
        make_client(case, tasks),
        Api(make_limiter(case), day_limit=NO_DAY, headers=False),
        changes=changes[1:],
    ).run(tasks, patience=DAY - 120)
    return drained.seconds / (len(limits) * windows * WINDOW - WINDOW), drained
