"""Parses and formats durations: ``90s``, ``36h``, ``14d``, ``2w``, ``1d12h``."""

import re
from datetime import timedelta
from typing import Final

_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WHOLE: Final = re.compile(r"(?:[0-9]{1,9}[smhdw])+", re.ASCII)
_PART: Final = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Parse a sum of integers with a unit each, such as ``1d12h``.

    Raises:
        ValueError: the text has another form, or exceeds the range of timedelta.
    """
    if not _WHOLE.fullmatch(text):
        message = f"expected a duration such as 90s, 14d or 1d12h, found {text!r}"
        raise ValueError(message)
    seconds = sum(int(n) * _SECONDS[unit] for n, unit in _PART.findall(text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        message = f"the duration {text!r} is too long"
        raise ValueError(message) from None


def format_duration(duration: timedelta) -> str:
    """Format a duration, to the second, so that ``parse_duration`` reads it."""
    left = int(duration.total_seconds())
    if left <= 0:
        return "0s"
    parts = []
    for unit in "dhms":
        count, left = divmod(left, _SECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
