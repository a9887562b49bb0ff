"""The rules file: what it means once it is read."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from tests.builders import T0
from tests.yaml_json import as_json
from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Condition,
    DescriptionIs,
    DuplicateOf,
    Equals,
    GreaterThan,
    In,
    Keep,
    LessThan,
    MetadataMatches,
    Missing,
    Not,
    Regex,
    TypeIn,
)
from triaged.rules.patterns.re2_pattern import compile_pattern
from triaged.rules.rule import Mode, SafetyLimits
from triaged.rulesfile.loader import LoadedRules, load, parse, run_tests
from triaged.rulesfile.parser.file import json_schema
from triaged.rulesfile.parser.nodes import compose
from triaged.rulesfile.problems import ProblemCollector

HERE: Final = Path(__file__).parent
EXAMPLE: Final = HERE.parents[1] / "rules.example.yaml"
CONTRACT: Final = HERE / "test_rulesfile_contract.yaml"


def rules(text: str) -> LoadedRules:
    return parse(f"version: 1\n{text}".encode(), "rules.yaml")


def match(text: str) -> Condition:
    """Return what a match means; among dismiss rules it would have to be narrow."""
    loaded = rules(f"rules:\n  - name: one\n    leave: true\n    match: {text}\n")
    return loaded.ruleset.rules[0].match


def pattern(source: str) -> DescriptionIs:
    return DescriptionIs(Regex((compile_pattern(source),)))


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("{type: campaign_start}", TypeIn(("campaign_start",))),
        (
            "{type: [campaign_start, contact_update]}",
            TypeIn(("campaign_start", "contact_update")),
        ),
        ("{description: foo}", pattern("foo")),
        (
            r"{description: ['a\b', 'no']}",
            DescriptionIs(Regex((compile_pattern(r"a\b"), compile_pattern("no")))),
        ),
        ("{age: {over: 1d12h}}", AgeBetween(timedelta(hours=36), None)),
        (
            "{age: {under: 2w, over: 0s}}",
            AgeBetween(timedelta(0), timedelta(weeks=2)),
        ),
        ("{metadata: {source: api}}", MetadataMatches("source", Equals("api"))),
        ("{metadata: {a.b: {equals: 1.5}}}", MetadataMatches("a.b", Equals(1.5))),
        ("{metadata: {vip: true}}", MetadataMatches("vip", Equals(value=True))),
        ("{metadata: {num: -20}}", MetadataMatches("num", Equals(-20))),
        ("{metadata: {num: '1.10'}}", MetadataMatches("num", Equals("1.10"))),
        (
            "{metadata: {num: {equals: {a: [1, null]}}}}",
            MetadataMatches("num", Equals({"a": [1, None]})),
        ),
        (
            "{metadata: {num: {in: [1, a, 'no']}}}",
            MetadataMatches("num", In((1, "a", "no"))),
        ),
        (
            "{metadata: {q: {regex: ceo}}}",
            MetadataMatches("q", Regex((compile_pattern("ceo"),))),
        ),
        (
            "{metadata: {q: {regex: [a, b]}}}",
            MetadataMatches("q", Regex((compile_pattern("a"), compile_pattern("b")))),
        ),
        (
            "{metadata: {num: {missing: false}}}",
            MetadataMatches("num", Missing(expected=False)),
        ),
        (
            "{metadata: {num: {over: 1, under: 2.50}, max: x}}",
            AllOf(
                (
                    MetadataMatches("num", GreaterThan(1)),
                    MetadataMatches("num", LessThan(2.5)),
                    MetadataMatches("max", Equals("x")),
                )
            ),
        ),
        ("{duplicate: {of: [type]}}", DuplicateOf(("type",), Keep.OLDEST)),
        (
            "{duplicate: {of: [metadata.a.b, description], keep: newest}}",
            DuplicateOf(("metadata.a.b", "description"), Keep.NEWEST),
        ),
        ("{not: {description: foo}}", Not(pattern("foo"))),
        (
            "{any: [{description: a}, {description: b}]}",
            AnyOf((pattern("a"), pattern("b"))),
        ),
        (
            "{all: [{description: a}, {not: {description: b}}]}",
            AllOf((pattern("a"), Not(pattern("b")))),
        ),
        (
            "{description: a, type: campaign_start, not: {description: b}}",
            AllOf((pattern("a"), TypeIn(("campaign_start",)), Not(pattern("b")))),
        ),
    ],
)
def test_a_match_is_a_condition(text: str, condition: Condition) -> None:
    """Keys are ANDed in the order of the file; one key stands alone."""
    assert match(text) == condition


def test_booleans_and_numbers_stay_apart() -> None:
    """A bare true is a boolean and 1 a number, though Python thinks them equal."""
    assert repr(match("{metadata: {num: true}}")) != repr(match("{metadata: {num: 1}}"))


def test_a_rule_has_defaults() -> None:
    """Enforced, without hold and cap, unless the file says otherwise."""
    (rule,) = rules(
        "rules:\n  - {name: one, match: {description: foo}, dismiss: testing}\n"
    ).ruleset.rules

    assert (rule.mode, rule.hold, rule.max_per_day) == (
        Mode.ENFORCE,
        timedelta(0),
        None,
    )
    assert (rule.reason, rule.note) == ("testing", "")


def test_a_rule_says_how_far_it_goes() -> None:
    """Mode, hold, cap, note and reason come from the file; a cap of 0 is a cap."""
    (rule,) = rules(
        "reasons: [gone]\n"
        "rules:\n  - {name: one, note: Ann, mode: 'off', hold: 24h, max_per_day: 0,"
        " match: {description: foo}, dismiss: gone}\n"
    ).ruleset.rules

    assert (rule.mode, rule.hold, rule.max_per_day) == (
        Mode.OFF,
        timedelta(days=1),
        0,
    )
    assert (rule.reason, rule.note) == ("gone", "Ann")


@pytest.mark.parametrize("mode", ["off", "'off'", '"off"'])
def test_a_rule_can_be_off(mode: str) -> None:
    """Off is a word of this language, whatever else it is to YAML."""
    loaded = rules(
        f"rules:\n  - {{name: one, mode: {mode},"
        " match: {description: foo}, dismiss: testing}\n"
    )

    assert loaded.ruleset.rules[0].mode is Mode.OFF


def test_safety_is_on_by_default() -> None:
    """What the file does not loosen keeps its default."""
    text = "rules: [{name: one, match: {description: foo}, dismiss: testing}]\n"

    assert rules(text).ruleset.safety == SafetyLimits()
    assert rules(
        "safety: {max_dismissals_per_day: 0, max_share_of_pending: 1, min_age: 1h}\n"
        + text
    ).ruleset.safety == SafetyLimits(
        max_dismissals_per_day=0, max_share_of_pending=1, min_age=timedelta(hours=1)
    )


def test_declared_names_are_known_wherever_they_stand() -> None:
    """Types and reasons may be declared after the rules that name them."""
    loaded = rules(
        "rules: [{name: one, match: {type: audit}, dismiss: gone}]\n"
        "task_types: [audit]\nreasons: [gone, testing]\n"
    )

    assert loaded.reasons[-1] == "gone"
    assert loaded.reasons.count("testing") == 1


def test_the_loaded_rules_know_their_file() -> None:
    """The hash is of the bytes, the text is the file's, a byte order mark is none."""
    data = (
        "\ufeffversion: 1\nrules: [{name: one, match: {description: é}, leave: true}]\n"
    )

    loaded = parse(data.encode(), "rules.yaml")

    assert loaded.ruleset.sha256 == hashlib.sha256(data.encode()).hexdigest()
    assert loaded.source == data.removeprefix("\ufeff")
    assert loaded.file == "rules.yaml"


def test_the_example_is_fit_to_be_copied() -> None:
    """It loads without a warning, its tests pass, and editors find its schema."""
    loaded = load(EXAMPLE)

    assert loaded.warnings == ()
    assert run_tests(loaded, now=T0).failures == ()
    assert loaded.source.startswith("# yaml-language-server: $schema=")


def test_the_example_passes_at_any_time() -> None:
    """Its tests do not depend on when they are run."""
    loaded = load(EXAMPLE)

    for year in (1990, 2026, 2090):
        moment = datetime(year, 2, 28, 23, 59, tzinfo=UTC)
        assert run_tests(loaded, now=moment).failures == ()


def test_the_contract_holds() -> None:
    """The file in the documentation loads and passes; two entries lack a test."""
    loaded = load(CONTRACT)

    assert [rule.name for rule in loaded.ruleset.rules] == [
        "test-clutter",
        "abandoned-searches",
        "asked-twice",
        "campaigns-are-for-people",
    ]
    assert run_tests(loaded, now=T0).passed == 3
    assert [warning.path for warning in loaded.warnings] == ["protect[0]", "rules[2]"]


def schema_errors(path: Path) -> list[str]:
    node = compose(path.read_bytes(), ProblemCollector(path.name))
    assert node is not None
    validator = Draft202012Validator(json_schema())
    return [error.message for error in validator.iter_errors(as_json(node))]


@pytest.mark.parametrize("path", [EXAMPLE, CONTRACT], ids=lambda path: path.stem)
def test_the_schema_accepts_what_loads(path: Path) -> None:
    """Editors do not complain about good files."""
    assert schema_errors(path) == []


@pytest.mark.parametrize(
    "name",
    [
        "unknown_key",
        "unknown_key_at_top",
        "unknown_key_in_match",
        "version_quoted",
        "rules_empty",
        "match_empty",
        "match_a_list",
        "name_bad",
        "neither_dismiss_nor_leave",
        "both_dismiss_and_leave",
        "leave_false",
        "mode_unknown",
        "hold_without_unit",
        "max_per_day_negative",
        "max_per_day_null",
        "safety_share_above_one",
        "reason_code_bad",
        "type_empty_list",
        "description_a_number",
        "age_a_duration",
        "metadata_list",
        "metadata_null",
        "metadata_unknown_operator",
        "duplicate_of_metadata",
        "duplicate_keep_unknown",
        "any_with_empty_match",
        "not_a_list",
        "test_without_decision",
        "test_invisible_cause",
    ],
)
def test_the_schema_refuses_what_does_not_load(name: str) -> None:
    """Editors find the mistakes that a schema can express."""
    assert schema_errors(HERE.parent / "rejects" / f"{name}.yaml")


def test_the_schema_explains_every_key() -> None:
    """Each key has a description, and no record takes unknown ones."""
    schema = json_schema()
    Draft202012Validator.check_schema(schema)

    def walk(part: Any) -> None:
        if isinstance(part, list):
            for item in part:
                walk(item)
        if isinstance(part, dict):
            for key in part.get("properties", {}).values():
                assert key["description"].endswith(".") or ":" in key["description"]
            if "properties" in part:
                assert part["additionalProperties"] is False
            for item in part.values():
                walk(item)

    walk(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_thousand_rules_load() -> None:
    """A large file is read, and each of its rules is a rule."""
    body = "".join(
        f"  - name: r{i}\n"
        f"    match: {{type: list_operation, description: 'word{i}'}}\n"
        "    dismiss: testing\n"
        for i in range(1000)
    )

    assert len(rules("rules:\n" + body).ruleset.rules) == 1000
