"""Reads the headers of responses: rate limits, waits, dates, and signs of a cache."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from triaged.quota import RateLimitHeaders

# Headers of caches whose names do not contain "cache".
_AGE_CODES: Final = re.compile(r"\s*11[0-3]\b")
_TWO_IDS: Final = re.compile(r"\s*\d+[\s,]+\d+\s*")
_TIMED_HIT: Final = re.compile(r"(?i)cache[^,]*desc\s*=\s*\"?hit")
# A header of Squid that tells of a lookup, not of the response; and RFC 9211's
# fwd=stale, which says that the origin was asked.
_NOT_OF_RESPONSE: Final = frozenset({"cache-control", "x-cache-lookup"})
_HIT: Final = re.compile(r"(?i)(?<![a-z])(?<!fwd=)(hit|stale|updating)\b")
_A_COUNT: Final = re.compile(r"[1-9]")
_LONGEST_WAIT: Final = timedelta(days=7)
_SECONDS: Final = re.compile(
    r"[\"+]?([0-9]+(?:\.[0-9]+)?)\s*(?:s|secs?|seconds?)?\"?", re.ASCII
)
# A comma ends a value, except behind the weekday of a date.
_BETWEEN_VALUES: Final = re.compile(r",(?!\s*[0-9]{1,2}[ -][A-Za-z])")
# More seconds than this are a time since the epoch, in seconds or milliseconds.
_EPOCH_SECONDS: Final = 1e9
_EPOCH_MILLISECONDS: Final = 1e12
_FIRST: Final = datetime(1971, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)
_MAX_EPOCH: Final = 253_402_300_799  # the last second that a datetime can represent


def is_from_cache(headers: Mapping[str, str]) -> bool:
    """Return whether the headers show that a cache sent the response."""
    if headers.get("age", "").strip("0 ,\t"):
        return True
    if _AGE_CODES.match(headers.get("warning", "")):
        return True
    if _TWO_IDS.fullmatch(headers.get("x-varnish", "")):
        return True
    if _TIMED_HIT.search(headers.get("server-timing", "")):
        return True
    return any(
        (_A_COUNT if name.lower().endswith("-hits") else _HIT).search(value)
        for name, value in headers.items()
        if "cache" in name.lower() and name.lower() not in _NOT_OF_RESPONSE
    )


def read_rate_limit(
    headers: Mapping[str, str], *, received_at: datetime
) -> RateLimitHeaders:
    """Parse the rate-limit headers; invalid ones are ignored."""
    date = _http_date(headers.get("date", ""))
    retry = headers.get("retry-after", "")
    return RateLimitHeaders(
        limit=_count(headers.get("x-ratelimit-limit")),
        remaining=_count(headers.get("x-ratelimit-remaining")),
        reset=_epoch(headers.get("x-ratelimit-reset")),
        retry_after=_retry_after(retry, received_at, date or received_at),
        date=date,
    )


def _count(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.strip().isdigit():
        return None
    return int(text) if len(text) < len(str(_MAX_EPOCH)) else None


def _epoch(text: str | None) -> datetime | None:
    seconds = _count(text)
    if seconds is None or not 0 < seconds <= _MAX_EPOCH:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _retry_after(text: str, received_at: datetime, date: datetime) -> datetime | None:
    """Parse Retry-After (RFC 9110 10.2.3): seconds, or a date of the server's clock.

    What servers send beside that is read too, for a wait that is not understood is a
    call too many. Of a repeated header, the longest wait counts.
    """
    waits = list(_waits(text, date))
    if not waits:
        return None
    # A wait of more than a week is probably a mistake.
    return received_at + min(max(*waits, timedelta(0)), _LONGEST_WAIT)


def _waits(text: str, date: datetime) -> Iterator[timedelta]:
    for part in map(str.strip, _BETWEEN_VALUES.split(text)):
        if (found := _SECONDS.fullmatch(part)) is not None:
            seconds = float(found[1])
            if seconds >= _EPOCH_SECONDS:
                seconds /= 1000 if seconds >= _EPOCH_MILLISECONDS else 1
                seconds -= date.timestamp()
            yield timedelta(seconds=min(seconds, _LONGEST_WAIT.total_seconds()))
        elif moment := _http_date(part) or _iso_date(part):
            yield moment - date


def _iso_date(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _http_date(text: str) -> datetime | None:
    try:
        moment: Any = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        result: datetime = aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # At the ends of the calendar, adding an hour is an error.
    return min(max(result, _FIRST), _LAST)
