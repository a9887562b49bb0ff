"""What editors get from the schema: titles, messages, and snippets that load."""

import re
from typing import Any, Final

import pytest

from tests.builders import T0
from triaged.rules.task import Json
from triaged.rulesfile.loader import LoadedRules, parse, run_tests
from triaged.rulesfile.parser import snippets
from triaged.rulesfile.parser.file import json_schema

_PLACE: Final = re.compile(r"\$\{\d+(?::([^}]*)|\|([^,|]*)[^|]*\|)\}")
RULE: Final[dict[str, Json]] = {
    "name": "rule-name",
    "match": {"type": "prospect_search"},
}


def written(body: Json) -> str:
    """Return what is in the file when each place is left as it was offered."""
    match body:
        case dict():
            inner = (f"{written(key)}: {written(item)}" for key, item in body.items())
            return f"{{{', '.join(inner)}}}"
        case list():
            return f"[{', '.join(map(written, body))}]"
        case bool():
            return str(body).lower()
        case _:
            text = _PLACE.sub(lambda place: place[1] or place[2], str(body))
            return text.replace(r"\\", "\\")


def loaded(rule: Json, *tests: Json) -> LoadedRules:
    rules, listed = written([rule]), written(list(tests))
    text = f"version: 1\nrules: {rules}\ntests: {listed}\n"
    return parse((text if tests else text.rpartition("tests:")[0]).encode(), "r.yaml")


def bodies(schema: Any) -> dict[str, Json]:
    return {each["label"]: each["body"] for each in schema["defaultSnippets"]}


def all_keys(part: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return each key of the schema with what it says about it."""
    if isinstance(part, list):
        return [key for item in part for key in all_keys(item)]
    if not isinstance(part, dict):
        return []
    below = [key for item in part.values() for key in all_keys(item)]
    return [*part.get("properties", {}).items(), *below]


def all_patterns(part: Any) -> list[dict[str, Any]]:
    """Return each part of the schema that has a pattern."""
    items = part.values() if isinstance(part, dict) else part
    if not isinstance(part, dict | list):
        return []
    found = [pattern for item in items for pattern in all_patterns(item)]
    return [part, *found] if isinstance(part, dict) and "pattern" in part else found


def test_every_key_has_a_title() -> None:
    """Editors show a heading of their own for each key."""
    keys = all_keys(json_schema())

    assert len(keys) > 50
    assert all(re.fullmatch("[A-Z][a-z ]+", about["title"]) for _, about in keys)


def test_every_pattern_has_a_message() -> None:
    """An editor says what is expected, never a regular expression."""
    patterns = all_patterns(json_schema())

    assert {"^[a-z0-9-]{1,63}$", "^[a-z0-9_]{1,64}$", "^([0-9]{1,9}[smhdw])+$"} <= {
        part["pattern"] for part in patterns
    }
    assert all(part["patternErrorMessage"][:9] == "expected " for part in patterns)


@pytest.mark.parametrize("name", snippets.IN_MATCH)
def test_the_snippet_of_a_condition_loads(name: str) -> None:
    """Each key of a match has one, and it is a condition as it stands."""
    about: Any = json_schema()["$defs"]
    properties = about["match"]["properties"]
    (body,) = bodies(properties[name]).values()

    assert set(snippets.IN_MATCH) == set(properties)
    assert loaded({**RULE, "match": {name: body}, "leave": True}).ruleset.rules


@pytest.mark.parametrize("name", snippets.IN_OPERATORS)
def test_the_snippet_of_an_operator_loads(name: str) -> None:
    """Each operator of a metadata value has one, and it is one as it stands."""
    match: Json = {"metadata": {"key": {name: snippets.IN_OPERATORS[name]}}}

    assert loaded({**RULE, "match": match, "leave": True}).ruleset.rules


def test_the_snippets_of_a_rule_load() -> None:
    """A rule that dismisses begins by observing; the other one leaves."""
    rules = bodies(snippets.RULE)

    dismisses = loaded(rules["rule that dismisses"]).ruleset.rules[0]
    leaves = loaded(rules["rule that leaves"]).ruleset.rules[0]

    assert (dismisses.mode, dismisses.reason) == ("observe", "not_relevant")
    assert leaves.reason is None


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        ("test: dismissed", {"dismiss": "testing"}),
        ("test: left", {"leave": True}),
        ("test: observed", {"mode": "observe", "dismiss": "testing"}),
    ],
)
def test_the_snippets_of_a_test_pass(label: str, rule: dict[str, Json]) -> None:
    """Each test passes with a rule that does what its label says."""
    body = bodies(snippets.TEST)[label]

    assert run_tests(loaded({**RULE, **rule}, body), now=T0).failures == ()
