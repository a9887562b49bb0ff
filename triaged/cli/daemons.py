"""``triaged daemons``: which processes serve this ledger, and what they hold."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from triaged.cli.options import Format, with_format, with_settings
from triaged.cli.output import echo, echo_json, print_table
from triaged.ledger.daemon_records import DaemonRecord
from triaged.ledger.opening import daemons_of
from triaged.settings import Settings

_HASH_SHOWN = 12


@click.command
@with_format
@with_settings("state_dir", "ledger_url")
def daemons(*, settings: Settings, form: Format) -> None:
    """Print a row for each daemon, those of one host together."""
    found = daemons_of(settings.ledger)
    if form is Format.JSON:
        echo_json([_document(daemon) for daemon in found])
    else:
        _print(found)


def _document(daemon: DaemonRecord) -> dict[str, Any]:
    return {
        "name": daemon.name,
        "host": daemon.host,
        "pid": daemon.pid,
        "version": daemon.version,
        "workspace": daemon.workspace or None,
        "alive": daemon.is_alive,
        "since": _text(daemon.since),
        "last_seen": _text(daemon.seen_at),
        "config_sha256": daemon.config_sha256 or None,
        "workspaces_held": daemon.held,
        "workspaces_own": daemon.own,
    }


def _print(found: Sequence[DaemonRecord]) -> None:
    if found:
        print_table(
            (
                "daemon",
                "version",
                "alive",
                "since (UTC)",
                "last seen (UTC)",
                "config",
                "runs now",
                "workspaces",
            ),
            [_cells(daemon) for daemon in found],
        )
    alive = sum(daemon.is_alive for daemon in found)
    word = "daemon" if len(found) == 1 else "daemons"
    echo(f"{len(found)} {word}, {alive} alive." if found else "No daemon runs here.")


def _cells(daemon: DaemonRecord) -> tuple[str, ...]:
    return (
        f"{daemon.host}:{daemon.pid}",
        daemon.version or "—",
        "yes" if daemon.is_alive else "no",
        _moment(daemon.since),
        _moment(daemon.seen_at),
        (daemon.config_sha256 or "—")[:_HASH_SHOWN],
        "—" if daemon.held is None else f"{daemon.held:,}",
        _workspaces(daemon),
    )


def _workspaces(daemon: DaemonRecord) -> str:
    if daemon.workspace:
        return daemon.workspace
    return "all" if daemon.own is None else f"{daemon.own:,}"


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _moment(moment: datetime | None) -> str:
    return "—" if moment is None else f"{moment:%m-%d %H:%M:%S}"
