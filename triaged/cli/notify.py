"""``triaged notify``: a test message, or the digest that would go now."""

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from triaged.cli import exit_codes
from triaged.cli.files import write_private
from triaged.cli.options import (
    LEDGER_OPTIONS,
    NOTIFY_OPTIONS,
    Format,
    with_format,
    with_settings,
)
from triaged.cli.output import echo, echo_json, notice
from triaged.clock import SystemClock
from triaged.errors import ConfigError, os_reason
from triaged.ledger import Ledger
from triaged.ledger.opening import daemon_owner
from triaged.ledger.state import StateName
from triaged.notify.apprise_sender import AppriseSender
from triaged.notify.message import Receipt
from triaged.notify.render import render_digest, render_test
from triaged.rulesfile.loader import load
from triaged.settings import Settings
from triaged.triage.digest import Digest
from triaged.triage.digest_source import digest_begins, read_digest


@click.command
@click.option("--test", "is_test", is_flag=True, help="Send a test message now.")
@click.option("--preview", is_flag=True, help="Print the digest that would go now.")
@click.option(
    "--html",
    "html_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --preview: also write the digest as HTML.",
)
@with_format
@with_settings(*NOTIFY_OPTIONS, "rules", *LEDGER_OPTIONS)
def notify(
    *,
    settings: Settings,
    is_test: bool,
    preview: bool,
    html_file: Path | None,
    form: Format,
) -> None:
    """Send a test message, or print the digest."""
    if is_test == preview:
        raise click.UsageError("give either --test or --preview")
    if html_file is not None and not preview:
        raise click.UsageError("--html needs --preview")
    if is_test:
        sys.exit(_test(settings, as_json=form is Format.JSON))
    _preview(settings, html_file, as_json=form is Format.JSON)


def _test(settings: Settings, *, as_json: bool) -> int:
    if settings.notify_file is None:
        raise ConfigError.of_setting(
            "TRIAGED_NOTIFY_FILE",
            "is not set; name a private file with one notification URL a line",
        )
    message = render_test(
        workspace=settings.workspace,
        now=SystemClock().now(),
        at=settings.notify_at,
        page_url=settings.page_url,
    )
    deliveries = AppriseSender(settings.notify_file).send(message)
    if as_json:
        rows = [asdict(delivery) for delivery in deliveries]
        echo_json([{k: v for k, v in row.items() if k != "key"} for row in rows])
    else:
        for each in deliveries:
            problem = f": {each.problem}" if each.problem else ""
            echo(f"line {each.line} ({each.service}): {each.receipt}{problem}")
    all_sent = all(each.receipt is Receipt.SENT for each in deliveries)
    return exit_codes.OK if all_sent else exit_codes.FAILED


def _preview(settings: Settings, html_file: Path | None, *, as_json: bool) -> None:
    now = SystemClock().now()
    with Ledger.open_existing(
        settings.ledger,
        workspace=settings.workspace,
        is_of_fleet=settings.is_of_fleet,
    ) as ledger:
        digest = read_digest(
            ledger,
            since=digest_begins(ledger, now),
            now=now,
            problems=_problems(ledger, settings),
        )
    message = render_digest(digest, at=settings.notify_at, page_url=settings.page_url)
    if html_file is not None:
        try:
            write_private(html_file, message.html.encode())
        except OSError as error:
            raise click.UsageError(f"{html_file}: {os_reason(error)}") from error
    if as_json:
        echo_json({"subject": message.subject, **_as_json(digest)})
    else:
        echo(f"Subject: {message.subject}\n")
        echo(message.text, end="")
    if daemon_owner(settings.ledger, settings.workspace) is None:
        notice("no daemon runs here, so no digest is sent")
    elif settings.notify_file is None:
        notice("TRIAGED_NOTIFY_FILE is not set here")
    if digest.is_empty:
        notice("an empty digest is sent once a week only")


def _problems(ledger: Ledger, settings: Settings) -> list[str]:
    """Return what needs a person, as the daemon stored it after its last cycle."""
    problems = []
    state: dict[str, Any] = ledger.state.load(StateName.DAEMON) or {}
    if daemon_owner(settings.ledger, settings.workspace) and state.get(
        "not_ready_reason"
    ):
        problems.append(f"Not ready: {state['not_ready_reason']}.")
    try:
        load(*settings.rules)
    except ConfigError as error:
        why = "; ".join(str(error).splitlines())
        problems.append(f"The rules file is wrong: {why}")
    return problems


def _as_json(digest: Digest) -> dict[str, Any]:
    text = json.dumps(asdict(digest), default=datetime.isoformat)
    document: dict[str, Any] = json.loads(text)
    return document
