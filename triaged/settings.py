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
from triaged.quota import PLANS, QuotaSettings
from triaged.rules.duration import parse_duration

if TYPE_CHECKING:
    from triaged.ledger.location import LedgerLocation

DEFAULT_URL: Final = "https://data.leadlex.com/functions/v1/api-gateway"
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
_WORKSPACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)

# The syntax of header names (RFC 9110).
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", re.ASCII)
# Their values are secrets, or belong to the request and not to a person.
_NOT_A_PERSON: Final = frozenset(
    {"authorization", "cookie", "host", "origin", "proxy-authorization", "referer"}
)

_MAX_PORT: Final = 65_535
_MINUTE: Final = 60.0
_LONGEST_INTERVAL: Final = timedelta(days=365)
_LONGEST_WINDOW: Final = timedelta(days=1)
# Daily caps are counted from stored data, and the UTC day differs from the local one.
_SHORTEST_RETENTION: Final = timedelta(days=2)
_LONGEST_RETENTION: Final = timedelta(days=36_500)

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
    those of a workspace of a fleet. ``fleet`` is the directory of a fleet's files.
    """

    key: KeySource = field(default_factory=KeySource)
    api_url: str = DEFAULT_URL
    rules: tuple[Path, ...] = (Path("rules.yaml"),)
    fleet: Path | None = None
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
    host, port = reader.read("listen", _listen, default=("127.0.0.1", 9464))
    settings = Settings(
        key=_key_source(reader),
        api_url=reader.read("api_url", parse_api_url, default=DEFAULT_URL),
        rules=(reader.read("rules", _path, default=None) or _default_rules(),),
        fleet=reader.read("fleet", _path, default=None),
        workspace=reader.read("workspace", parse_workspace, default="default"),
        quota=_quota(reader),
        poll_interval=reader.read(
            "poll_interval", parse_poll_interval, default=timedelta(minutes=5)
        ),
        state_dir=reader.read("state_dir", _path, default=None) or _state_dir(reader),
        ledger_url=reader.read("ledger_url", _ledger_url, default=None),
        retention=reader.read("retention", _retention, default=DEFAULT_RETENTION),
        notify_file=reader.read(
            "notify_file", _notify_path, default=_credential(reader, NOTIFY_CREDENTIAL)
        ),
        notify_at=reader.read("notify_at", parse_daily_time, default=DEFAULT_NOTIFY_AT),
        page_url=reader.read("page_url", _page_url, default=None),
        listen_host=host,
        listen_port=port,
        page=reader.read("page", _page_mode, default=None) or _default_page(host),
        page_user_header=reader.read("page_user_header", _header_name, default=None),
        log_level=reader.read("log_level", _log_level, default="info"),
        log_format=reader.read("log_format", _log_format, default=None),
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
        return KeySource(file=reader.read("api_key_file", _key_path, default=None))
    if key := reader.read("api_key", parse_key, default=None):
        return KeySource(value=key)
    if file := reader.read("api_key_file", _key_path, default=None):
        return KeySource(file=file)
    return KeySource(file=_credential(reader, CREDENTIAL_NAME))


def _credential(reader: _SettingsReader, name: str) -> Path | None:
    """Return the file of a systemd credential, or None if there is none."""
    directory = reader.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory) / name if directory else None
    return path if path is not None and _exists(path) else None


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"the home directory in {text!r} cannot be found") from None


def _key_path(text: str) -> Path:
    # The value is not shown, since it may be a key in the wrong variable.
    return _path(text) if text.startswith("~/") else Path(text)


def _notify_path(text: str) -> Path:
    if "://" in text:
        # The value is not shown, since such a URL holds secrets.
        raise ValueError("this is a URL, not the name of a file; put it into a file")
    return _path(text)


def parse_api_url(text: str) -> str:
    """Parse the base URL of the API.

    Raises:
        ValueError: it is no https URL (or http to loopback) without user and query.
    """
    url, host = _parse_url(text, example=DEFAULT_URL)
    if url.startswith("http:") and not is_loopback(host):
        raise ValueError("plain http would show the key on its way; use https")
    return url


def _page_url(text: str) -> str:
    return _parse_url(text, example="https://triaged.example.com")[0]


def _parse_url(text: str, *, example: str) -> tuple[str, str]:
    from urllib.parse import urlsplit  # noqa: PLC0415 - slow, and rarely needed

    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    del port
    if parts.scheme not in {"https", "http"} or not host:
        raise ValueError(f"expected an https URL such as {example}")
    # urlsplit drops line breaks and empty parts, which an HTTP library would reject.
    if re.search(r"[\s\\\x00-\x1f\x7f]", text):
        raise ValueError(
            "the URL must hold neither blanks, control characters nor '\\'"
        )
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("the URL must hold neither user, password, query nor fragment")
    # Other code tests for the prefix `https:`, so the scheme must be normalized.
    return parts.geturl().rstrip("/"), host


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address is the loopback of this machine."""
    if host == "localhost":
        return True
    # A zone id can be any text, and loopback addresses have none.
    if "%" in host:
        return False
    try:
        from ipaddress import ip_address  # noqa: PLC0415 - slow, and rarely needed

        return ip_address(host).is_loopback
    except ValueError:
        return False


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


def parse_workspace(text: str) -> str:
    """Parse the name of a workspace.

    Raises:
        ValueError: it cannot be a label.
    """
    if not _WORKSPACE.fullmatch(text):
        raise ValueError(
            f"expected at most 63 letters, digits, '.', '_' or '-', found {text!r}"
        )
    return text


def _ledger_url(text: str) -> str:
    from triaged.ledger.location import parse_ledger_url  # noqa: PLC0415 - rare

    return parse_ledger_url(text)


def parse_poll_interval(text: str) -> timedelta:
    """Parse the requested time between polls.

    Raises:
        ValueError: it is no duration from 1s to 365d.
    """
    interval = parse_duration(text)
    if not timedelta(seconds=1) <= interval <= _LONGEST_INTERVAL:
        raise ValueError(f"expected at least 1s and at most 365d, found {text!r}")
    return interval


def _retention(text: str) -> timedelta:
    retention = parse_duration(text)
    if not _SHORTEST_RETENTION <= retention <= _LONGEST_RETENTION:
        raise ValueError(f"expected at least 2d and at most 36500d, found {text!r}")
    return retention


def _listen(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else -1
    is_host = re.fullmatch(r"[\w.:%*-]+", host) is not None
    if not separator or not is_host or not 0 <= number <= _MAX_PORT:
        raise ValueError(f"expected HOST:PORT such as 127.0.0.1:9464, found {text!r}")
    return host, number


def _page_mode(text: str) -> PageMode:
    return PageMode(_choice(text, tuple(PageMode)))


def _default_page(host: str) -> PageMode:
    # Beyond loopback clients are strangers, unless someone decides otherwise.
    return PageMode.KEEP if is_loopback(host) else PageMode.READ


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError(
            f"expected the name of a header such as X-Remote-User, found {text!r}"
        )
    if text.lower() in _NOT_A_PERSON:
        raise ValueError(f"the header {text} does not name a person")
    return text


def _choice(text: str, known: tuple[str, ...]) -> str:
    if text.lower() not in known:
        raise ValueError(f"expected one of {', '.join(known)}, found {text!r}")
    return text.lower()


def _log_level(text: str) -> str:
    return _choice(text, LOG_LEVELS)


def _log_format(text: str) -> str:
    return _choice(text, LOG_FORMATS)


def _quota(reader: _SettingsReader) -> QuotaSettings:
    plan = reader.read("api_plan", parse_api_plan, default=None)
    minute_limit, minute_window = reader.read(
        "rate_limit", parse_rate_limit, default=(None, _MINUTE)
    )
    return QuotaSettings.for_plan(
        plan,
        minute_limit=minute_limit,
        minute_window=minute_window,
        daily_limit=reader.read("daily_limit", parse_count, default=None),
        reserve=reader.read("reserve", parse_share, default=0.2),
    )


def parse_api_plan(text: str) -> str:
    """Parse the name of a LeadLex plan.

    Raises:
        ValueError: there is no such plan.
    """
    return _choice(text, tuple(PLANS))


def parse_rate_limit(text: str) -> tuple[int, float]:
    """Parse calls and the time that they are for, which is returned in seconds.

    Raises:
        ValueError: it is not like ``50/1m``, or the time is not from 1s to 1d.
    """
    calls, separator, window = text.partition("/")
    if not separator:
        raise ValueError(f"expected calls and a duration such as 50/1m, found {text!r}")
    duration = parse_duration(window)
    if not timedelta(seconds=1) <= duration <= _LONGEST_WINDOW:
        raise ValueError(f"the window must be from 1s to 1d, found {text!r}")
    return parse_count(calls), duration.total_seconds()


def parse_count(text: str) -> int:
    """Parse a whole number above 0.

    Raises:
        ValueError: it is none, or has more than 9 digits.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def parse_share(text: str) -> float:
    """Parse a share from 0 to below 1.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or not 0 <= float(text) < 1:
        raise ValueError(
            f"expected a share from 0 to below 1 such as 0.2, found {text!r}"
        )
    return float(text)
