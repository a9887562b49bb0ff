"""Reads settings from flags and the environment; all are validated at start."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from triaged.daily_time import DailyTime, parse_daily_time
from triaged.errors import ConfigError, Problem
from triaged.leadlex.api_key import CREDENTIAL_NAME, KeySource, parse_key
from triaged.quota import QuotaSettings
from triaged.setting_values import (
    DEFAULT_URL,
    is_loopback,
    one_of,
    parse_api_plan,
    parse_api_url,
    parse_count,
    parse_header_name,
    parse_key_path,
    parse_listen,
    parse_notify_path,
    parse_page_url,
    parse_path,
    parse_poll_interval,
    parse_rate_limit,
    parse_retention,
    parse_share,
    parse_workspace,
)

if TYPE_CHECKING:
    from triaged.ledger.location import LedgerLocation

SYSTEM_RULES: Final = Path("/etc/triaged/rules.yaml")
# Long enough to explain any dismissal that people may still ask about.
DEFAULT_RETENTION: Final = timedelta(days=400)
DEFAULT_NOTIFY_AT: Final = DailyTime(time(8), "UTC")
NOTIFY_CREDENTIAL: Final = "notify-urls"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("json", "console")

SETTINGS: Final = (
    "api_key",
    "api_key_file",
    "api_url",
    "rules",
    "fleet",
    "workspace",
    "api_plan",
    "rate_limit",
    "daily_limit",
    "reserve",
    "poll_interval",
    "state_dir",
    "ledger_url",
    "retention",
    "notify_file",
    "notify_at",
    "page_url",
    "listen",
    "page",
    "page_user_header",
    "log_level",
    "log_format",
)

# Kubernetes sets such variables for a Service whose name begins with "triaged".
_OF_A_SERVICE: Final = re.compile(
    r"TRIAGED_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
T = TypeVar("T")
D = TypeVar("D")


class PageMode(StrEnum):
    """What the status page is: absent, read-only, or able to veto and pause."""

    OFF = "off"
    READ = "read"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings outside the rules files.

    ``rules`` are one file or several that are used as one, in order; ``labels`` are
    those of a workspace of a fleet. ``fleet`` is the directory of a fleet's files, and
    ``is_of_fleet`` tells that the settings are those of one workspace of it.
    """

    key: KeySource = field(default_factory=KeySource)
    api_url: str = DEFAULT_URL
    rules: tuple[Path, ...] = (Path("rules.yaml"),)
    fleet: Path | None = None
    is_of_fleet: bool = False
    workspace: str = "default"
    quota: QuotaSettings
    poll_interval: timedelta = timedelta(minutes=5)
    state_dir: Path
    ledger_url: str | None = None
    retention: timedelta = DEFAULT_RETENTION
    notify_file: Path | None = None
    notify_at: DailyTime = DEFAULT_NOTIFY_AT
    page_url: str | None = None
    listen_host: str = "127.0.0.1"
    listen_port: int = 9464
    page: PageMode = PageMode.KEEP
    page_user_header: str | None = None
    log_level: str = "info"
    log_format: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def ledger(self) -> "LedgerLocation":
        from triaged.ledger.location import LedgerLocation  # noqa: PLC0415 - not all need it

        return LedgerLocation(self.state_dir, self.ledger_url)


def read_settings(
    environ: Mapping[str, str], flags: Mapping[str, str | None]
) -> Settings:
    """Read all settings; flags override the environment, and empty values are unset.

    ``flags`` are keyed like the variables, without ``TRIAGED_`` and in lower case.

    Raises:
        ConfigError: lists every invalid setting with what is expected.
    """
    reader = _SettingsReader(environ, flags)
    host, port = reader.read("listen", parse_listen, default=("127.0.0.1", 9464))
    settings = Settings(
        key=_key_source(reader),
        api_url=reader.read("api_url", parse_api_url, default=DEFAULT_URL),
        rules=(reader.read("rules", parse_path, default=None) or _default_rules(),),
        fleet=reader.read("fleet", parse_path, default=None),
        workspace=reader.read("workspace", parse_workspace, default="default"),
        quota=_quota(reader),
        poll_interval=reader.read(
            "poll_interval", parse_poll_interval, default=timedelta(minutes=5)
        ),
        state_dir=reader.read("state_dir", parse_path, default=None)
        or _state_dir(reader),
        ledger_url=reader.read("ledger_url", _ledger_url, default=None),
        retention=reader.read("retention", parse_retention, default=DEFAULT_RETENTION),
        notify_file=reader.read(
            "notify_file",
            parse_notify_path,
            default=_credential(reader, NOTIFY_CREDENTIAL),
        ),
        notify_at=reader.read("notify_at", parse_daily_time, default=DEFAULT_NOTIFY_AT),
        page_url=reader.read("page_url", parse_page_url, default=None),
        listen_host=host,
        listen_port=port,
        page=_page_mode(reader, host),
        page_user_header=reader.read(
            "page_user_header", parse_header_name, default=None
        ),
        log_level=reader.read("log_level", one_of(LOG_LEVELS), default="info"),
        log_format=reader.read("log_format", one_of(LOG_FORMATS), default=None),
    )
    if reader.problems:
        raise ConfigError(reader.problems)
    return settings


class _SettingsReader:
    """Reads settings one by one and collects all problems."""

    def __init__(
        self, environ: Mapping[str, str], flags: Mapping[str, str | None]
    ) -> None:
        self.environ = environ
        self.flags = flags
        self.problems: list[Problem] = []

    def text(self, name: str) -> str | None:
        given = self.flags.get(name)
        if given is None:
            given = self.environ.get(env_name(name))
        return given or None

    def read(self, name: str, parse: Callable[[str], T], *, default: D) -> T | D:
        """Parse a setting; on a problem, record it and return the default."""
        text = self.text(name)
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.problems += _problem(name, str(error)).problems
            return default


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Describe each variable that looks like a setting but is unknown.

    Values are not shown, since one of them may be a key.
    """
    known = {env_name(name) for name in SETTINGS}
    warnings = []
    for name in sorted(environ):
        is_ours = name.upper().startswith("TRIAGED_") and name not in known
        if is_ours and not _OF_A_SERVICE.fullmatch(name):
            from difflib import get_close_matches  # noqa: PLC0415 - rarely needed

            near = get_close_matches(name.upper(), sorted(known), 1, 0.6)
            hint = f"; did you mean {near[0]}?" if near else ""
            warnings.append(f"{name} is not a setting{hint}")
    return warnings


def env_name(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"TRIAGED_{name.upper()}"


def _problem(name: str, message: str) -> ConfigError:
    return ConfigError.of_setting(env_name(name), message)


def _key_source(reader: _SettingsReader) -> KeySource:
    if reader.flags.get("api_key_file"):
        return KeySource(file=reader.read("api_key_file", parse_key_path, default=None))
    if key := reader.read("api_key", parse_key, default=None):
        return KeySource(value=key)
    if file := reader.read("api_key_file", parse_key_path, default=None):
        return KeySource(file=file)
    return KeySource(file=_credential(reader, CREDENTIAL_NAME))


def _credential(reader: _SettingsReader, name: str) -> Path | None:
    """Return the file of a systemd credential, or None if there is none."""
    directory = reader.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory) / name if directory else None
    return path if path is not None and _exists(path) else None


def _default_rules() -> Path:
    here = Path("rules.yaml")
    return here if _exists(here) or not _exists(SYSTEM_RULES) else SYSTEM_RULES


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # The path may not be accessed; opening it later will report why.
        return False


def _state_dir(reader: _SettingsReader) -> Path:
    environ = reader.environ
    # systemd passes a list if a unit has several state directories.
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if (xdg := environ.get("XDG_STATE_HOME")) and Path(xdg).is_absolute():
        return Path(xdg) / "triaged"
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        message = (
            "there is no home directory to keep the ledger in; give a state directory"
        )
        reader.problems += _problem("state_dir", message).problems
        home = Path()
    return home / ".local/state/triaged"


def _ledger_url(text: str) -> str:
    from triaged.ledger.location import parse_ledger_url  # noqa: PLC0415 - rare

    return parse_ledger_url(text)


def _page_mode(reader: _SettingsReader, host: str) -> PageMode:
    mode = reader.read("page", one_of(tuple(PageMode)), default=None)
    if mode is not None:
        return PageMode(mode)
    # Beyond loopback clients are strangers, unless someone decides otherwise.
    return PageMode.KEEP if is_loopback(host) else PageMode.READ


def _quota(reader: _SettingsReader) -> QuotaSettings:
    plan = reader.read("api_plan", parse_api_plan, default=None)
    minute_limit, minute_window = reader.read(
        "rate_limit", parse_rate_limit, default=(None, 60.0)
    )
    return QuotaSettings.for_plan(
        plan,
        minute_limit=minute_limit,
        minute_window=minute_window,
        daily_limit=reader.read("daily_limit", parse_count, default=None),
        reserve=reader.read("reserve", parse_share, default=0.2),
    )
