"""The values of settings, as flags, environment and fleet files write them.

Each function raises ``ValueError`` with what is expected.
"""

import re
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path
from typing import Final

from triaged.quota import PLANS
from triaged.rules.duration import parse_duration

DEFAULT_URL: Final = "https://data.leadlex.com/functions/v1/api-gateway"

_WORKSPACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
# The syntax of header names (RFC 9110).
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", re.ASCII)
# Their values are secrets, or belong to the request and not to a person.
_NOT_A_PERSON: Final = frozenset(
    {"authorization", "cookie", "host", "origin", "proxy-authorization", "referer"}
)
_MAX_PORT: Final = 65_535
_SECOND: Final = timedelta(seconds=1)


def parse_path(text: str) -> Path:
    """Parse a path, in which ``~`` is the home directory."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"the home directory in {text!r} cannot be found") from None


def parse_key_path(text: str) -> Path:
    """Parse a path that is never shown, since it may be a key in the wrong variable."""
    return parse_path(text) if text.startswith("~/") else Path(text)


def parse_notify_path(text: str) -> Path:
    """Parse a path that is not shown if it is a URL, since that holds secrets."""
    if "://" in text:
        raise ValueError("this is a URL, not the name of a file; put it into a file")
    return parse_path(text)


def parse_api_url(text: str) -> str:
    """Parse an https URL, or http to loopback, without user and query."""
    url, host = _parse_url(text, example=DEFAULT_URL)
    if url.startswith("http:") and not is_loopback(host):
        raise ValueError("plain http would show the key on its way; use https")
    return url


def parse_page_url(text: str) -> str:
    """Parse the URL at which people find the page."""
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


def parse_workspace(text: str) -> str:
    """Parse the name of a workspace, which is a label in metrics."""
    if not _WORKSPACE.fullmatch(text):
        raise ValueError(
            f"expected at most 63 letters, digits, '.', '_' or '-', found {text!r}"
        )
    return text


def parse_poll_interval(text: str) -> timedelta:
    """Parse the requested time between polls."""
    interval = parse_duration(text)
    if not _SECOND <= interval <= timedelta(days=365):
        raise ValueError(f"expected at least 1s and at most 365d, found {text!r}")
    return interval


def parse_retention(text: str) -> timedelta:
    """Parse the time that old data is kept."""
    retention = parse_duration(text)
    # Daily caps are counted from stored data, and the UTC day differs from the local.
    if not timedelta(days=2) <= retention <= timedelta(days=36_500):
        raise ValueError(f"expected at least 2d and at most 36500d, found {text!r}")
    return retention


def parse_listen(text: str) -> tuple[str, int]:
    """Parse an address to listen on, as host and port."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else -1
    is_host = re.fullmatch(r"[\w.:%*-]+", host) is not None
    if not separator or not is_host or not 0 <= number <= _MAX_PORT:
        raise ValueError(f"expected HOST:PORT such as 127.0.0.1:9464, found {text!r}")
    return host, number


def parse_header_name(text: str) -> str:
    """Parse the name of the header in which a proxy names the person."""
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError(
            f"expected the name of a header such as X-Remote-User, found {text!r}"
        )
    if text.lower() in _NOT_A_PERSON:
        raise ValueError(f"the header {text} does not name a person")
    return text


def one_of(known: Collection[str]) -> Callable[[str], str]:
    """Return what parses one of these words, in upper or lower case."""

    def parse(text: str) -> str:
        if text.lower() not in known:
            raise ValueError(f"expected one of {', '.join(known)}, found {text!r}")
        return text.lower()

    return parse


parse_api_plan: Final = one_of(PLANS)


def parse_rate_limit(text: str) -> tuple[int, float]:
    """Parse calls and the time that they are for, which is returned in seconds."""
    calls, separator, window = text.partition("/")
    if not separator:
        raise ValueError(f"expected calls and a duration such as 50/1m, found {text!r}")
    duration = parse_duration(window)
    if not _SECOND <= duration <= timedelta(days=1):
        raise ValueError(f"the window must be from 1s to 1d, found {text!r}")
    return parse_count(calls), duration.total_seconds()


def parse_count(text: str) -> int:
    """Parse a whole number above 0, of at most 9 digits."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def parse_share(text: str) -> float:
    """Parse a share from 0 to below 1."""
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or not 0 <= float(text) < 1:
        raise ValueError(
            f"expected a share from 0 to below 1 such as 0.2, found {text!r}"
        )
    return float(text)
