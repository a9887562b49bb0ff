"""``triaged workspaces``: the state of each workspace of a fleet, from the ledger."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import click

from triaged.cli import exit_codes
from triaged.cli.fleet_choice import fleet_directory, has_labels, parse_labels
from triaged.cli.options import Format, with_format, with_settings
from triaged.cli.output import echo, echo_json, notice, print_table
from triaged.clock import SystemClock
from triaged.daemon.health import MAX_MISSED_INTERVALS, POLL_GRACE
from triaged.errors import ConfigError, RuleTestsFailed
from triaged.fleet.loader import load_fleet
from triaged.fleet.workspace import LoadedFleet
from triaged.ledger import Ledger
from triaged.ledger.daemon_records import ServingDaemons
from triaged.ledger.flags import WHOLE_FLEET
from triaged.ledger.fleet_views import FleetFlags
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import serving_daemons
from triaged.rules.task import parse_timestamp
from triaged.rulesfile.loader import load_rules
from triaged.rulesfile.sources import fingerprint
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
        for problem in _of_no_workspace(fleet):
            echo(problem)
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
    rejected = sum(row["rejected"] is not None for row in rows)
    earlier = f" {rejected:,} in an earlier form: files are wrong." if rejected else ""
    echo(f"{len(rows):,} {word}{': ' if states else ''}{states}.{earlier}")


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
        each.name: _joined(each.problems)
        for each in fleet.rejections
        if each.name is not None
    }
    of_files = _joined(_of_no_workspace(fleet)) or None
    loaded = {each.name: each for each in fleet.workspaces}
    known = {each.name: each.labels or {} for each in fleet.rejections if each.name}
    rules_problem = cache(_rules_problem)
    # Those that a daemon runs in an earlier form, since their file cannot be read now.
    kept = {
        name: of_files
        for name, saved in states.items()
        if serving.wrote(saved) and len(fleet.rejections)
    }
    rows = []
    for name, rejection in (kept | rejected | dict.fromkeys(loaded)).items():
        workspace, saved = loaded.get(name), states.get(name, {})
        if workspace is not None and serving.wrote(saved):
            in_force = saved.get("rules_sha256")
            rejection = rules_problem(workspace.rules, in_force, now)  # noqa: PLW2901
        labels = known.get(name, {}) if workspace is None else workspace.labels
        rows.append(
            _row(name, labels, rejection, saved, flags, serving=serving, now=now)
        )
    ranks = list(WorkspaceState)

    def attention(row: Mapping[str, Any]) -> tuple[int, bool, str]:
        return ranks.index(row["state"]), row["error"] is None, row["workspace"]

    return sorted(rows, key=attention)


def _joined(problems: Iterable[object]) -> str:
    return "; ".join(map(str, problems))


def _of_no_workspace(fleet: LoadedFleet) -> list[str]:
    """Return what is wrong with fleet files and names no workspace."""
    return [_joined(each.problems) for each in fleet.rejections if each.name is None]


def _rules_problem(
    paths: tuple[Path, ...], in_force: str | None, now: datetime
) -> str | None:
    """Return why rules files are not in force as they are now, or None."""
    if in_force in {None, fingerprint(*paths)}:
        return None
    try:
        load_rules(*paths, now=now)
    except (ConfigError, RuleTestsFailed) as error:
        return "; ".join(str(error).splitlines())
    return None


def _silence(saved: Mapping[str, Any], now: datetime) -> str | None:
    """Return since when no cycle has succeeded, if that is too long ago."""
    last_ok = parse_timestamp(saved.get("last_ok_at"))
    interval = saved.get("poll_interval_seconds")
    if last_ok is None or interval is None:
        return None
    longest = timedelta(seconds=MAX_MISSED_INTERVALS * interval + POLL_GRACE)
    is_late = abs(now - last_ok) > longest
    return f"no cycle has succeeded since {last_ok:%H:%M:%SZ}" if is_late else None


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
    silence = _silence(ours, now)
    state = state_of(
        WorkspaceFacts(
            is_served=is_served,
            problem=problem,
            has_run=bool(ours.get("last_cycle")),
            key_accepted=ours.get("key_accepted"),
            is_ready=bool(ours.get("ready")) and silence is None,
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
        "rejected": rejection if problem is None else None,
        "error": problem
        or rejection
        or ours.get("not_ready_reason")
        or silence
        or (last or {}).get("error")
        or None,
    }
