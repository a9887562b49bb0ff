"""``triaged workspaces``: the state of each workspace of a fleet, from the ledger."""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from triaged.cli import exit_codes
from triaged.cli.fleet_choice import fleet_directory, has_labels, parse_labels
from triaged.cli.options import Format, with_format, with_settings
from triaged.cli.output import echo, echo_json, notice, print_table
from triaged.clock import SystemClock
from triaged.fleet.loader import load_fleet
from triaged.fleet.workspace import LoadedFleet
from triaged.ledger import Ledger
from triaged.ledger.daemon_records import ServingDaemons
from triaged.ledger.flags import WHOLE_FLEET
from triaged.ledger.fleet_views import FleetFlags
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import serving_daemons
from triaged.rules.task import parse_timestamp
from triaged.settings import Settings
from triaged.triage.fleet_state import WorkspaceFacts, WorkspaceState, state_of

_NO_FLAGS = FleetFlags(paused=frozenset(), breaker=frozenset(), is_all_paused=False)


@click.command
@click.option(
    "-l",
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only those with this label; repeatable: all of them.",
)
@with_format
@with_settings("state_dir", "ledger_url", "fleet")
def workspaces(*, settings: Settings, labels: tuple[str, ...], form: Format) -> None:
    """Print a row for each workspace, those that need attention first."""
    wanted = parse_labels(labels)
    fleet = load_fleet(fleet_directory(settings), os.environ)
    found = read_rows(fleet, settings.ledger, SystemClock().now())
    rows = [row for row in found if has_labels(row["labels"], wanted)]
    if wanted:
        _tell_left_out(fleet, found)
    if form is Format.JSON:
        echo_json(rows)
    else:
        _print(rows)
    needed = any(row["state"].needs_attention for row in rows)
    sys.exit(exit_codes.FAILED if needed else exit_codes.OK)


def _tell_left_out(fleet: LoadedFleet, rows: Sequence[Mapping[str, Any]]) -> None:
    told: set[str | None] = {each.name for each in fleet.workspaces}
    told |= {each.name for each in fleet.rejections if each.labels is not None}
    if left := [r["workspace"] for r in rows if r["workspace"] not in told]:
        notice(f"left out, since their labels cannot be read: {', '.join(left)}")


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    # Only where several daemons can share a ledger.
    has_holders = any(row["held_by"] for row in rows)
    if rows:
        print_table(
            (
                "workspace",
                "labels",
                "state",
                *(("held by",) if has_holders else ()),
                "pending",
                "calls left",
                "last cycle (UTC)",
                "next poll (UTC)",
                "error",
            ),
            [_cells(row, has_holders=has_holders) for row in rows],
        )
    counted = Counter(row["state"] for row in rows)
    states = ", ".join(
        f"{counted[state]:,} {words(state)}"
        for state in WorkspaceState
        if counted[state]
    )
    word = "workspace" if len(rows) == 1 else "workspaces"
    echo(f"{len(rows):,} {word}{': ' if states else ''}{states}.")


def words(state: WorkspaceState) -> str:
    """Return a state in words."""
    return state.replace("_", " ")


def _cells(row: Mapping[str, Any], *, has_holders: bool) -> tuple[str, ...]:
    limit = row["quota_limit"]
    paused = " (paused)" if row["paused"] and row["state"] != "paused" else ""
    return (
        row["workspace"],
        " ".join(f"{key}={value}" for key, value in row["labels"].items()) or "—",
        words(row["state"]) + paused,
        *((row["held_by"] or "—",) if has_holders else ()),
        "—" if row["pending"] is None else f"{row['pending']:,}",
        "—" if limit is None else f"{row['quota_left']:,} of {limit:,}",
        _moment((row["last_cycle"] or {}).get("finished_at")),
        _moment(row["next_poll_at"]),
        (row["error"] or "—").splitlines()[0],
    )


def _moment(text: str | None) -> str:
    moment = parse_timestamp(text)
    return "—" if moment is None else f"{moment:%m-%d %H:%M:%S}"


def read_rows(
    fleet: LoadedFleet, place: LedgerLocation, now: datetime
) -> list[dict[str, Any]]:
    """Return a row for each workspace, those that need attention first."""
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
    labels = {each.name: each.labels for each in fleet.workspaces}
    known = {each.name: each.labels or {} for each in fleet.rejections if each.name}
    # Those that a daemon runs in an earlier form, since their file cannot be read now.
    kept = {
        name: None
        for name, saved in states.items()
        if serving.wrote(saved) and len(fleet.rejections)
    }
    rows = [
        _row(
            name,
            labels.get(name) or known.get(name) or {},
            rejected.get(name) if name not in labels else None,
            states.get(name, {}),
            flags,
            serving=serving,
            now=now,
        )
        for name in {**labels, **rejected, **kept}
    ]
    ranks = list(WorkspaceState)
    return sorted(rows, key=lambda row: (ranks.index(row["state"]), row["workspace"]))


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
