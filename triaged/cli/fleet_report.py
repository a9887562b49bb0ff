"""Builds the rows of ``triaged workspaces``: fleet files, ledger and daemon lock."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from triaged.fleet.workspace import LoadedFleet
from triaged.ledger import Ledger
from triaged.ledger.daemon_records import ServingDaemons
from triaged.ledger.flags import WHOLE_FLEET
from triaged.ledger.fleet_views import FleetFlags
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import serving_daemons
from triaged.rules.task import parse_timestamp
from triaged.triage.fleet_state import WorkspaceFacts, WorkspaceState, state_of

_NO_FLAGS = FleetFlags(paused=frozenset(), breaker=frozenset(), is_all_paused=False)


def read_rows(
    fleet: LoadedFleet, place: LedgerLocation, now: datetime
) -> list[dict[str, Any]]:
    """Return a row for each workspace, those that need attention first.

    Raises:
        LedgerError: there is a ledger that cannot be read.
    """
    states: Mapping[str, dict[str, Any]] = {}
    flags = _NO_FLAGS
    if place.may_exist():
        with Ledger.open(place, workspace=WHOLE_FLEET, create=False) as ledger:
            views = ledger.fleet_views()
            states, flags = views.daemon_states(), views.flags()
    serving = serving_daemons(place)
    rejected = {
        each.name: "; ".join(map(str, each.problems))
        for each in fleet.rejections
        if each.name is not None
    }
    labels = {each.name: dict(each.labels) for each in fleet.workspaces}
    # Those that a daemon runs in an earlier form, since their file cannot be read now.
    kept = {
        name: None
        for name, saved in states.items()
        if serving.wrote(saved) and len(fleet.rejections)
    }
    rows = [
        _row(
            name,
            labels.get(name, {}),
            rejected.get(name) if name not in labels else None,
            states.get(name, {}),
            flags,
            serving=serving,
            now=now,
        )
        for name in {**labels, **rejected, **kept}
    ]
    return sorted(rows, key=lambda row: (_rank(row["state"]), row["workspace"]))


def _rank(state: WorkspaceState) -> int:
    return list(WorkspaceState).index(state)


def _row(
    name: str,
    labels: Mapping[str, str],
    rejection: str | None,
    saved: dict[str, Any],
    flags: FleetFlags,
    *,
    serving: ServingDaemons,
    now: datetime,
) -> dict[str, Any]:
    # What an earlier daemon stored says nothing about this one.
    ours = saved if serving.wrote(saved) else {}
    is_served = bool(serving.alive)
    problem = ours.get("problem") or (None if ours.get("last_cycle") else rejection)
    waiting = parse_timestamp(ours.get("waiting_until"))
    last = saved.get("last_cycle")
    state = state_of(
        WorkspaceFacts(
            is_served=is_served,
            problem=problem,
            has_run=bool(ours.get("last_cycle")),
            key_accepted=ours.get("key_accepted"),
            is_ready=bool(ours.get("ready")),
            is_waiting=waiting is not None and now < waiting,
            is_paused=flags.is_paused(name),
            has_breaker=name in flags.breaker,
        )
    )
    return {
        "workspace": name,
        "labels": dict(labels),
        "state": state,
        "running": is_served and problem is None,
        "held_by": serving.holders.get(name),
        "paused": flags.is_paused(name),
        "breaker": name in flags.breaker,
        "next_poll_at": ours.get("next_poll_at"),
        "pending": None if last is None else last["pending"],
        "quota_left": saved.get("quota_left"),
        "quota_limit": saved.get("quota_limit"),
        "last_cycle": last,
        "error": problem
        or rejection
        or ours.get("not_ready_reason")
        or (last or {}).get("error")
        or None,
    }
