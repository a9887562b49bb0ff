"""The settings as flags: each command names those that it uses."""

import functools
import inspect
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from triaged.settings import Settings, read_settings

_ABOUT: Final = {
    "api_key_file": "File with the API key; the key itself only as TRIAGED_API_KEY.",
    "api_url": "Base URL of the API; plain http only to loopback.",
    "rules": "The rules file [default: rules.yaml, else /etc/triaged/rules.yaml].",
    "workspace": "Label in metrics, logs and ledger [default: default].",
    "plan": "Your LeadLex plan: starter, pro or org [default: learn it].",
    "rate_limit": "Calls and the time they are for, such as 50/1m.",
    "daily_limit": "Calls a day.",
    "reserve": "Share of the day's calls never spent [default: 0.2].",
    "interval": "Wished time between polls [default: 5m].",
    "state_dir": "Where the ledger lives.",
    "listen": "HOST:PORT of metrics, health and page [default: 127.0.0.1:9464].",
    "log_level": "debug, info, warning or error [default: info].",
    "log_format": "json or console [default: json unless a terminal].",
}

API: Final = ("api_key_file", "api_url")
QUOTA: Final = ("plan", "rate_limit", "daily_limit", "reserve", "interval")
LEDGER: Final = ("workspace", "state_dir")
LOGS: Final = ("log_level", "log_format")
RULES: Final = ("rules",)
WEB: Final = ("listen",)


class Format(StrEnum):
    """How a command prints what it read."""

    TABLE = "table"
    JSON = "json"


def with_settings(
    *names: str,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the flags of these settings; the command gets ``settings`` read from them."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**given: Any) -> Any:  # noqa: ANN401 - whatever the command takes
            flags = {name: given.pop(name) for name in names}
            settings = read_settings(os.environ, flags)
            return command(settings=settings, **given)

        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.name != "settings"]
        flags = [_flag(name) for name in names]
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*own, *flags]
        )
        run.__annotations__ = {p.name: p.annotation for p in [*own, *flags]}
        return run

    return decorate


def _flag(name: str) -> inspect.Parameter:
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{_ABOUT[name]} [env: TRIAGED_{name.upper()}]",
        rich_help_panel="Settings",
        show_default=False,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
SettingsValue = Settings
