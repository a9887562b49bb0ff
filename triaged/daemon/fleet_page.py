"""The page of a fleet: a table of its workspaces, those that need attention first.

It is made on the server, a part at a time: a fleet may have 10,000 workspaces.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from triaged import __version__
from triaged.daemon.banner import Tone
from triaged.daemon.health import Health
from triaged.daemon.render import content_security_policy, render
from triaged.quota import QuotaSnapshot
from triaged.triage.fleet_state import WorkspaceState

# The form that searches is sent to this page.
FLEET_SECURITY_POLICY: Final = content_security_policy(forms=True)
ROWS_ON_PAGE: Final = 50
ATTENTION: Final = "attention"
NAME: Final = "name"
_LONGEST_SEARCH: Final = 100

_ORDER: Final = {state: number for number, state in enumerate(WorkspaceState)}
_TONES: Final = {
    WorkspaceState.UNUSABLE: Tone.BAD,
    WorkspaceState.KEY_REFUSED: Tone.BAD,
    WorkspaceState.FAILING: Tone.BAD,
    WorkspaceState.BREAKER: Tone.BAD,
    WorkspaceState.PAUSED: Tone.WARNING,
    WorkspaceState.WAITING: Tone.WARNING,
    WorkspaceState.STARTING: Tone.NEUTRAL,
    WorkspaceState.WORKING: Tone.GOOD,
    WorkspaceState.ELSEWHERE: Tone.NEUTRAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRow:
    """One workspace in the table; ``detail`` says what is wrong with it."""

    name: str
    state: WorkspaceState
    labels: Mapping[str, str] = field(default_factory=dict)
    pending: int | None = None
    quota: QuotaSnapshot | None = None
    last_poll_at: datetime | None = None
    next_poll_at: datetime | None = None
    detail: str = ""

    @property
    def tone(self) -> Tone:
        return _TONES.get(self.state, Tone.NEUTRAL)


@dataclass(frozen=True, slots=True)
class FleetQuery:
    """Which part of the table is asked for: a search, an order and a page from 1."""

    search: str = ""
    order: str = ATTENTION
    page: int = 1

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "FleetQuery":
        """Read the query of a request; what makes no sense is as if it were absent."""
        number = given.get("page", "")
        order = NAME if given.get("sort") == NAME else ATTENTION
        page = int(number) if re.fullmatch("[0-9]{1,6}", number) else 1
        return cls(given.get("q", "")[:_LONGEST_SEARCH].strip(), order, max(page, 1))

    def link(self, **changes: object) -> str:
        """Return the address of this query with some parts changed."""
        parts = {"q": self.search, "sort": self.order, "page": self.page} | changes
        return "/?" + urlencode({name: text for name, text in parts.items() if text})


def detail_of(
    state: WorkspaceState, health: Health, problem: str | None, now: datetime
) -> str:
    """Return what is wrong with a workspace, in one line."""
    if problem is not None:
        return first_line(problem)
    if health.rules_rejected:
        first = health.rules_rejected.splitlines()[0]
        return f"the changed file is not in force: {first}"
    if state is WorkspaceState.BREAKER and health.last_report is not None:
        return health.last_report.breaker or ""
    if state is WorkspaceState.ELSEWHERE:
        return "another daemon runs it"
    if state is WorkspaceState.STARTING:
        return ""
    return "; ".join(health.reasons_not_ready(now))


def first_line(text: str | None) -> str:
    """Return the first line of a text, or nothing."""
    return next(iter((text or "").splitlines()), "")


def fleet_page(
    rows: Sequence[FleetRow],
    query: FleetQuery,
    *,
    now: datetime,
    is_all_paused: bool,
    dry_run: bool,
    notices: Sequence[str] = (),
) -> str:
    """Return the page with the part of the table that is asked for."""
    counted = Counter(row.state for row in rows)
    by_name = query.order == NAME

    def place(row: FleetRow) -> tuple[int, bool, str]:
        if by_name:
            return 0, True, row.name
        return _ORDER[row.state], not row.detail, row.name

    found = sorted(_matching(rows, query.search), key=place)
    pages = max(-(-len(found) // ROWS_ON_PAGE), 1)
    page = min(query.page, pages)
    start = (page - 1) * ROWS_ON_PAGE
    return render(
        "fleet.html",
        workspace="fleet",
        version=__version__,
        now=now,
        total=len(rows),
        states=[
            (state, counted[state], _TONES[state]) for state in _TONES if counted[state]
        ],
        rows=found[start : start + ROWS_ON_PAGE],
        found=len(found),
        first=start + 1,
        page=page,
        pages=pages,
        query=query,
        is_all_paused=is_all_paused,
        dry_run=dry_run,
        notices=notices,
    )


def _matching(rows: Iterable[FleetRow], search: str) -> Iterable[FleetRow]:
    wanted = search.casefold()
    if not wanted:
        return rows
    return (row for row in rows if any(wanted in text for text in _texts(row)))


def _texts(row: FleetRow) -> Iterable[str]:
    yield row.name.casefold()
    yield str(row.state)
    for key, value in row.labels.items():
        yield f"{key}={value}".casefold()
