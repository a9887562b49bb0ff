"""What an editor inserts for a key, a rule or a test, as ``defaultSnippets``.

The texts are in the syntax of snippets: ``${1:text}`` is a place to fill in, and
``${1|a,b|}`` one with choices.
"""

from collections.abc import Mapping
from typing import Final

from triaged.rules.task import DOCUMENTED_REASONS, DOCUMENTED_TYPES, Json

Snippets = Mapping[str, Json]


def _one_of_types(place: int) -> str:
    return f"${{{place}|{','.join(DOCUMENTED_TYPES)}|}}"


def _word(place: int) -> str:
    """Return the pattern of a word; in a snippet a backslash is written twice."""
    return rf"'(?i)\\b${{{place}:word}}\\b'"


IN_MATCH: Final[Snippets] = {
    "type": _one_of_types(1),
    "description": _word(1),
    "created": {"weekday": "[${1:sat, sun}]", "timezone": "${2:Europe/Berlin}"},
    "age": {"over": "${1:14d}"},
    "metadata": {"${1:key}": "${2:value}"},
    "duplicate": {"of": "[${1:type, description}]", "keep": "${2|oldest,newest|}"},
    "all": [{"type": _one_of_types(1)}, {"description": _word(2)}],
    "any": [{"type": _one_of_types(1)}, {"description": _word(2)}],
    "not": {"description": _word(1)},
}

IN_OPERATORS: Final[Snippets] = {
    "equals": "${1:value}",
    "in": "[${1:first, second}]",
    "regex": _word(1),
    "words": "[${1:word, another word}]",
    "blank": "${1|true,false|}",
    "over": "${1:0}",
    "under": "${1:100}",
    "missing": "${1|true,false|}",
}


def _snippet(label: str, description: str, body: Json) -> Json:
    return {"label": label, "description": description, "body": body}


def _example(name: str, body: Json) -> Json:
    return _snippet(f"{name}: example", f"An example of {name}, to be changed.", body)


def for_key(name: str, snippets: Snippets) -> dict[str, Json]:
    """Return the snippet of a key, if it has one: an example of its value."""
    if name not in snippets:
        return {}
    return {"defaultSnippets": [_example(name, snippets[name])]}


def examples(snippets: Snippets) -> dict[str, Json]:
    """Return the snippets of the keys with nested values; editors insert the others."""
    listed = [
        _example(name, {name: body})
        for name, body in snippets.items()
        if not isinstance(body, str)
    ]
    return {"defaultSnippets": listed} if listed else {}


_MATCH: Final[Json] = {"type": _one_of_types(2), "description": _word(3)}

RULE: Final[dict[str, Json]] = {
    "defaultSnippets": [
        _snippet(
            "rule that dismisses",
            "A rule that only observes; without `mode: observe` it dismisses.",
            {
                "name": "${1:rule-name}",
                "mode": "observe",
                "match": _MATCH,
                "dismiss": f"${{4|{','.join(DOCUMENTED_REASONS)}|}}",
            },
        ),
        _snippet(
            "rule that leaves",
            "A rule that leaves tasks to people; later rules do not see them.",
            {"name": "${1:rule-name}", "match": _MATCH, "leave": True},
        ),
    ]
}


def _test(outcome: str, description: str, **expect: Json) -> Json:
    body: Json = {
        "name": "${1:what must be true}",
        "task": {"type": _one_of_types(2), "description": "${3:its text}"},
        "expect": {**expect},
    }
    return _snippet(f"test: {outcome}", description, body)


TEST: Final[dict[str, Json]] = {
    "defaultSnippets": [
        _test(
            "dismissed",
            "A task that a rule must dismiss.",
            decision="dismiss",
            rule="${4:rule-name}",
        ),
        _test("left", "A task that must be left to people.", decision="leave"),
        _test(
            "observed",
            "A task that a rule in mode observe would dismiss.",
            decision="leave",
            observed="[${4:rule-name}]",
        ),
    ]
}
