"""``triaged workspaces``: the state of each workspace of a fleet, from the ledger."""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

from triaged.cli import exit_codes
from triaged.cli.fleet_choice import fleet_directory, has_labels, parse_labels
from triaged.cli.fleet_report import read_rows
from triaged.cli.options import Format, with_format, with_settings
from triaged.cli.output import echo, echo_json, print_table
from triaged.clock import SystemClock
from triaged.fleet.loader import load_fleet
from triaged.rules.task import parse_timestamp
from triaged.settings import Settings
from triaged.triage.fleet_state import WorkspaceState


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
    rows = [
        row
        for row in read_rows(fleet, settings.ledger, SystemClock().now())
        if has_labels(row["labels"], wanted)
    ]
    if form is Format.JSON:
        echo_json(rows)
    else:
        _print(rows)
    needed = any(row["state"].needs_attention for row in rows)
    sys.exit(exit_codes.FAILED if needed else exit_codes.OK)


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
