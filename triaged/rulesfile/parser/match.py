"""The match language: parses the nodes of a match into a condition."""

from typing import Final

from triaged.rules.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DuplicateOf,
    Ignore,
    Keep,
    Not,
    TypeIn,
)
from triaged.rules.task import DOCUMENTED_TYPES
from triaged.rulesfile.parser.containers import (
    Built,
    Field,
    ListOf,
    Mapped,
    OneOrMany,
    ParsedMapping,
    Record,
    Ref,
)
from triaged.rulesfile.parser.nodes import Node, Sequence
from triaged.rulesfile.parser.operators import METADATA, DescriptionType
from triaged.rulesfile.parser.references import NameReference, OneOf
from triaged.rulesfile.parser.snippets import IN_MATCH as MATCH_SNIPPETS
from triaged.rulesfile.parser.synonyms import IN_MATCH
from triaged.rulesfile.parser.times import AGE, CREATED
from triaged.rulesfile.parser.values import (
    Number,
    Schema,
    String,
    explain,
    report_unexpected,
)
from triaged.rulesfile.problems import (
    Invalid,
    Location,
    ProblemCollector,
    quote_for_message,
    suggest,
)

TYPE: Final = NameReference(
    "task type",
    "types",
    DOCUMENTED_TYPES,
    hint="other types must be declared in task_types",
)
# Task fields that can be compared as text; all pending tasks have the same status.
_COMPARABLE: Final = ("type", "description", "metadata.…")


class _FieldPath:
    """A text field of a task: type, description, or a path into the metadata."""

    def read(self, node: Node, report: ProblemCollector) -> str | Invalid:
        path = String("a field").read(node, report)
        if isinstance(path, Invalid):
            return path
        top, _, rest = path.partition(".")
        if path in {"type", "description"}:
            return path
        if top == "metadata" and all(part.strip() for part in rest.split(".")):
            return path
        if top == "metadata":
            why = "it is no text; name a key in it: metadata.campaign_id"
        elif path in {"id", "status", "created_at"}:
            why = "it tells equal tasks nothing; use type, description or metadata.…"
        else:
            why = suggest(path, _COMPARABLE).removeprefix("; ")
        return report.error(
            node.place, f"cannot compare {quote_for_message(path)}: {why}"
        )

    def schema(self) -> Schema:
        pattern = r"^(type|description|metadata(\.[^.]+)+)$"
        schema: Schema = {"type": "string", "pattern": pattern}
        return schema | explain("expected type, description or metadata.KEY")


_DUPLICATE: Final = Record(
    "a mapping with of, and keep, ignore or similarity if you like",
    (
        Field(
            "of",
            ListOf("a list of fields", _FieldPath(), hint="write [type, description]"),
            "Fields whose texts must be equal: type, description, metadata.….",
            title="Compared fields",
            required=True,
        ),
        Field(
            "keep",
            OneOf("task to keep", tuple(Keep)),
            "Which of several equal tasks stays; the oldest unless told otherwise.",
            title="Task to keep",
        ),
        Field(
            "ignore",
            OneOrMany("numbers or punctuation", OneOf("part", tuple(Ignore))),
            "What of the description does not count: numbers, punctuation.",
            title="Ignored parts",
        ),
        Field(
            "similarity",
            Number(0.7, 1, decimal=True, hint="0.9 is nine tenths"),
            "How alike descriptions must be, from 0.7 to 1; equal unless given.",
        ),
    ),
    advice="write duplicate: {of: [type, description]}",
)


def _duplicate(
    given: ParsedMapping, place: Location, report: ProblemCollector
) -> DuplicateOf | Invalid:
    of: tuple[str, ...] = given.get("of")
    twice = [path for index, path in enumerate(of) if path in of[:index]]
    if twice:
        return report.error(
            place, f"of names {quote_for_message(twice[0])} twice; once will do"
        )
    for key in ("ignore", "similarity"):
        if key in given.locations and "description" not in of:
            message = f"{key} is about descriptions; add description to of, or drop it"
            return report.error(given.locations[key], message)
    ignore: tuple[Ignore, ...] = given.get("ignore", ())
    return DuplicateOf(
        of,
        given.get("keep", Keep.OLDEST),
        tuple(one for one in Ignore if one in ignore),
        given.get("similarity"),
    )


class _NotType:
    """The one match under ``not``."""

    def read(self, node: Node, report: ProblemCollector) -> Not | Invalid:
        if isinstance(node, Sequence):
            advice = "write not: {any: […]} or not: {all: […]}"
            return report_unexpected("one match", node, report, advice)
        part = MATCH_REF.read(node, report)
        return part if isinstance(part, Invalid) else Not(part)

    def schema(self) -> Schema:
        # Beside a bare $ref the language server drops the type and the snippet.
        return {"type": "object", "allOf": [MATCH_REF.schema()]}


def _all_of_keys(given: ParsedMapping) -> Condition:
    """Combine the conditions of one match by AND, in the order of the file."""
    parts: list[Condition] = []
    for value in given.values.values():
        parts.extend(value if isinstance(value, tuple) else (value,))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


# A reference to the match type, which is defined below because it is recursive.
MATCH_REF: Final[Ref[Condition]] = Ref("match", lambda: MATCH_TYPE)

_MATCHES: Final[ListOf[Condition]] = ListOf(
    "a list of matches", MATCH_REF, hint="put each match behind a dash, or in [ ]"
)

MATCH_TYPE: Final[Built[ParsedMapping, Condition]] = Built(
    Record(
        "a match",
        (
            Field(
                "type",
                Built(OneOrMany("a task type", TYPE), TypeIn),
                "The task's type: one, or a list of which any will do.",
                title="Task type",
            ),
            Field(
                "description",
                DescriptionType(),
                "An RE2 pattern that occurs in the description, or a list of which any"
                " will do; case counts unless the pattern starts with (?i). Or text"
                " operators (regex, words, equals, blank) that all must hold.",
            ),
            Field(
                "created",
                CREATED,
                "When it was created by a local clock, such as {weekday: [sat, sun]}.",
                title="Time of creation",
            ),
            Field(
                "age", AGE, "How long ago the task was created, such as {over: 14d}."
            ),
            Field(
                "metadata",
                METADATA,
                "Metadata keys or dotted paths, each with a value or with operators"
                " (equals, in, regex, words, blank, over, under, missing) that all must"
                " hold.",
            ),
            Field(
                "duplicate",
                Mapped(_DUPLICATE, _duplicate),
                "Another pending task has the same texts, and is the one to keep.",
                title="Duplicate of a pending task",
            ),
            Field(
                "all",
                Built(_MATCHES, AllOf),
                "Matches that all must hold.",
                title="All of these",
            ),
            Field(
                "any",
                Built(_MATCHES, AnyOf),
                "Matches of which one must hold.",
                title="Any of these",
            ),
            Field("not", _NotType(), "A match that must not hold.", title="Not this"),
        ),
        advice="write keys such as type: or description:",
        synonyms=IN_MATCH,
        snippets=MATCH_SNIPPETS,
    ),
    _all_of_keys,
)
