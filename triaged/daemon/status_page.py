"""The pages of one workspace; they show no key and no metadata that no rule read."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.responses import HTMLResponse

from triaged import __version__
from triaged.daemon import charts
from triaged.daemon.banner import banner
from triaged.daemon.render import render
from triaged.daemon.snapshot import LiveState, Snapshot, with_totals
from triaged.ledger.observations import ObservationKind
from triaged.ledger.rule_changes import RuleChange
from triaged.ledger.views import DailyCount, HeldTask, LedgerViews, day_of, next_day
from triaged.rules.rule import Mode, Rule
from triaged.rules.task import HumanDecision, LeaveCause
from triaged.triage.agreement import Agreement
from triaged.triage.stored_explanation import stored_explanation

_LISTED: Final = 12
_CANDIDATES: Final = 10
_SHORTEST_PREFIX: Final = 8
# Requests within a second share one page; slowly changing parts are cached longer.
_PAGE_LIFETIME: Final = timedelta(seconds=1)
_HISTORY_LIFETIME: Final = timedelta(minutes=1)

# Tasks left for these causes do not wait for a person.
_WAITING: Final = frozenset(
    {
        LeaveCause.HELD,
        LeaveCause.OVER_CAP,
        LeaveCause.BREAKER,
        LeaveCause.PAUSED,
        LeaveCause.NOT_PENDING,
    }
)

OpenViews = Callable[[], AbstractContextManager[LedgerViews]]


@dataclass(frozen=True, slots=True)
class NextTask:
    """A held task, and the time from which it may be dismissed."""

    task: HeldTask
    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """One rule in the table; ``change`` is what gave it its mode, if not the file."""

    rule: Rule
    change: RuleChange | None
    action: str
    dismissed_today: int
    observed_today: int
    agreement: charts.Interval | None
    sparkline: list[charts.Bar]


@dataclass(frozen=True, slots=True)
class _History:
    """The slowly changing parts: past days and human decisions."""

    read_at: datetime
    past: list[DailyCount]
    feedback: Mapping[tuple[str, str, str], int]


class StatusPages:
    """Renders the pages of one workspace; for use in one thread.

    ``base`` is the path of the workspace, below that of its fleet. With a
    ``form_token`` the pages have the forms that keep a task and pause.
    """

    def __init__(
        self, open_views: OpenViews, base: str = "", *, form_token: str | None = None
    ) -> None:
        self._open_views = open_views
        self._base = base
        self._form_token = form_token
        self._page: tuple[datetime, str] | None = None
        self._past: _History | None = None

    def status(self, live: LiveState) -> str:
        """Return the status page, at most a second old."""
        if self._page and _is_fresh(self._page[0], live.now, _PAGE_LIFETIME):
            return self._page[1]
        with self._open_views() as views:
            facts = self._facts(with_totals(live, views.totals()), views)
        page = render("status.html", base=self._base, **facts)
        self._page = (live.now, page)
        return page

    def forget(self) -> None:
        """Drop the page in memory: the next one shows what has just changed."""
        self._page = None

    def task(self, task_id: str, live: LiveState) -> HTMLResponse:
        """Return the page of one task, found by its id or a unique prefix."""
        with self._open_views() as views:
            found = stored_explanation(views, task_id)
            candidates: list[str] = []
            if found is None and len(task_id) >= _SHORTEST_PREFIX:
                candidates = views.task_ids(task_id, _CANDIDATES)
            if len(candidates) == 1:
                found = stored_explanation(views, candidates[0])
            veto = views.veto(found["task_id"]) if found else None
            paused = views.paused()
        page = render(
            "task.html",
            base=self._base,
            workspace=live.workspace,
            task_id=task_id,
            found=found,
            candidates=candidates,
            veto=veto,
            paused=paused,
            form_token=self._form_token,
        )
        return HTMLResponse(page, 200 if found else 404)

    def _facts(self, snapshot: Snapshot, views: LedgerViews) -> dict[str, Any]:
        history = self._history(snapshot.now, views)
        today = views.dismissed_by_day(day_of(snapshot.now), next_day(snapshot.now))
        daily = [*history.past, *today]
        rules = _rules(snapshot, daily, today, views, history.feedback)
        last = snapshot.health.last_list
        left = dict(last.left_by_cause) if last else {}
        return {
            "workspace": snapshot.workspace,
            "version": __version__,
            "now": snapshot.now,
            "banner": banner(snapshot),
            "paused": snapshot.totals.paused,
            "form_token": self._form_token,
            "health": snapshot.health,
            "quota": snapshot.quota,
            "quota_bar": charts.quota_bar(snapshot.quota),
            "pending": sum(last.pending.values()) if last else None,
            "dismissed_today": sum(count.count for count in today),
            "observed_today": sum(row.observed_today for row in rules),
            "held": left.get(LeaveCause.HELD, 0),
            "for_people": sum(n for c, n in left.items() if c not in _WAITING),
            "left": sorted(left.items(), key=lambda item: -item[1]),
            "over_cap": left.get(LeaveCause.OVER_CAP, 0),
            "chart": charts.daily_chart(daily, snapshot.now),
            "rules": rules,
            "next": _next(snapshot, views),
            "recent": views.recent(_LISTED),
            "recently_left": views.recently_left(_LISTED),
            "vetoes": views.vetoes(_LISTED),
            "vetoed": views.count_vetoes(),
        }

    def _history(self, now: datetime, views: LedgerViews) -> _History:
        known = self._past
        if (
            known is None
            or not _is_fresh(known.read_at, now, _HISTORY_LIFETIME)
            or day_of(known.read_at) != day_of(now)
        ):
            since = day_of(now) - timedelta(days=charts.DAYS - 1)
            past = views.dismissed_by_day(since, day_of(now))
            known = self._past = _History(now, past, views.feedback())
        return known


def _is_fresh(made_at: datetime, now: datetime, lifetime: timedelta) -> bool:
    return timedelta(0) <= now - made_at < lifetime


def _rules(
    snapshot: Snapshot,
    daily: list[DailyCount],
    today: list[DailyCount],
    views: LedgerViews,
    feedback: Mapping[tuple[str, str, str], int],
) -> list[RuleRow]:
    observed = views.observed_on(snapshot.now)
    changes = views.rule_changes.last_of_each()
    rows = []
    for rule in snapshot.ruleset.rules:
        # Once it acts, the control group tells how it does now.
        acts = rule.mode is Mode.ENFORCE and rule.audited_share > 0
        kind = ObservationKind.AUDITED if acts else ObservationKind.OBSERVED
        agreement = Agreement(
            feedback.get((rule.name, kind, HumanDecision.DISMISSED), 0),
            feedback.get((rule.name, kind, HumanDecision.APPROVED), 0),
        )
        change = changes.get(rule.name)
        rows.append(
            RuleRow(
                rule=rule,
                change=change if change and change.led_to(rule.mode) else None,
                action="leave" if rule.reason is None else f"dismiss: {rule.reason}",
                dismissed_today=sum(c.count for c in today if c.rule == rule.name),
                observed_today=observed.get(rule.name, 0),
                agreement=charts.interval(agreement),
                sparkline=charts.sparkline(daily, rule.name, snapshot.now),
            )
        )
    return rows


def _next(snapshot: Snapshot, views: LedgerViews) -> list[NextTask]:
    found = [
        NextTask(task, task.since + rule.hold)
        for rule in snapshot.ruleset.rules
        if rule.hold
        for task in views.held(rule.name, _LISTED)
    ]
    return sorted(found, key=lambda one: (one.due, one.task.task_id))[:_LISTED]
