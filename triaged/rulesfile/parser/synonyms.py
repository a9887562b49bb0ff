"""Words of other rule languages, each with the word of this one."""

from collections.abc import Mapping
from typing import Final

Synonyms = Mapping[str, str]

_ANY: Final = "any: [first match, second match]"
_ALL: Final = "all: [first match, second match], or put the keys side by side"
_NOT: Final = "not: {a match}"
_OLDER: Final = "age: {over: 14d}"
_YOUNGER: Final = "age: {under: 14d}"
_WORDS: Final = "description: {words: [word, 'a phrase']}"
_REGEX: Final = "description: 'a pattern'"
_CREATED: Final = "created: {weekday: [sat, sun], timezone: Europe/Berlin}"

IN_MATCH: Final[Synonyms] = {
    **dict.fromkeys(("or", "any_of", "anyof", "one_of", "oneof", "either"), _ANY),
    **dict.fromkeys(("and", "all_of", "allof", "both", "every"), _ALL),
    **dict.fromkeys(("none_of", "noneof", "unless", "except", "exclude"), _NOT),
    **dict.fromkeys(("older_than", "min_age", "age_over", "older"), _OLDER),
    **dict.fromkeys(
        ("younger_than", "newer_than", "max_age", "age_under", "younger"), _YOUNGER
    ),
    **dict.fromkeys(("contains", "words", "keywords", "includes", "has"), _WORDS),
    **dict.fromkeys(("regex", "regexp", "pattern", "matches", "text", "title"), _REGEX),
    **dict.fromkeys(("weekday", "hours", "created_at", "created_on"), _CREATED),
    **dict.fromkeys(("types", "task_type"), "type: [one, two]"),
    **dict.fromkeys(("duplicates", "same_as"), "duplicate: {of: [type, description]}"),
    "status": "drop it: only pending tasks are looked at",
}

IN_AGE: Final[Synonyms] = {
    **dict.fromkeys(
        ("older_than", "more_than", "greater_than", "gt", "min", "above", "at_least"),
        "over: 14d",
    ),
    **dict.fromkeys(
        ("younger_than", "newer_than", "less_than", "lt", "max", "below", "at_most"),
        "under: 14d",
    ),
}

IN_OPERATORS: Final[Synonyms] = {
    **dict.fromkeys(
        ("contains", "includes", "has", "like", "keywords", "phrase"),
        "words: [word, 'a phrase'], or regex: 'a pattern'",
    ),
    **dict.fromkeys(("matches", "pattern", "regexp"), "regex: 'a pattern'"),
    **dict.fromkeys(
        ("one_of", "any_of", "oneof", "anyof", "is_in", "or"), "in: [first, second]"
    ),
    **dict.fromkeys(
        ("gt", "greater_than", "more_than", "above", "min", "gte", "ge", "at_least"),
        "over: 20, which is strict",
    ),
    **dict.fromkeys(
        ("lt", "less_than", "below", "max", "lte", "le", "at_most"),
        "under: 20, which is strict",
    ),
    **dict.fromkeys(("eq", "equal", "is", "exactly"), "equals: value"),
    **dict.fromkeys(
        ("not", "ne", "not_equals", "not_equal", "not_in", "is_not"),
        "not: {a match} around the whole condition",
    ),
    **dict.fromkeys(("absent", "is_null"), "missing: true"),
    **dict.fromkeys(("exists", "present"), "missing: false"),
    **dict.fromkeys(("empty", "is_empty"), "blank: true"),
}

IN_RULE: Final[Synonyms] = {
    **dict.fromkeys(("if", "when", "where", "conditions", "condition"), "match: {…}"),
    **dict.fromkeys(("then", "action", "reason"), "dismiss: REASON, or leave: true"),
    **dict.fromkeys(("keep", "ignore", "skip", "allow"), "leave: true"),
    **dict.fromkeys(("enabled", "disabled", "active"), "mode: off"),
    **dict.fromkeys(("comment", "description"), "note: a string"),
    "priority": "drop it: the rules are tried in the order of the file",
}

IN_TEST: Final[Synonyms] = {
    **dict.fromkeys(("others", "other", "tasks", "beside"), "other_tasks: [{…}]"),
    **dict.fromkeys(("lists", "file"), "files: {clients.txt: [first, second]}"),
}


def in_this_language(name: str, synonyms: Synonyms) -> str:
    """Return what to do instead with a word of another language; empty if unknown."""
    meant = synonyms.get(name.lower().replace("-", "_").replace(" ", "_"), "")
    return meant if not meant or meant.startswith("drop") else f"write {meant}"
