"""A time of day in a time zone, and the moment at which it occurs on a date."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

_FORM: Final = re.compile(r"(?P<time>[0-9]{2}:[0-9]{2})(?: +(?P<zone>\S+))?", re.ASCII)
# These depend on the machine or are not zones of a place.
_NOT_A_PLACE: Final = frozenset({"localtime", "posixrules", "Factory"})


@dataclass(frozen=True, slots=True)
class DailyTime:
    """A time of day, and the IANA name of its time zone."""

    at: time
    zone: str

    @property
    def tzinfo(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.zone)

    def date_of(self, moment: datetime) -> date:
        """Return the local date of a timestamp."""
        return moment.astimezone(self.tzinfo).date()

    def on(self, day: date) -> datetime:
        """Return when this time occurs on a local date, in UTC.

        A time that a date has twice is the first of them. One that a date skips is
        later by what is skipped: 02:30 becomes 03:30 when an hour is skipped at 02:00.
        """
        return datetime.combine(day, self.at, self.tzinfo).astimezone(UTC)

    def __str__(self) -> str:
        """Format like the setting."""
        return f"{self.at:%H:%M} {self.zone}"


def parse_daily_time(text: str) -> DailyTime:
    """Parse ``08:00`` (UTC) or ``08:00 Europe/Berlin``.

    Raises:
        ValueError: it has another form, or the time or the zone does not exist.

    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        message = (
            f"expected a time such as 08:00 or 08:00 Europe/Berlin, found {text!r}"
        )
        raise ValueError(message)
    try:
        at = time.fromisoformat(found["time"])
    except ValueError:
        message = f"expected a time from 00:00 to 23:59, found {found['time']!r}"
        raise ValueError(message) from None
    zone = found["zone"] or "UTC"
    known = available_timezones() - _NOT_A_PLACE
    if zone not in known:
        from difflib import get_close_matches  # noqa: PLC0415 - rarely needed

        near = get_close_matches(zone, sorted(known), 1, 0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        message = f"unknown time zone {zone!r}{hint}"
        raise ValueError(message)
    return DailyTime(at, zone)
