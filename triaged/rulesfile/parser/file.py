"""The whole rules file as one shape, and its schema for editors."""

from typing import Final

from triaged.rules.rule import Mode, Rule, Safety
from triaged.rules.task import DOCUMENTED_REASONS, DOCUMENTED_TYPES, Json
from triaged.rulesfile.document import Draft, PlacedMatch, PlacedRule
from triaged.rulesfile.parser.containers import Field, Given, ListOf, Record, Then
from triaged.rulesfile.parser.match import MATCH, WHOLE_MATCH
from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar
from triaged.rulesfile.parser.references import Choice, Declared, Name
from triaged.rulesfile.parser.scalars import Kind, describe, kind_at
from triaged.rulesfile.parser.tests import TEST
from triaged.rulesfile.parser.values import (
    Duration,
    Flag,
    Number,
    Schema,
    Text,
    Whole,
    expected,
)
from triaged.rulesfile.problems import BAD, Bad, Place, Report

SCHEMA_ID: Final = "https://triaged.dev/schema/rules-v1.json"
VERSION: Final = 1
_UNLIMITED: Final = "no value means unlimited; 0 dismisses nothing"


class _Version:
    """The number of the format, which is 1."""

    def read(self, node: Node, report: Report) -> int | Bad:
        is_number = isinstance(node, Scalar) and kind_at(node) is Kind.WHOLE
        if is_number and isinstance(node, Scalar) and node.value == str(VERSION):
            return VERSION
        return expected(str(VERSION), node, report, f"write version: {VERSION}")

    def schema(self) -> Schema:
        return {"const": VERSION}


_SAFETY: Final = Record(
    "a mapping of caps",
    (
        Field(
            "max_dismissals_per_cycle",
            Whole(0, advice=_UNLIMITED),
            "Dismiss at most so many tasks in one cycle; the rest waits. Default 25.",
        ),
        Field(
            "max_dismissals_per_day",
            Whole(0, advice=_UNLIMITED),
            "Dismiss at most so many tasks in one UTC day. Default 200.",
        ),
        Field(
            "max_share_of_pending",
            Number(0, 1, decimal=True, advice="0.5 is one half"),
            "When the rules want more than this share of all pending tasks, and more"
            " than 20, nothing is dismissed. Default 0.5.",
        ),
        Field(
            "min_age",
            Duration(),
            "Younger tasks are left to people. Default 10m.",
        ),
    ),
)


def _safety(given: Given, _place: Place, _report: Report) -> Safety:
    return Safety(**given.values)


_RULE: Final = Record(
    "a rule",
    (
        Field(
            "name",
            Declared(
                "rule",
                "rules",
                Text(
                    "a rule name",
                    "[a-z0-9-]{1,63}",
                    "use a-z, 0-9 and -, at most 63 of them",
                ),
            ),
            "A unique name of a-z, 0-9 and -; it becomes a metric label.",
            required=True,
        ),
        Field("note", Text("a note"), "Who asked for the rule, and why."),
        Field(
            "mode",
            Choice("mode", tuple(Mode)),
            "enforce (default); observe: recorded and counted, never dismissed; off.",
        ),
        Field(
            "hold",
            Duration(),
            "The match must have held for so long, in every cycle, before it acts.",
        ),
        Field(
            "max_per_day",
            Whole(0, advice=_UNLIMITED),
            "Dismiss at most so many tasks by this rule in one UTC day.",
        ),
        Field("match", MATCH, "Which tasks the rule is about.", required=True),
        Field(
            "dismiss",
            Name(
                "reason",
                "reasons",
                DOCUMENTED_REASONS,
                advice="other codes must be declared in reasons",
            ),
            "Dismiss the tasks, with this reason code.",
        ),
        Field(
            "leave",
            Flag(only_true=True),
            "Leave the tasks to people; later rules do not see them.",
        ),
    ),
    more={"oneOf": [{"required": ["dismiss"]}, {"required": ["leave"]}]},
)


class _Rule:
    """A rule: the record above, and what its keys must not say together."""

    def read(self, node: Node, report: Report) -> PlacedRule | Bad:
        given = _RULE.read_partly(node, report)
        if isinstance(given, Bad):
            return BAD
        sound = _check_outcome(given, report)
        if not given.complete or not sound:
            return BAD
        rule = Rule(
            reason=given.get("dismiss"),
            **{k: v for k, v in given.values.items() if k not in {"dismiss", "leave"}},
        )
        return PlacedRule(rule, given.place, given.places["match"])

    def schema(self) -> Schema:
        return _RULE.schema()


def _check_outcome(given: Given, report: Report) -> bool:
    dismisses, leaves = "dismiss" in given.places, "leave" in given.places
    if dismisses and leaves:
        message = "both dismiss and leave; a rule does one of them, drop the other"
        report.error(given.places["leave"], message)
    if not dismisses and not leaves and not given.meant & {"dismiss", "leave"}:
        message = "neither dismiss nor leave; write dismiss: REASON or leave: true"
        report.error(given.place, message)
    useless = [name for name in ("hold", "max_per_day") if name in given.places]
    for name in useless if leaves and not dismisses else ():
        message = f"a rule that leaves has no use for {name}; drop it"
        report.error(given.places[name], message)
    return dismisses != leaves and not (leaves and useless)


def _placed(condition: object, place: Place, _report: Report) -> PlacedMatch:
    return PlacedMatch(condition, place)  # type: ignore[arg-type]


_FILE: Final = Record(
    "a mapping with version and rules",
    (
        Field("version", _Version(), "The format of this file: 1.", required=True),
        Field(
            "task_types",
            ListOf(
                "a list of task types",
                Text("a task type"),
                empty=True,
                advice="write [one, two]",
            ),
            "Task types that rules may name beyond the documented ones: "
            + ", ".join(DOCUMENTED_TYPES)
            + ".",
        ),
        Field(
            "reasons",
            ListOf(
                "a list of reason codes",
                Text(
                    "a reason code",
                    "[a-z0-9_]{1,64}",
                    "use a-z, 0-9 and _, at most 64 of them",
                ),
                empty=True,
                advice="write [one, two]",
            ),
            "Reason codes that rules may give beyond the documented ones: "
            + ", ".join(DOCUMENTED_REASONS)
            + ".",
        ),
        Field(
            "safety",
            Then(_SAFETY, _safety),
            "Belts, all on by default; a cap of 0 dismisses nothing.",
        ),
        Field(
            "protect",
            ListOf(
                "a list of matches",
                Then(MATCH, _placed),
                partial=True,
                advice="put each match behind a dash, or in [ ]",
            ),
            "Matches; a task that one of them holds for, or cannot be judged by, is"
            " never dismissed.",
        ),
        Field(
            "rules",
            ListOf(
                "a list of rules",
                _Rule(),
                partial=True,
                advice="put each rule behind a dash",
            ),
            "The rules, in order; the first enforced rule that holds decides.",
            required=True,
        ),
        Field(
            "tests",
            ListOf(
                "a list of tests",
                TEST,
                partial=True,
                advice="put each test behind a dash",
            ),
            "Tests, run by check, at start and at every reload. They judge rules and"
            " protect, not caps, holds or min_age.",
        ),
    ),
    advice="write version: 1 and rules:",
)


def read_file(node: Node, report: Report) -> Draft:
    """Read the whole file as far as possible.

    Raises:
        ConfigError: it is no rules file, or of another format.
    """
    _check_version(node, report)
    report.names["rules"] = {}
    report.names["types"] = dict.fromkeys(DOCUMENTED_TYPES)
    report.names["reasons"] = dict.fromkeys(DOCUMENTED_REASONS)
    _declare(node, report)
    given = _FILE.read_partly(node, report)
    if isinstance(given, Bad):
        report.stop()
    return Draft(**{k: v for k, v in given.values.items() if k != "version"})


def _check_version(node: Node, report: Report) -> None:
    """Check the version before all else: another format has other mistakes."""
    pairs = node.pairs if isinstance(node, Mapping) else ()
    for key, value in pairs:
        if isinstance(key, Scalar) and key.value == "version":
            other = isinstance(value, Scalar) and kind_at(value) is Kind.WHOLE
            if other and isinstance(value, Scalar) and value.value != str(VERSION):
                message = f"expected {VERSION}, found {describe(value)}"
                advice = "this program reads format 1 only"
                report.error(value.place, f"{message}; {advice}")
                report.stop()


def _declare(node: Node, report: Report) -> None:
    """Learn the file's own types and reasons before anything names them."""
    pairs = node.pairs if isinstance(node, Mapping) else ()
    for kind, field in (("types", "task_types"), ("reasons", "reasons")):
        shape = next(known.shape for known in _FILE.fields if known.name == field)
        for key, value in pairs:
            if not isinstance(key, Scalar) or key.value != field:
                continue
            # Complaints are made when the key is read in its turn.
            names = shape.read(value, Report(report.file))
            known = report.names[kind] or {}
            report.names[kind] = (
                None if isinstance(names, Bad) else known | dict.fromkeys(names)
            )


def json_schema() -> dict[str, Json]:
    """Return the JSON Schema (2020-12) of the rules file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Rules of triaged, version 1",
        "description": "Which pending Lexi tasks to dismiss, and why.",
        **_FILE.schema(),
        "$defs": {"match": WHOLE_MATCH.schema()},
    }
