"""Rules and conditions in one canonical JSON form, in the words of the rules file.

Two rules that mean the same by the same conditions have the same form, whatever their
classes are called and however the file is laid out: fingerprints are taken from it.
"""

import hashlib
import json
from typing import assert_never

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    DescriptionMatches,
    DuplicateOf,
    Equals,
    GreaterThan,
    In,
    LessThan,
    MetadataMatches,
    MetadataTest,
    Missing,
    Not,
    Regex,
    TypeIn,
)
from triaged.rules.duration import format_duration
from triaged.rules.rule import Rule
from triaged.rules.task import Json, is_number


def rule_to_json(rule: Rule) -> dict[str, Json]:
    """Return a rule with every key that it has, defaults included."""
    action: dict[str, Json] = (
        {"leave": True} if rule.reason is None else {"dismiss": rule.reason}
    )
    return {
        "name": rule.name,
        "note": rule.note,
        "mode": rule.mode.value,
        "hold": format_duration(rule.hold),
        "max_per_day": rule.max_per_day,
        "match": condition_to_json(rule.match),
        **action,
    }


def rule_fingerprint(rule: Rule) -> str:
    """Return a SHA-256 of which tasks a rule means and what it does with them."""
    form = rule_to_json(rule)
    meaning: dict[str, Json] = {
        key: value
        for key, value in form.items()
        if key in {"match", "dismiss", "leave"}
    }
    return hashlib.sha256(canonical_json(meaning).encode()).hexdigest()


def canonical_json(value: Json) -> str:
    """Write JSON in one way: keys sorted, no spaces, equal numbers alike."""
    return json.dumps(_plain_numbers(value), sort_keys=True, separators=(",", ":"))


def condition_to_json(condition: Condition) -> dict[str, Json]:
    """Return a condition as a match of the rules file says it."""
    match condition:
        case TypeIn(types):
            return {"type": list(types)}
        case DescriptionMatches(patterns):
            return {"description": {"regex": [p.source for p in patterns]}}
        case AgeBetween(over, under):
            bounds = (("over", over), ("under", under))
            given = {k: format_duration(v) for k, v in bounds if v is not None}
            return {"age": {**given}}
        case MetadataMatches(path, test):
            return {"metadata": {path: test_to_json(test)}}
        case DuplicateOf(of, keep):
            return {"duplicate": {"of": list(of), "keep": keep.value}}
        case AllOf(parts):
            return {"all": [condition_to_json(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [condition_to_json(part) for part in parts]}
        case Not(part):
            return {"not": condition_to_json(part)}
        case _:
            assert_never(condition)


def test_to_json(test: MetadataTest) -> dict[str, Json]:
    """Return a test of a value as the rules file says it."""
    match test:
        case Equals(value):
            return {"equals": value}
        case In(values):
            return {"in": list(values)}
        case Regex(patterns):
            return {"regex": [pattern.source for pattern in patterns]}
        case GreaterThan(bound):
            return {"over": bound}
        case LessThan(bound):
            return {"under": bound}
        case Missing(expected):
            return {"missing": expected}
        case _:
            assert_never(test)


def _plain_numbers(value: Json) -> Json:
    """Write 20.0 as 20: both are the same number to every condition."""
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if is_number(value) and value == int(value):
        return int(value)
    return value
