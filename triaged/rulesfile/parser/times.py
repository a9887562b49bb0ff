"""Parses conditions on creation time: the age, and the local weekday and hour."""

from datetime import time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from triaged.rules.conditions import AgeBetween, CreatedAt, Hours, Weekday
from triaged.rules.duration import format_duration
from triaged.rulesfile.parser.containers import (
    Built,
    Field,
    Mapped,
    OneOrMany,
    ParsedMapping,
    Record,
)
from triaged.rulesfile.parser.nodes import Node, Scalar
from triaged.rulesfile.parser.references import OneOf
from triaged.rulesfile.parser.synonyms import IN_AGE
from triaged.rulesfile.parser.values import Duration, Schema, String
from triaged.rulesfile.problems import (
    Invalid,
    Location,
    ProblemCollector,
    closest_match,
    quote_for_message,
)

_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS: Final = rf"({_CLOCK})-({_CLOCK}|24:00)"
# These depend on the settings of the machine, which rules must not.
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

    _names = OneOf("weekday", tuple(day.name.lower() for day in Weekday))

    def read(self, node: Node, report: ProblemCollector) -> Weekday | Invalid:
        text = node.value if isinstance(node, Scalar) else ""
        short = text[:3].lower()
        if short in self._names.choices and short != text:
            message = f"unknown weekday {quote_for_message(text)}"
            return report.error(node.place, f"{message}; write {short}")
        name = self._names.read(node, report)
        return name if isinstance(name, Invalid) else Weekday[name.upper()]

    def schema(self) -> Schema:
        return self._names.schema()


def _hours(text: str) -> Hours:
    start, end = text.split("-")
    # Midnight at the end is midnight at the start of the next day.
    return Hours(
        time.fromisoformat(start), time.fromisoformat(end.replace("24:", "00:"))
    )


def _time_zone(
    name: str, place: Location, report: ProblemCollector
) -> ZoneInfo | Invalid:
    try:
        if name not in _LOCAL_ZONES:
            return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        pass
    close = closest_match(name, available_timezones() - _LOCAL_ZONES)
    offer = f"did you mean {close}?" if close else "write one such as Europe/Berlin"
    message = f"unknown time zone {quote_for_message(name)}; {offer}"
    return report.error(place, message)


def _created(
    given: ParsedMapping, place: Location, report: ProblemCollector
) -> CreatedAt | Invalid:
    weekdays: tuple[Weekday, ...] = given.get("weekday", ())
    hours: Hours | None = given.get("hours")
    if not weekdays and hours is None:
        return report.error(place, "created names no weekday and no hours; name one")
    zone: ZoneInfo = given.get("timezone", ZoneInfo("UTC"))
    return CreatedAt(zone, str(zone.key), tuple(sorted(set(weekdays))), hours)


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
                Built(
                    String(
                        "hours such as '18:00-08:00'",
                        _HOURS,
                        "write HH:MM-HH:MM, from 00:00 to 24:00",
                    ),
                    _hours,
                ),
                "When on that day: the start included, the end not; across midnight"
                " where the end is not later than the start.",
            ),
            Field(
                "timezone",
                Mapped(String("a time zone such as Europe/Berlin"), _time_zone),
                "Whose clock, such as Europe/Berlin; UTC unless told otherwise.",
                title="Time zone",
            ),
        ),
        advice="write created: {weekday: [sat, sun], timezone: Europe/Berlin}",
    ),
    _created,
)
