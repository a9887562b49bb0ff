"""The shape of the tests inside a rules file."""

from typing import Any, Final, cast

from triaged.rules.task import DOCUMENTED_REASONS, Cause, Json
from triaged.rulesfile.document import Expectation, ListedTask, RuleTest
from triaged.rulesfile.parser.containers import (
    Field,
    Given,
    JsonValue,
    ListOf,
    Record,
    Then,
)
from triaged.rulesfile.parser.match import TYPE
from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar
from triaged.rulesfile.parser.references import Declared, Name, read_word
from triaged.rulesfile.parser.values import Duration, Moment, Schema, Text, expected
from triaged.rulesfile.problems import Bad, Place, Report, shown

_DECISIONS: Final = ("dismiss", "leave")
VISIBLE_CAUSES: Final = (
    Cause.NO_RULE,
    Cause.LEAVE_RULE,
    Cause.PROTECTED,
    Cause.NOT_PENDING,
    Cause.MALFORMED,
)


class _Metadata:
    """A task's metadata as the API would give it: any mapping, empty or not."""

    def read(self, node: Node, report: Report) -> "Json | Bad":
        if not isinstance(node, Mapping):
            return expected("a mapping", node, report)
        return JsonValue().read(node, report)

    def schema(self) -> Schema:
        return {"type": "object"}


_TASK: Final = Record(
    "a task",
    (
        Field("id", Text("an id", blank=True), "The task's id; any will do."),
        Field(
            "type",
            Name(TYPE.what, TYPE.kind, TYPE.documented, TYPE.advice, lenient=True),
            "The task's type.",
        ),
        Field("status", Text("a status"), "The task's status; pending by default."),
        Field("description", Text("a description", blank=True), "What it is about."),
        Field("created_at", Moment(), "When it was created; or give its age."),
        Field("age", Duration(), "How old it is at the moment of the test."),
        Field("metadata", _Metadata(), "Its metadata, as the API gives them."),
    ),
    advice="write task: {type: …, description: …}",
)


def _task(given: Given, _place: Place, report: Report) -> ListedTask | Bad:
    if "age" in given.values and "created_at" in given.values:
        message = "both age and created_at; they say the same, drop one"
        return report.error(given.places["age"], message)
    fields = {k: v for k, v in given.values.items() if k != "age"}
    if "created_at" in fields:
        fields["created_at"] = fields["created_at"].isoformat()
    return ListedTask(cast("dict[str, Json]", fields), given.get("age"))


class _Decision:
    """``dismiss`` (True) or ``leave`` (False)."""

    def read(self, node: Node, report: Report) -> bool | Bad:
        text = read_word("decision", _DECISIONS, node, report)
        return text if isinstance(text, Bad) else text == "dismiss"

    def schema(self) -> Schema:
        return {"enum": list(_DECISIONS)}


class _VisibleCause:
    """Why a task is left, as far as tests can see it."""

    def read(self, node: Node, report: Report) -> Cause | Bad:
        listed = node.value if isinstance(node, Scalar) else ""
        if listed in set(Cause) - set(VISIBLE_CAUSES):
            known = ", ".join(VISIBLE_CAUSES)
            why = "tests judge rules and protect, not caps, holds or min_age"
            message = f"no test can see {shown(listed)}: {why}; known: {known}"
            return report.error(node.place, message)
        text = read_word("cause", VISIBLE_CAUSES, node, report)
        return text if isinstance(text, Bad) else Cause(text)

    def schema(self) -> Schema:
        return {"enum": [cause.value for cause in VISIBLE_CAUSES]}


_RULE_NAME: Final = Name("rule", "rules")
_EXPECT: Final = Record(
    "what to expect",
    (
        Field("decision", _Decision(), "dismiss or leave.", required=True),
        Field("rule", _RULE_NAME, "Which rule decides."),
        Field(
            "reason",
            Name("reason", "reasons", DOCUMENTED_REASONS),
            "With which reason code it is dismissed.",
        ),
        Field("cause", _VisibleCause(), "Why it is left."),
        Field(
            "observed",
            ListOf("a list of rules", _RULE_NAME, empty=True),
            "Which rules in mode observe would have dismissed it: these and no others.",
        ),
    ),
    advice="write expect: {decision: dismiss} or {decision: leave}",
)


def _expectation(given: Given, _place: Place, report: Report) -> Expectation | Bad:
    dismiss: bool = given.get("decision")
    clash = "cause" if dismiss else "reason"
    if clash in given.places:
        decision = "dismiss" if dismiss else "leave"
        message = f"decision: {decision} has no {clash}; drop one of the two"
        return report.error(given.places[clash], message)
    if "rule" in given.places and given.get("cause", Cause.LEAVE_RULE) != "leave_rule":
        message = f"no rule decides when the cause is {given.get('cause')}; drop one"
        return report.error(given.places["rule"], message)
    asked = {k: v for k, v in given.values.items() if k != "decision"}
    return Expectation(dismiss=dismiss, **asked)


_ONE_TASK: Final = Then(_TASK, _task)
_TEST: Final = Record(
    "a test",
    (
        Field(
            "name",
            Declared("test", "tests", Text("a test name")),
            "What must be true; unique.",
            required=True,
        ),
        Field("now", Moment(), "The moment of the test; otherwise when it is run."),
        Field("task", _ONE_TASK, "The task that is judged.", required=True),
        Field(
            "others",
            ListOf("a list of tasks", _ONE_TASK),
            "Further tasks listed beside it, for duplicate.",
        ),
        Field(
            "expect",
            Then(_EXPECT, _expectation),
            "What must become of the task; only the keys given are compared.",
            required=True,
        ),
    ),
)


def _test(given: Given, place: Place, _report: Report) -> RuleTest:
    values: dict[str, Any] = given.values
    return RuleTest(place=place, expect_place=given.places["expect"], **values)


TEST: Final = Then(_TEST, _test)
