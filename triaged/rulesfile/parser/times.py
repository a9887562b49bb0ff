"""When a task was created: how long ago, and at what time by a local clock."""

import re
from datetime import time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from triaged.rules.conditions import AgeBetween, CreatedAt, Hours, Weekday
from triaged.rules.duration import format_duration
from triaged.rulesfile.parser.containers import (
    Field,
    Mapped,
    OneOrMany,
    ParsedMapping,
    Record,
)
from triaged.rulesfile.parser.nodes import Node, Scalar
from triaged.rulesfile.parser.references import read_choice
from triaged.rulesfile.parser.synonyms import IN_AGE
from triaged.rulesfile.parser.values import Duration, Schema, String
from triaged.rulesfile.problems import (
    INVALID,
    Invalid,
    Location,
    ProblemCollector,
    closest_match,
    quote_for_message,
)

_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS: Final = re.compile(rf"({_CLOCK})-({_CLOCK}|24:00)", re.ASCII)
_WEEKDAYS: Final = tuple(day.name.lower() for day in Weekday)
# These mean what the machine is set to, which is no place for a rule.
_LOCAL_ZONES: Final = frozenset({"localtime", "posixrules", "Factory"})


def _aged(
    given: ParsedMapping, place: Location, report: ProblemCollector
) -> AgeBetween | Invalid:
    over: timedelta | None = given.get("over")
    under: timedelta | None = given.get("under")
    if over is not None and under is not None and over >= under:
        bounds = f"over {format_duration(over)} and under {format_duration(under)}"
        return report.error(place, f"no age is {bounds}; swap them or drop one")
    return AgeBetween(over, under)


AGE: Final = Mapped(
    Record(
        "a mapping with over, under or both",
        (
            Field("over", Duration(), "Older than this, strictly.", title="Older than"),
            Field(
                "under",
                Duration(),
                "Younger than this, strictly.",
                title="Younger than",
            ),
        ),
        advice="write age: {over: 14d}",
        synonyms=IN_AGE,
    ),
    _aged,
)


class _WeekdayType:
    """A day of the week, by the first three letters of its name."""

    def read(self, node: Node, report: ProblemCollector) -> Weekday | Invalid:
        if isinstance(node, Scalar) and node.value not in _WEEKDAYS:
            short = node.value[:3].lower()
            if short in _WEEKDAYS:
                message = f"unknown weekday {quote_for_message(node.value)}"
                return report.error(node.place, f"{message}; write {short}")
        name = read_choice("weekday", _WEEKDAYS, node, report)
        return INVALID if isinstance(name, Invalid) else Weekday[name.upper()]

    def schema(self) -> Schema:
        return {"enum": list(_WEEKDAYS)}


class _HoursType:
    """A part of the day, such as 18:00-08:00."""

    _text = String(
        "hours such as '18:00-08:00'",
        _HOURS.pattern,
        "write HH:MM-HH:MM, from 00:00 to 24:00",
    )

    def read(self, node: Node, report: ProblemCollector) -> Hours | Invalid:
        text = self._text.read(node, report)
        if isinstance(text, Invalid):
            return INVALID
        start, end = text.split("-")
        # Midnight at the end is midnight at the start of the next day.
        return Hours(
            time.fromisoformat(start), time.fromisoformat(end.replace("24:", "00:"))
        )

    def schema(self) -> Schema:
        return self._text.schema()


class _TimeZone:
    """The name of a time zone, such as Europe/Berlin."""

    _text = String("a time zone such as Europe/Berlin")

    def read(self, node: Node, report: ProblemCollector) -> ZoneInfo | Invalid:
        name = self._text.read(node, report)
        if isinstance(name, Invalid):
            return INVALID
        try:
            if name not in _LOCAL_ZONES:
                return ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            pass
        close = closest_match(name, available_timezones() - _LOCAL_ZONES)
        offer = f"did you mean {close}?" if close else "write one such as Europe/Berlin"
        message = f"unknown time zone {quote_for_message(name)}; {offer}"
        return report.error(node.place, message)

    def schema(self) -> Schema:
        return self._text.schema()


_UTC: Final = "UTC"


def _created(
    given: ParsedMapping, place: Location, report: ProblemCollector
) -> CreatedAt | Invalid:
    weekdays: tuple[Weekday, ...] = given.get("weekday", ())
    hours: Hours | None = given.get("hours")
    if not weekdays and hours is None:
        return report.error(place, "created names no weekday and no hours; name one")
    zone: ZoneInfo = given.get("timezone") or ZoneInfo(_UTC)
    unique = tuple(sorted(set(weekdays)))
    return CreatedAt(zone, str(zone.key), unique, hours)


CREATED: Final = Mapped(
    Record(
        "a mapping with weekday, hours and timezone",
        (
            Field(
                "weekday",
                OneOrMany("a weekday", _WeekdayType()),
                "The day on which it was created, by the local clock: mon to sun.",
            ),
            Field(
                "hours",
                _HoursType(),
                "When on that day: the start included, the end not; across midnight"
                " where the end is not later than the start.",
            ),
            Field(
                "timezone",
                _TimeZone(),
                "Whose clock, such as Europe/Berlin; UTC unless told otherwise.",
                title="Time zone",
            ),
        ),
        advice="write created: {weekday: [sat, sun], timezone: Europe/Berlin}",
    ),
    _created,
)
