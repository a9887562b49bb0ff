"""The JSON Schema of fleet files, which editors check them with."""

from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from tests.yaml_json import as_json
from triaged.fleet.parser import fleet_schema
from triaged.rulesfile.parser.nodes import compose
from triaged.rulesfile.problems import ProblemCollector

TESTS: Final = Path(__file__).parents[1]


def schema_errors(path: Path) -> list[str]:
    node = compose(path.read_bytes(), ProblemCollector(path.name))
    validator = Draft202012Validator(fleet_schema())
    return [error.message for error in validator.iter_errors(as_json(node))]


@pytest.mark.parametrize(
    "path",
    [TESTS / "golden/commands/fleet/fleet.yaml", TESTS / "fixtures/fleet.yaml"],
    ids=lambda path: path.parent.name,
)
def test_the_schema_accepts_what_loads(path: Path) -> None:
    """Editors do not complain about good files."""
    assert schema_errors(path) == []


@pytest.mark.parametrize(
    "name",
    [
        "a_rules_file",
        "defaults_wrong",
        "key_as_name",
        "key_both",
        "key_in_a_list",
        "key_inline",
        "key_nested",
        "key_no_variable_name",
        "key_under_another_name",
        "labels_a_list",
        "name_in_defaults",
        "name_missing",
        "name_wrong",
        "not_a_workspace",
        "rules_a_string",
        "rules_empty",
        "unknown_key",
        "version_2",
        "version_missing",
        "workspaces_a_mapping",
        "workspaces_empty",
        "workspaces_missing",
    ],
)
def test_the_schema_refuses_what_does_not_load(name: str) -> None:
    """Editors find the mistakes that a schema can express."""
    assert schema_errors(TESTS / "rejects_fleet" / name / "fleet.yaml")


def test_the_schema_explains_every_key() -> None:
    """Each key has a description, and no record takes unknown ones."""
    schema = fleet_schema()
    Draft202012Validator.check_schema(schema)

    def walk(part: Any) -> None:
        if isinstance(part, list):
            for item in part:
                walk(item)
        if isinstance(part, dict):
            for key in part.get("properties", {}).values():
                assert key["description"].endswith(".")
                assert key["title"]
            if "properties" in part:
                assert part["additionalProperties"] is False
            for item in part.values():
                walk(item)

    walk(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
