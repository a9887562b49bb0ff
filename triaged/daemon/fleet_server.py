"""The HTTP server of a fleet: metrics, targets, health and pages."""

import re
import socket
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from triaged.daemon.exposition import collect, make_registry
from triaged.daemon.fleet import Fleet
from triaged.daemon.fleet_member import Member
from triaged.daemon.fleet_metrics import MAX_DETAILED, FleetMetrics, collect_sums
from triaged.daemon.fleet_page import (
    FLEET_SECURITY_POLICY,
    FleetQuery,
    FleetRow,
    detail_of,
    first_line,
    fleet_page,
)
from triaged.daemon.fleet_reader import FleetReader
from triaged.daemon.internal_errors import Where
from triaged.daemon.metrics import Metrics
from triaged.daemon.page_forms import PageForms, RefusedForm, open_for_form
from triaged.daemon.render import render
from triaged.daemon.serving import Serving, ledger_away, liveness, metrics_answer
from triaged.daemon.snapshot import LiveState
from triaged.daemon.status_page import StatusPages
from triaged.ledger import Ledger
from triaged.ledger.fleet_views import open_fleet_views
from triaged.ledger.views import open_views
from triaged.settings import PageMode, Settings
from triaged.triage.fleet_state import WorkspaceState

_PAGES_KEPT: Final = 64
# Readiness tells so many problems of files; `triaged check` tells all.
_PROBLEMS_TOLD: Final = 10
_HOST: Final = re.compile(r"[A-Za-z0-9._\-\[\]:]{1,255}")


class FleetServer:
    """Serves the state of a fleet within the loop of its daemon."""

    def __init__(self, fleet: Fleet, metrics: FleetMetrics, settings: Settings) -> None:
        self._fleet = fleet
        self._metrics = metrics
        self._ledger = settings.ledger
        self._reader = FleetReader(settings.ledger, fleet.shared.clock)
        forms = PageForms(
            self._open_ledger,
            fleet.shared.clock,
            user_header=settings.page_user_header,
            errors=fleet.shared.errors,
            forget_page=self._forget_page,
        )
        self._token = forms.token if settings.page is PageMode.KEEP else None
        self._pages = lru_cache(_PAGES_KEPT)(self._pages_of)
        self._serving = Serving(settings.page, forms, fleet.shared.errors)
        self.stop = self._serving.stop

    def start(self, listener: socket.socket) -> None:
        one = "/workspaces/{name}"
        self._serving.start(
            listener,
            {
                "/metrics": self._serve_metrics,
                "/healthz": self._healthz,
                "/readyz": self._readyz,
            },
            guarded={"/sd": self._targets},
            pages={
                "/": self._index,
                one: self._workspace,
                f"{one}/tasks/{{task_id:task_id}}": self._task,
            },
            forms_below=one,
        )

    async def _healthz(self, _: Request) -> Response:
        monotonic = self._fleet.shared.clock.monotonic()
        return liveness(self._fleet.supervisor.why_not_alive(monotonic))

    async def _readyz(self, _: Request) -> Response:
        """Say whether any workspace works; one that fails does not stop the others."""
        return await self._serving.answer(Where.PAGE, self._readiness)

    async def _targets(self, request: Request) -> Response:
        """Return a target for each workspace, as Prometheus' http_sd reads them."""
        host = request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            return PlainTextResponse("no usable Host header\n", 400)
        members = sorted(self._fleet.members.items())
        return JSONResponse(
            [
                {"targets": [host], "labels": _labels(name, member.settings.labels)}
                for name, member in members
            ]
        )

    async def _serve_metrics(self, request: Request) -> Response:
        name = request.query_params.get("workspace")
        member = self._fleet.members.get(name or "")
        if name is not None and member is None:
            return _unknown()
        return await self._serving.answer(
            Where.METRICS, lambda: metrics_answer(request, self._registry(member))
        )

    async def _index(self, request: Request) -> Response:
        members = list(self._fleet.members.values())
        if len(members) == 1 and not self._fleet.rejected:
            return await self._page_of(members[0])
        query = FleetQuery.of(request.query_params)
        return await self._serving.answer(Where.PAGE, lambda: self._fleet_page(query))

    async def _workspace(self, request: Request) -> Response:
        name = request.path_params["name"]
        member = self._fleet.members.get(name)
        if member is not None:
            return await self._page_of(member)
        problem = self._fleet.problems().get(name)
        if problem is None:
            return _unknown()
        return HTMLResponse(_not_run(name, WorkspaceState.UNUSABLE, problem))

    async def _page_of(self, member: Member) -> Response:
        return await self._serving.answer(
            Where.PAGE, lambda: HTMLResponse(self._status_page(member))
        )

    async def _task(self, request: Request) -> Response:
        member = self._fleet.members.get(request.path_params["name"])
        if member is None:
            return _unknown()
        live = member.live_state()
        if live is None:
            return await self._page_of(member)
        task_id, pages = request.path_params["task_id"], self._pages(live.workspace)
        return await self._serving.answer(Where.PAGE, lambda: pages.task(task_id, live))

    def _pages_of(self, name: str) -> StatusPages:
        views = partial(open_views, self._ledger, name)
        return StatusPages(views, base=f"/workspaces/{name}", form_token=self._token)

    def _open_ledger(self, name: str) -> Ledger:
        if name not in self._fleet.members:
            raise RefusedForm(404, "there is no such workspace")
        return open_for_form(self._ledger, name)

    async def _forget_page(self, name: str) -> None:
        """Drop the page in memory, after any that is being made in the thread."""
        await self._serving.in_thread(Where.PAGE, lambda: self._pages(name).forget())

    def _status_page(self, member: Member) -> str:
        live = member.live_state()
        if live is not None and live.health.last_report is not None:
            return self._pages(live.workspace).status(live)
        name = member.settings.workspace
        with open_fleet_views(self._ledger) as views:
            state = self._fleet.states(views.flags())[name]
        return _not_run(name, state, member.problem or "")

    def _known_states(self) -> dict[str, WorkspaceState]:
        reader = self._reader
        return self._fleet.states(reader.flags, away_since=reader.away_since)

    def _readiness(self) -> Response:
        self._reader.read()
        states = self._known_states()
        now = self._fleet.shared.clock.now()
        members = list(self._fleet.members.values())
        ready = sum(not each.health.reasons_not_ready(now) for each in members)
        # A daemon whose workspaces are all run by others is there to take over.
        is_spare = set(states.values()) <= {WorkspaceState.ELSEWHERE}
        reasons = []
        if self._reader.problem is not None:
            ready = 0
            reasons.append(ledger_away(self._reader.problem))
        elif not ready and not is_spare:
            reasons.append("no workspace is ready")
        is_ready = not reasons
        document = {
            "ready": is_ready,
            "reasons": reasons,
            "rules_rejected": self._rejected_files(),
            "workspaces": len(members),
            "workspaces_ready": ready,
            "states": dict(sorted(Counter(states.values()).items())),
        }
        return JSONResponse(document, 200 if is_ready else 503)

    def _rejected_files(self) -> str | None:
        """Return what is wrong with files that are not in force as they are now."""
        texts = [*self._fleet.problems().values()]
        texts += [each.rejected or "" for each in list(self._fleet.members.values())]
        lines = dict.fromkeys(line for text in texts for line in text.splitlines())
        return "\n".join(list(lines)[:_PROBLEMS_TOLD]) or None

    def _fleet_page(self, query: FleetQuery) -> Response:
        with open_fleet_views(self._ledger) as views:
            flags = views.flags()
        states = self._fleet.states(flags)
        now = self._fleet.shared.clock.now()
        problems = self._fleet.problems()
        rows = [self._row(name, state, problems, now) for name, state in states.items()]
        page = fleet_page(
            rows,
            query,
            now=now,
            is_all_paused=flags.is_all_paused,
            notices=[
                str(problem)
                for each in self._fleet.rejected
                if each.name is None
                for problem in each.problems
            ],
            dry_run=self._fleet.shared.dry_run,
        )
        headers = {"Content-Security-Policy": FLEET_SECURITY_POLICY}
        return HTMLResponse(page, headers=headers)

    def _row(
        self,
        name: str,
        state: WorkspaceState,
        problems: Mapping[str, str],
        now: datetime,
    ) -> FleetRow:
        member = self._fleet.members.get(name)
        problem = problems.get(name)
        if member is None:
            return FleetRow(name=name, state=state, detail=first_line(problem))
        health, last, live = member.health, member.health.last_list, member.live_state()
        return FleetRow(
            name=name,
            labels=member.settings.labels,
            state=state,
            pending=None if last is None else sum(last.pending.values()),
            quota=None if live is None else live.quota,
            last_poll_at=health.last_poll_at,
            next_poll_at=health.next_poll_at,
            detail=detail_of(state, health, member.problem or problem, now),
        )

    def _registry(self, member: Member | None) -> CollectorRegistry:
        """Return what a scrape gets: one workspace, all of a few, or the sums."""
        reader, shared = self._reader, self._fleet.shared
        if member is not None:
            parts = self._parts([member])
            return make_registry(lambda: collect(parts), process=False)
        members = list(self._fleet.members.values())
        if len(members) <= MAX_DETAILED:
            found = list(collect(self._parts(members)))
        else:
            reader.read(sums=True)
            found = list(
                collect_sums(
                    [(each.metrics, each.health.last_list) for each in members],
                    reader.sums,
                    shared.errors.counts(),
                    dry_run=shared.dry_run,
                    is_rejected=self._rejected_files() is not None,
                )
            )
        found += self._metrics.collect(self._known_states())
        return make_registry(lambda: found, process=True)

    def _parts(self, members: list[Member]) -> list[tuple[Metrics, LiveState]]:
        """Return metrics and state of each workspace that has been opened."""
        live = [(m.metrics, state) for m in members if (state := m.live_state())]
        self._reader.read(state.workspace for _, state in live)
        return [(metrics, self._reader.with_totals(state)) for metrics, state in live]


def _labels(name: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a target; those of the workspace are for relabelling."""
    own = {
        f"__meta_triaged_label_{re.sub('[^a-zA-Z0-9_]', '_', key)}": value
        for key, value in labels.items()
    }
    return {"__param_workspace": name, **own}


def _not_run(name: str, state: WorkspaceState, problem: str) -> str:
    return render(
        "fleet_workspace.html",
        workspace=name,
        state=state,
        problem=problem.splitlines(),
    )


def _unknown() -> Response:
    return PlainTextResponse("there is no such workspace\n", 404)
