"""Parses the tests in a rules file."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, cast

from triaged.rules.conditions import ListId
from triaged.rules.task import DOCUMENTED_REASONS, Json, LeaveCause, nfc
from triaged.rulesfile.document import Expectation, RuleTest, TestTask
from triaged.rulesfile.lists import ListContent
from triaged.rulesfile.parser.containers import (
    DictOf,
    Field,
    ListOf,
    Mapped,
    ParsedMapping,
    Record,
)
from triaged.rulesfile.parser.literals import JsonValue
from triaged.rulesfile.parser.match import TYPE
from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar
from triaged.rulesfile.parser.references import (
    REASON_CODE,
    RULE_NAME,
    NameDeclaration,
    NameReference,
    OneOf,
)
from triaged.rulesfile.parser.snippets import TEST as TEST_SNIPPETS
from triaged.rulesfile.parser.synonyms import IN_TEST
from triaged.rulesfile.parser.values import (
    Duration,
    Schema,
    String,
    Timestamp,
    report_unexpected,
)
from triaged.rulesfile.problems import (
    INVALID,
    Invalid,
    Location,
    ProblemCollector,
    quote_for_message,
    suggest,
)

TESTABLE_CAUSES: Final = (
    LeaveCause.NO_RULE,
    LeaveCause.LEAVE_RULE,
    LeaveCause.PROTECTED,
    LeaveCause.NOT_PENDING,
    LeaveCause.MALFORMED,
)


class _Metadata:
    """Task metadata as the API returns it: any mapping, possibly empty."""

    def read(self, node: Node, report: ProblemCollector) -> "Json | Invalid":
        if not isinstance(node, Mapping):
            return report_unexpected("a mapping", node, report)
        return JsonValue().read(node, report)

    def schema(self) -> Schema:
        return {"type": "object"}


_TASK: Final = Record(
    "a task",
    (
        Field(
            "id",
            String("an id", allow_blank=True),
            "The task's id; any will do.",
            title="Task id",
        ),
        Field("type", replace(TYPE, warn_only=True), "The task's type."),
        Field("status", String("a status"), "The task's status; pending by default."),
        Field(
            "description",
            String("a description", allow_blank=True),
            "What it is about.",
        ),
        Field(
            "created_at",
            Timestamp(),
            "When it was created; or give its age.",
            title="Created at",
        ),
        Field(
            "age",
            Duration(),
            "How old it is at the moment of the test.",
            title="Age at the moment of the test",
        ),
        Field("metadata", _Metadata(), "Its metadata, as the API gives them."),
    ),
    advice="write task: {type: …, description: …}",
)


def _task(
    given: ParsedMapping, _place: Location, report: ProblemCollector
) -> TestTask | Invalid:
    if "age" in given.values and "created_at" in given.values:
        message = "both age and created_at; they say the same, drop one"
        return report.error(given.locations["age"], message)
    fields = {k: v for k, v in given.values.items() if k != "age"}
    if "created_at" in fields:
        fields["created_at"] = fields["created_at"].isoformat()
    return TestTask(cast("dict[str, Json]", fields), given.get("age"))


class _TestableCause:
    """The cause for leaving a task; only those that a test can produce."""

    _causes = OneOf("cause", TESTABLE_CAUSES)

    def read(self, node: Node, report: ProblemCollector) -> LeaveCause | Invalid:
        listed = node.value if isinstance(node, Scalar) else ""
        if listed in set(LeaveCause) - set(TESTABLE_CAUSES):
            known = ", ".join(TESTABLE_CAUSES)
            why = "tests judge rules and protect, not caps, holds or min_age"
            message = (
                f"no test can see {quote_for_message(listed)}: {why}; known: {known}"
            )
            return report.error(node.place, message)
        return self._causes.read(node, report)

    def schema(self) -> Schema:
        return self._causes.schema()


_RULE_REFERENCE: Final = NameReference("rule", "rules", form=RULE_NAME)
_EXPECT: Final = Record(
    "what to expect",
    (
        Field(
            "decision",
            OneOf("decision", ("dismiss", "leave")),
            "dismiss or leave.",
            required=True,
        ),
        Field("rule", _RULE_REFERENCE, "Which rule decides."),
        Field(
            "reason",
            NameReference("reason", "reasons", DOCUMENTED_REASONS, form=REASON_CODE),
            "With which reason code it is dismissed.",
        ),
        Field("cause", _TestableCause(), "Why it is left."),
        Field(
            "observed",
            ListOf("a list of rules", _RULE_REFERENCE, allow_empty=True),
            "Which rules in mode observe would have dismissed it: these and no others.",
            title="Observing rules",
        ),
    ),
    advice="write expect: {decision: dismiss} or {decision: leave}",
)


def _expectation(
    given: ParsedMapping, _place: Location, report: ProblemCollector
) -> Expectation | Invalid:
    decision: str = given.get("decision")
    clash = "cause" if decision == "dismiss" else "reason"
    if clash in given.locations:
        message = f"decision: {decision} has no {clash}; drop one of the two"
        return report.error(given.locations[clash], message)
    if (
        "rule" in given.locations
        and given.get("cause", LeaveCause.LEAVE_RULE) != "leave_rule"
    ):
        message = f"no rule decides when the cause is {given.get('cause')}; drop one"
        return report.error(given.locations["rule"], message)
    asked = {k: v for k, v in given.values.items() if k != "decision"}
    return Expectation(dismiss=decision == "dismiss", **asked)


def _files(
    lists: dict[str, tuple[str, ...]], place: Location, report: ProblemCollector
) -> dict[ListId, tuple[str, ...]] | Invalid:
    """Return the entries that stand in for each list of one of these names."""
    ids = {name: list(_list_ids(name, place, report)) for name in lists}
    unknown = [name for name in lists if not ids[name]]
    for name in unknown:
        message = f"no rule reads a list from {quote_for_message(name)}"
        known = [name for named in report.lists.values() for name in named]
        report.error(place, f"{message}{suggest(name, known)}")
    if unknown:
        return INVALID
    return {
        each: tuple(map(nfc, entries))
        for name, entries in lists.items()
        for each in ids[name]
    }


def _list_ids(name: str, place: Location, report: ProblemCollector) -> Iterator[ListId]:
    """Yield the lists of this name: that of the test's own file, else of the others."""
    own = report.lists.get(place.file, {})
    named = [own] if name in own else report.lists.values()
    for content in (lists[name] for lists in named if name in lists):
        sha256 = content.sha256 if isinstance(content, ListContent) else ""
        yield name, sha256


_ONE_TASK: Final = Mapped(_TASK, _task)
_TEST: Final = Record(
    "a test",
    (
        Field(
            "name",
            NameDeclaration("test", "tests", String("a test name")),
            "What must be true; unique.",
            required=True,
        ),
        Field(
            "now",
            Timestamp(),
            "The moment of the test; otherwise when it is run.",
            title="Moment of the test",
        ),
        Field("task", _ONE_TASK, "The task that is judged.", required=True),
        Field(
            "other_tasks",
            ListOf("a list of tasks", _ONE_TASK),
            "Further tasks listed beside it, for duplicate.",
            title="Other tasks",
        ),
        Field(
            "files",
            Mapped(
                DictOf(
                    "a mapping of file names",
                    ListOf("a list of entries", String("an entry")),
                    hint="write files: {clients.txt: [first, second]}",
                ),
                _files,
            ),
            "Lists that stand in for the files of the rules in this test.",
            title="List files",
        ),
        Field(
            "expect",
            Mapped(_EXPECT, _expectation),
            "What must become of the task; only the keys given are compared.",
            title="Expected outcome",
            required=True,
        ),
    ),
    synonyms=IN_TEST,
    more=TEST_SNIPPETS,
)


def _test(given: ParsedMapping, place: Location, _report: ProblemCollector) -> RuleTest:
    values: dict[str, Any] = given.values
    return RuleTest(place=place, **values)


TEST: Final = Mapped(_TEST, _test)
