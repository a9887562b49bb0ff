"""Parses one rule: its match, its action, and how its keys may be combined."""

from typing import Final

from triaged.rules.rule import Mode, Promotion, Rule
from triaged.rules.task import DOCUMENTED_REASONS
from triaged.rulesfile.document import LocatedRule
from triaged.rulesfile.parser.containers import Built, Field, ParsedMapping, Record
from triaged.rulesfile.parser.match import MATCH_REF
from triaged.rulesfile.parser.nodes import Node
from triaged.rulesfile.parser.references import (
    REASON_CODE,
    RULE_NAME,
    NameDeclaration,
    NameReference,
    OneOf,
)
from triaged.rulesfile.parser.snippets import RULE as RULE_SNIPPETS
from triaged.rulesfile.parser.synonyms import IN_RULE
from triaged.rulesfile.parser.values import Boolean, Duration, Number, Schema, String
from triaged.rulesfile.problems import INVALID, Invalid, ProblemCollector

UNLIMITED_HINT: Final = "no value means unlimited; 0 dismisses nothing"
_NO_ACTION: Final = "neither dismiss nor leave; write dismiss: REASON or leave: true"
_PROMOTE: Final = Record(
    "a mapping with agreement and tasks",
    (
        Field(
            "agreement",
            Number(0, 1, decimal=True, hint="0.9 is nine tenths"),
            "The least agreement with people, by the lower end of its interval.",
            title="Least agreement",
            required=True,
        ),
        Field(
            "tasks",
            Number(1),
            "How many observed tasks people must have settled.",
            title="Settled tasks",
            required=True,
        ),
    ),
    advice="write promote: {agreement: 0.9, tasks: 40}",
)


_RULE: Final = Record(
    "a rule",
    (
        Field(
            "name",
            NameDeclaration("rule", "rules", RULE_NAME),
            "A unique name of a-z, 0-9 and -; it becomes a metric label.",
            required=True,
        ),
        Field("note", String("a note"), "Who asked for the rule, and why."),
        Field(
            "mode",
            OneOf("mode", tuple(Mode)),
            "enforce (default); observe: recorded and counted, never dismissed; off.",
        ),
        Field(
            "hold",
            Duration(),
            "The match must have held for so long, in every cycle, before it acts.",
            title="Hold before dismissing",
        ),
        Field(
            "max_per_day",
            Number(0, hint=UNLIMITED_HINT),
            "Dismiss at most this many tasks by this rule in one UTC day.",
        ),
        Field(
            "promote",
            Built(_PROMOTE, lambda given: Promotion(**given.values)),
            "Begin to act once people agreed with what the rule observed.",
            title="Promotion",
        ),
        Field(
            "audit",
            Number(0, 1, decimal=True, hint="0.05 is one in twenty"),
            "Once it acts, this share of its matches is left to people, to judge it.",
            title="Audited share",
        ),
        Field("match", MATCH_REF, "Which tasks the rule is about.", required=True),
        Field(
            "dismiss",
            NameReference(
                "reason",
                "reasons",
                DOCUMENTED_REASONS,
                hint="other codes must be declared in reasons",
                form=REASON_CODE,
            ),
            "Dismiss the tasks, with this reason code.",
            title="Dismiss with this reason",
        ),
        Field(
            "leave",
            Boolean(must_be_true=True),
            "Leave the tasks to people; later rules do not see them.",
            title="Leave to people",
        ),
    ),
    synonyms=IN_RULE,
    more={
        "oneOf": [
            {"required": ["dismiss"], "errorMessage": _NO_ACTION},
            {"required": ["leave"], "errorMessage": _NO_ACTION},
        ],
        **RULE_SNIPPETS,
    },
)


class RuleType:
    """A rule, with checks of how its keys may be combined."""

    def read(self, node: Node, report: ProblemCollector) -> LocatedRule | Invalid:
        given = _RULE.read_partly(node, report)
        if isinstance(given, Invalid):
            return given
        if not _check_action(given, report) or not given.complete:
            return INVALID
        rule = Rule(
            reason=given.get("dismiss"),
            **{k: v for k, v in given.values.items() if k not in {"dismiss", "leave"}},
        )
        return LocatedRule(rule, given.place, given.locations["match"])

    def schema(self) -> Schema:
        return _RULE.schema()


_FOR_DISMISSALS: Final = ("hold", "max_per_day", "promote", "audit")


def _check_action(given: ParsedMapping, report: ProblemCollector) -> bool:
    dismisses, leaves = "dismiss" in given.locations, "leave" in given.locations
    if dismisses and leaves:
        message = "both dismiss and leave; a rule does one of them, drop the other"
        report.error(given.locations["leave"], message)
    if not dismisses and not leaves and not given.suggested_keys & {"dismiss", "leave"}:
        report.error(given.place, _NO_ACTION)
    useless = [name for name in _FOR_DISMISSALS if name in given.locations]
    for name in useless if leaves and not dismisses else ():
        message = f"a rule that leaves has no use for {name}; drop it"
        report.error(given.locations[name], message)
    return dismisses != leaves and not (leaves and useless)
