"""Two written forms of a rule: canonical JSON and an English sentence.

The JSON form uses the keys of the rules file. Rules with the same conditions have the
same form, so fingerprints are computed from it.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Final, assert_never

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Blank,
    Condition,
    CreatedAt,
    DescriptionIs,
    DuplicateOf,
    Equals,
    GreaterThan,
    In,
    Keep,
    Leaf,
    LessThan,
    ListFile,
    MetadataMatches,
    MetadataTest,
    Missing,
    Not,
    Regex,
    TypeIn,
    Words,
    conjuncts,
)
from triaged.rules.duration import format_duration
from triaged.rules.rule import Mode, Rule
from triaged.rules.task import Json, is_number


def rule_to_json(rule: Rule) -> dict[str, Json]:
    """Return a rule as JSON with all of its keys, including defaults."""
    return {
        "name": rule.name,
        "note": rule.note,
        "mode": rule.mode.value,
        "hold": format_duration(rule.hold),
        "max_per_day": rule.max_per_day,
        "promote": None if rule.promote is None else asdict(rule.promote),
        "audit": rule.audit,
        "match": condition_to_json(rule.match),
        **({"leave": True} if rule.reason is None else {"dismiss": rule.reason}),
    }


def rule_fingerprint(rule: Rule) -> str:
    """Return a SHA-256 (hex) of what a rule matches and what it does."""
    form = rule_to_json(rule)
    about = ("match", "dismiss", "leave")
    meaning: dict[str, Json] = {key: form[key] for key in about if key in form}
    return hashlib.sha256(canonical_json(meaning).encode()).hexdigest()


def canonical_json(value: Json) -> str:
    """Serialize JSON canonically: sorted keys, no spaces, equal numbers alike."""
    return json.dumps(_plain_numbers(value), sort_keys=True, separators=(",", ":"))


def condition_to_json(
    condition: Condition,
) -> dict[str, Json]:
    """Return a condition as a ``match`` mapping of the rules file."""
    match condition:
        case TypeIn(types):
            return {"type": list(types)}
        case DescriptionIs(test):
            return {"description": test_to_json(test)}
        case CreatedAt():
            return {"created": _created_to_json(condition)}
        case AgeBetween(over, under):
            bounds = {"over": over, "under": under}.items()
            return {"age": {k: format_duration(v) for k, v in bounds if v is not None}}
        case MetadataMatches(path, test):
            return {"metadata": {path: test_to_json(test)}}
        case DuplicateOf():
            return {"duplicate": _duplicate_to_json(condition)}
        case AllOf(parts):
            return {"all": [condition_to_json(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [condition_to_json(part) for part in parts]}
        case Not(part):
            return {"not": condition_to_json(part)}
        case _:
            assert_never(condition)


def test_to_json(test: MetadataTest) -> dict[str, Json]:
    """Return a value test as a mapping of the rules file."""
    match test:
        case Equals(value):
            return {"equals": value}
        case In(values, file):
            return {"in": _entries_to_json(values, file)}
        case Words(phrases, file):
            return {"words": _entries_to_json(phrases, file)}
        case Blank(expected):
            return {"blank": expected}
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


def _created_to_json(condition: CreatedAt) -> dict[str, Json]:
    form: dict[str, Json] = {"timezone": condition.timezone}
    if condition.weekdays:
        form["weekday"] = [day.name.lower() for day in condition.weekdays]
    if condition.hours is not None:
        form["hours"] = str(condition.hours)
    return form


def _duplicate_to_json(condition: DuplicateOf) -> dict[str, Json]:
    form: dict[str, Json] = {"of": list(condition.of), "keep": condition.keep.value}
    if condition.ignore:
        form["ignore"] = [one.value for one in condition.ignore]
    if condition.similarity is not None:
        form["similarity"] = condition.similarity
    return form


def _entries_to_json(entries: Sequence[Json], file: ListFile | None) -> Json:
    if file is None:
        return list(entries)
    return {"file": file.name, "sha256": file.sha256}


def _plain_numbers(value: Json) -> Json:
    """Replace 20.0 by 20: every condition treats them as the same number."""
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if is_number(value) and value == int(value):
        return int(value)
    return value


# --- as a sentence ------------------------------------------------------------------

# By the numbers of ``Weekday``.
_DAYS: Final = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)
_UNITS: Final = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
# For longer lists the sentence gives the count, not the entries.
_LISTED: Final = 8


def rule_to_sentence(rule: Rule) -> str:
    """Describe a rule in one English sentence."""
    tasks = _tasks(rule.match, "a task")
    if rule.reason is None:
        said = [f"Leave to people {tasks}, and every task of which this is unknown."]
    else:
        said = [f"Dismiss as {rule.reason} {tasks}."]
    if rule.hold:
        said.append(f"This must have been so for {_duration(rule.hold)}.")
    if rule.max_per_day is not None:
        said.append(f"At most {rule.max_per_day} a day.")
    if rule.mode is Mode.OBSERVE:
        said.append("For now it is only recorded what the rule would do.")
    if rule.mode is Mode.OFF:
        said.append("The rule is switched off.")
    return " ".join(said)


def _tasks(condition: Condition, noun: str) -> str:
    """Describe the tasks that match a condition, as a noun with its qualifiers."""
    clauses: list[str] = []
    exceptions: list[str] = []
    # The type becomes the noun, so it comes first wherever the match has it.
    parts = sorted(conjuncts(condition), key=lambda one: not isinstance(one, TypeIn))
    for part in parts:
        match part:
            case TypeIn(types) if noun in {"a task", "one"}:
                noun = f"{_article(types[0])} {_joined(types)}"
            case AnyOf(options):
                either = _joined([_tasks(option, "one") for option in options])
                clauses.append(f"that is either {either}")
            case Not(AnyOf(options)):
                exceptions.append(_joined([_tasks(one, "one") for one in options]))
            case Not(inner):
                exceptions.append(_tasks(inner, "one"))
            case _:
                clauses.append(_clause(part))
    limits = f" {_joined(clauses, 'and')}" if clauses else ""
    return f"{noun}{limits}" + "".join(f", except {one}" for one in exceptions)


def _clause(leaf: Leaf) -> str:
    match leaf:
        case TypeIn(types):
            return f"of type {_joined(types)}"
        case DescriptionIs(test):
            return f"whose description {_test_to_words(test)}"
        case AgeBetween(over, under):
            bounds = [f"older than {_duration(over)}"] if over is not None else []
            bounds += [f"younger than {_duration(under)}"] if under is not None else []
            return " but ".join(bounds)
        case CreatedAt():
            return _created_to_words(leaf)
        case MetadataMatches(path, test):
            return f"whose metadata.{path} {_test_to_words(test)}"
        case DuplicateOf():
            return _duplicate_to_words(leaf)
        case _:
            assert_never(leaf)


def _test_to_words(test: MetadataTest) -> str:
    match test:
        case Equals(value):
            return f"is {json.dumps(value, ensure_ascii=False)}"
        case In(values, file):
            return f"is {_some_of(values, file, 'entries')}"
        case Regex(patterns):
            return f"matches {_joined([f'/{p.source}/' for p in patterns])}"
        case Words(phrases, file):
            return f"contains {_some_of(phrases, file, 'words or phrases')}"
        case Blank(expected):
            return "is blank" if expected else "is not blank"
        case GreaterThan(bound):
            return f"is over {bound}"
        case LessThan(bound):
            return f"is under {bound}"
        case Missing(expected):
            return "is missing" if expected else "is not missing"
        case _:
            assert_never(test)


def _created_to_words(condition: CreatedAt) -> str:
    said = "created"
    if condition.weekdays:
        said += f" on {_joined([_DAYS[day] for day in condition.weekdays])}"
    if (hours := condition.hours) is not None:
        said += f" from {hours.start:%H:%M} until before {hours.end:%H:%M}"
    return f"{said} by the clock of {condition.timezone}"


def _duplicate_to_words(condition: DuplicateOf) -> str:
    age = "older" if condition.keep is Keep.OLDEST else "newer"
    said = f"that has the same {' and '.join(condition.of)} as {_article(age)} {age}"
    said += " pending task"
    if condition.similarity is not None:
        said += f" (descriptions at least {condition.similarity:.0%} alike)"
    if condition.ignore:
        said += f", not counting {' and '.join(condition.ignore)}"
    return said


def _some_of(values: Sequence[Json], file: ListFile | None, what: str) -> str:
    if file is not None:
        return f"one of the {len(values)} {what} of {file.name}"
    if len(values) > _LISTED:
        return f"one of {len(values)} {what}"
    return _joined([json.dumps(value, ensure_ascii=False) for value in values])


def _joined(options: Sequence[str], word: str = "or") -> str:
    *first, last = options
    return f"{', '.join(first)} {word} {last}" if first else last


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _duration(duration: timedelta) -> str:
    parts = re.findall(r"([0-9]+)([dhms])", format_duration(duration))
    named = [f"{n} {_UNITS[unit]}{'' if n == '1' else 's'}" for n, unit in parts]
    return " and ".join(named)
