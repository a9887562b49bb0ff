"""The records of a fleet file, and its JSON Schema for editors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from triaged.fleet.fields import (
    Key,
    PollInterval,
    RulesPathType,
    Setting,
    check_labels,
    check_unique,
)
from triaged.quota import PLANS
from triaged.rules.task import Json
from triaged.rulesfile.parser.containers import (
    DictOf,
    Field,
    ListOf,
    Mapped,
    ParsedMapping,
    Record,
)
from triaged.rulesfile.parser.file import VERSION_FIELD, check_version
from triaged.rulesfile.parser.nodes import Node
from triaged.rulesfile.parser.scalars import Kind
from triaged.rulesfile.parser.values import Schema, String
from triaged.rulesfile.problems import INVALID, Invalid, Location, ProblemCollector
from triaged.setting_values import (
    parse_api_plan,
    parse_api_url,
    parse_count,
    parse_rate_limit,
    parse_share,
)

SCHEMA_ID: Final = "https://triaged.dev/schema/fleet-v1.json"
START: Final = "version: 1 and workspaces:"


@dataclass(frozen=True, slots=True)
class Entry:
    """A workspace as far as it could be read, and the places of its values."""

    index: int
    values: Mapping[str, Any]
    places: Mapping[str, Location]
    place: Location


@dataclass(frozen=True, slots=True)
class FleetDocument:
    """All that could be read of a fleet file."""

    defaults: Entry
    entries: tuple[Entry, ...]


_COUNT: Final[Schema] = {"type": "integer", "minimum": 1}
WORKSPACE_NAME: Final = String(
    "a workspace name",
    "[a-z0-9][a-z0-9-]{0,62}",
    "use a-z, 0-9 and -, at most 63 of them, the first no -",
)
_STRINGS: Final = frozenset({Kind.STRING})
_SETTINGS: Final = (
    Field(
        "api_url",
        Setting("a URL", parse_api_url, _STRINGS, {"type": "string", "format": "uri"}),
        "Base URL of the API; plain http only to loopback.",
        title="API URL",
    ),
    Field(
        "api_plan",
        Setting("a plan", parse_api_plan, _STRINGS, {"enum": list(PLANS)}),
        "The LeadLex plan; without it, the limits are learned from the answers.",
        title="API plan",
    ),
    Field(
        "daily_limit",
        Setting("an integer", parse_count, frozenset({Kind.INTEGER}), _COUNT),
        "Calls a day.",
    ),
    Field(
        "rate_limit",
        Setting(
            "calls and a duration such as 50/1m",
            parse_rate_limit,
            _STRINGS,
            {"type": "string", "pattern": "^[0-9]{1,9}/([0-9]{1,9}[smhdw])+$"},
        ),
        "Calls and the time they are for, such as 50/1m.",
    ),
    Field("poll_interval", PollInterval(), "Requested time between polls."),
    Field(
        "reserve",
        Setting(
            "a share such as 0.2",
            parse_share,
            frozenset({Kind.INTEGER, Kind.DECIMAL}),
            {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        ),
        "Share of the day's calls never spent.",
    ),
    Field(
        "rules",
        Mapped(
            ListOf(
                "a list of rules files",
                RulesPathType(),
                keep_valid=True,
                hint="write [base.yaml, acme.yaml]",
            ),
            check_unique,
        ),
        "The rules files, relative to the directory of the fleet, in order: rules are"
        " concatenated, protect adds up, the stricter limit wins, and all tests run on"
        " the whole. Required, here or in defaults.",
    ),
    Field(
        "key",
        Key(),
        "Where the API key is, never the key itself. Required, and no two workspaces"
        " have the same.",
        title="API key",
    ),
    Field(
        "labels",
        Mapped(
            DictOf(
                "a mapping of strings",
                String("a string"),
                hint="write labels: {region: eu}",
            ),
            check_labels,
        ),
        "Names and values to select workspaces by; those of defaults are kept beside.",
    ),
)
_SYNONYMS: Final = {
    **dict.fromkeys(
        ("api_key", "api_key_file", "key_file", "token", "secret", "password"),
        "key: {file: keys/acme} or key: {env: ACME_KEY}",
    ),
    **dict.fromkeys(("url", "base_url", "endpoint"), "api_url: https://…"),
    **dict.fromkeys(("plan",), "api_plan: pro"),
    **dict.fromkeys(("interval", "every"), "poll_interval: 5m"),
    **dict.fromkeys(("tags", "label"), "labels: {region: eu}"),
    **dict.fromkeys(("workspace", "id"), "name: acme"),
}
_DEFAULTS: Final = Record("a mapping of settings", _SETTINGS, synonyms=_SYNONYMS)
_WORKSPACE: Final = Record(
    "a workspace",
    (
        Field(
            "name",
            WORKSPACE_NAME,
            "A unique name: the label in metrics, logs and ledger.",
            required=True,
        ),
        *_SETTINGS,
    ),
    advice="write {name: acme, key: {file: keys/acme}}",
    synonyms=_SYNONYMS,
)
# The keys of a workspace.
KEYS: Final = frozenset(known.name for known in _WORKSPACE.fields)


class _Entry:
    """A workspace or the defaults, as far as it can be read."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def read(self, node: Node, report: ProblemCollector) -> Entry | Invalid:
        given: ParsedMapping | Invalid = self._record.read_partly(node, report)
        if isinstance(given, Invalid):
            return INVALID
        segment = node.place.trail[-1] if node.place.trail else None
        index = segment if isinstance(segment, int) else -1
        return Entry(index, given.values, given.locations, given.place)

    def schema(self) -> Schema:
        return self._record.schema()


_FILE: Final = Record(
    "a mapping with version and workspaces",
    (
        VERSION_FIELD,
        Field(
            "defaults",
            _Entry(_DEFAULTS),
            "Settings of the workspaces of this file that do not give their own.",
        ),
        Field(
            "workspaces",
            ListOf(
                "a list of workspaces",
                _Entry(_WORKSPACE),
                keep_valid=True,
                hint="put each workspace behind a dash",
            ),
            "The workspaces.",
            required=True,
        ),
    ),
    advice=f"write {START}",
)
_NO_DEFAULTS: Final = Entry(-1, {}, {}, Location(0, 0))


def read_fleet_file(node: Node, report: ProblemCollector) -> FleetDocument:
    """Read a fleet file as far as possible; the report has the problems.

    A ``ConfigError`` means that it is none, or of another version.
    """
    check_version(node, report)
    given = _FILE.read_partly(node, report)
    if isinstance(given, Invalid):
        report.abort()
    return FleetDocument(
        given.get("defaults", _NO_DEFAULTS), given.get("workspaces", ())
    )


def fleet_schema() -> dict[str, Json]:
    """Return the JSON Schema (2020-12) of a fleet file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Fleet of triaged, version 1",
        "description": "The workspaces of a fleet: settings, rules and keys of each.",
        **_FILE.schema(),
    }
