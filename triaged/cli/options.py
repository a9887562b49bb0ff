"""Command-line flags for settings; each command declares those that it uses."""

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import click

from triaged.cli.fleet_use import Choice, FleetUse
from triaged.errors import ConfigError, Problem
from triaged.settings import env_name, read_settings, unknown_variables
from triaged.text import escape_unprintable

_HELP: Final = {
    "api_key_file": "File with the API key; the key itself only as TRIAGED_API_KEY.",
    "api_url": "Base URL of the API; plain http only to loopback.",
    "rules": "The rules file [default: rules.yaml, else /etc/triaged/rules.yaml].",
    "fleet": "Directory of fleet files, which describe many workspaces.",
    "workspace": "Label in metrics, logs and ledger [default: default].",
    "api_plan": "LeadLex plan: starter, pro or org [default: from the first answer].",
    "rate_limit": "Calls and the time they are for, such as 50/1m.",
    "daily_limit": "Calls a day.",
    "reserve": "Share of the day's calls never spent [default: 0.2].",
    "poll_interval": "Requested time between polls [default: 5m].",
    "state_dir": "Where the ledger lives.",
    "ledger_url": "PostgreSQL ledger of a fleet, without a password; see PGPASSFILE.",
    "retention": "How long resolved records are kept, at least 2d [default: 400d].",
    "notify_file": "Private file of notification URLs, one a line.",
    "notify_at": "When the daily digest goes, such as 08:00 Europe/Berlin [default:"
    " 08:00 UTC].",
    "page_url": "Public address of the status page, for links in notifications.",
    "listen": "HOST:PORT of metrics, health and page [default: 127.0.0.1:9464].",
    "page": "off, read or keep: veto and pause [default: keep on loopback, else read].",
    "page_user_header": "Header in which a proxy on loopback names the page's user.",
    "log_level": "debug, info, warning or error [default: info].",
    "log_format": "json or console [default: json unless a terminal].",
}

QUOTA_OPTIONS: Final = (
    "api_plan",
    "rate_limit",
    "daily_limit",
    "reserve",
    "poll_interval",
)
LEDGER_OPTIONS: Final = ("workspace", "state_dir", "ledger_url")
# Of the commands that call the API.
CALL_OPTIONS: Final = (
    "api_key_file",
    "api_url",
    "rules",
    *QUOTA_OPTIONS,
    *LEDGER_OPTIONS,
)
LOG_OPTIONS: Final = ("log_level", "log_format")
NOTIFY_OPTIONS: Final = ("notify_file", "notify_at", "page_url")

Command = Callable[..., Any]


E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")


class EnumChoice(click.Choice[E], Generic[E]):
    """A click parameter type: a member of an enumeration, given by its value."""

    def __init__(self, members: Iterable[E]) -> None:
        super().__init__(members, case_sensitive=False)

    def get_invalid_choice_message(self, value: str, ctx: click.Context | None) -> str:
        del ctx
        return f"{value!r} is not one of {', '.join(self.choices)}"


class Parsed(click.ParamType[T], Generic[T]):
    """A click parameter type: what a function returns, or its ``ValueError``."""

    def __init__(self, parse: Callable[[str], T], name: str = "text") -> None:
        self._parse = parse
        self.name = name

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> T:
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Format(StrEnum):
    """The output format of a command."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


_every = click.option(
    "--all", "of_all", is_flag=True, help="Every workspace of the fleet."
)
_by_label = click.option(
    "-l",
    "--label",
    "of_labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="Workspaces of the fleet with this label; repeatable: all of them.",
)


def with_settings(
    *names: str, fleet: FleetUse = FleetUse.ONE
) -> Callable[[Command], Command]:
    """Add the flags of these settings; the command receives ``settings``."""
    if "workspace" in names and "fleet" not in names:
        names = (*names, "fleet")
    is_several = fleet not in {FleetUse.ONE, FleetUse.WHOLE}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> Any:  # noqa: ANN401 - whatever the command takes
            flags = {name: given.pop(name) for name in names}
            labels, is_all = given.pop("of_labels", ()), given.pop("of_all", False)
            _refuse_undecodable(os.environ)
            for warning in unknown_variables(os.environ):
                line = escape_unprintable(f"triaged: warning: {warning}")
                click.echo(line, err=True)
            settings = read_settings(os.environ, flags)
            is_one = settings.fleet is None and not (labels or is_all)
            if is_one or "workspace" not in names:
                own = {"chosen": [settings]} if fleet.is_listed else {}
                return command(settings=settings, **own, **given)
            from triaged.cli import fleet_choice  # noqa: PLC0415 - reads YAML

            name = flags["workspace"]
            if not (labels or is_all):
                name = name or os.environ.get(env_name("workspace"))
            choice = Choice(name or None, labels, is_all)
            return fleet_choice.run(command, settings, given, choice, fleet)

        decorated: Command = _by_label(_every(run)) if is_several else run
        for name in reversed(names):
            decorated = _flag(name)(decorated)
        return decorated

    return decorate


def _refuse_undecodable(environ: Mapping[str, str]) -> None:
    """Reject settings that are not valid text."""
    wrong = [
        name
        for name, value in environ.items()
        if name.startswith(env_name("")) and not _is_text(value)
    ]
    if wrong:
        raise ConfigError(
            [Problem("settings", 0, 0, name, "is not valid UTF-8") for name in wrong]
        )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


while_paused_option = click.option(
    "--while-paused", is_flag=True, help="Dismiss although dismissing is paused."
)


def with_format_of(*formats: Format) -> Callable[[Command], Command]:
    """Add ``--format`` with these formats; the command receives ``form``."""
    return click.option(
        "--format",
        "form",
        type=EnumChoice(formats),
        default=Format.TABLE,
        show_default="table",
        help="How to print.",
    )


with_format = with_format_of(Format.TABLE, Format.JSON)


def _flag(name: str) -> Callable[[Command], Command]:
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        metavar="VALUE",
        help=f"{_HELP[name]} [env: TRIAGED_{name.upper()}]",
    )
