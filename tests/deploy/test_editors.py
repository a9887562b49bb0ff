"""The schema in an editor: the real yaml-language-server, as editors run it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from tests.deploy.external_tools import need_program, need_tool
from tests.deploy.language_server import LanguageServer, running
from triaged.cli import app
from triaged.cli.init import RULES

pytestmark = pytest.mark.deploy

MODELINE: Final = "# yaml-language-server: $schema=rules.schema.json\n"
MISTAKES: Final = f"""{MODELINE}version: 1
reasons: [No Longer Needed]
rules:
  - name: Test Clutter
    mode: observing
    match: {{descripton: test}}
    dismiss: testing
  - name: old-searches
    hold: 48
    match: {{type: prospect_search, age: 30d}}
    dismiss: outdated!
  - name: no-action
    match:
      created: {{hours: 9-17}}
  - match: {{duplicate: {{of: [id]}}}}
    leave: true
"""
_DURATION: Final = "expected a duration such as 90s, 36h, 14d or 1d12h; units are"
_REASONS: Final = '"not_relevant", "manual_execution", "incorrect_params", "duplicate"'
FOUND: Final = [
    (3, "expected a reason code; use a-z, 0-9 and _, at most 64 of them"),
    (5, "expected a rule name; use a-z, 0-9 and -, at most 63 of them"),
    (6, 'Value is not accepted. Valid values: "enforce", "observe", "off".'),
    (7, "Property descripton is not allowed."),
    (10, f"{_DURATION} s, m, h, d and w"),
    (11, 'Incorrect type. Expected "Age".'),
    (12, f'Value is not accepted. Valid values: {_REASONS}, "testing".'),
    (13, "neither dismiss nor leave; write dismiss: REASON or leave: true"),
    (
        15,
        "expected hours such as '18:00-08:00'; write HH:MM-HH:MM, from 00:00 to 24:00",
    ),
    (16, 'Missing property "name".'),
    (16, "expected type, description or metadata.KEY"),
]
IN_RULE: Final = f"{MODELINE}version: 1\nrules:\n  - name: one\n    leave: true\n"
PLACE: Final = re.compile(r"\$\{\d+(?::([^}]*)|\|([^,|]*)[^|]*\|)\}")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the files that init writes."""
    made = tmp_path_factory.mktemp("editor")
    done = CliRunner().invoke(app, ["init", "--dir", str(made)])
    assert done.exit_code == 0, done.output
    return made


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[LanguageServer]:
    """Run the language server in that directory."""
    program = need_tool("node_modules/.bin/yaml-language-server")
    with running([need_program("node"), program, "--stdio"], directory) as server:
        yield server


def completions(server: LanguageServer, name: str, text: str) -> dict[str, str]:
    """Return what is offered at the end of a text: labels, and what they insert."""
    server.open(name, text)
    lines = text.split("\n")
    offered = server.at("completion", name, len(lines) - 1, len(lines[-1]))
    return {item["label"]: item["insertText"] for item in offered["items"]}


def inserted(text: str, snippet: str) -> str:
    """Insert a snippet as an editor does, and accept what it offers in each place."""
    indent = " " * len(text.rpartition("\n")[2].replace("- ", ""))
    plain = PLACE.sub(lambda place: place[1] or place[2], snippet)
    return text + plain.replace(r"\\", "\\").replace("\n", f"\n{indent}") + "\n"


def problems(found: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Return the line of each problem, counted from 1, and its message."""
    return sorted((p["range"]["start"]["line"] + 1, p["message"]) for p in found)


def test_the_file_of_init_has_no_problem(
    server: LanguageServer, directory: Path
) -> None:
    """Its first line names the schema beside it, and the server accepts the file."""
    text = (directory / RULES).read_text()

    assert text.startswith(MODELINE)
    assert server.open(RULES, text) == []


def test_typical_mistakes(server: LanguageServer) -> None:
    """Each is found in its line, with words that say what to write instead."""
    assert problems(server.open("mistakes.yaml", MISTAKES)) == sorted(FOUND)


def test_keys_and_conditions_are_offered(server: LanguageServer) -> None:
    """In a match: each key, and an example of each that takes several lines."""
    nested = ("created", "age", "metadata", "duplicate", "all", "any", "not")
    offered = completions(server, "match.yaml", f"{IN_RULE}    match:\n      ")

    examples = {f"{name}: example" for name in nested}
    assert set(offered) == {"type", "description", *nested, *examples}
    assert offered["age: example"] == "age:\n  over: ${1:14d}"
    assert offered["type"].startswith("type: ${1|prospect_search,")


@pytest.mark.parametrize("key", ["type", "description", "age: example", "any: example"])
def test_an_inserted_condition_has_no_problem(server: LanguageServer, key: str) -> None:
    """What the server inserts for a condition is one that it accepts."""
    before = f"{IN_RULE}    match:\n      "
    name = f"{key.partition(':')[0]}.yaml"
    offered = completions(server, f"before-{name}", before)

    assert server.open(name, inserted(before, offered[key])) == []


@pytest.mark.parametrize(
    ("label", "before"),
    [
        ("rule that dismisses", "rules:\n  - "),
        ("rule that leaves", "rules:\n  - "),
        ("test: dismissed", "rules: []\ntests:\n  - "),
        ("test: left", "rules: []\ntests:\n  - "),
        ("test: observed", "rules: []\ntests:\n  - "),
    ],
)
def test_a_rule_and_a_test_are_offered(
    server: LanguageServer, label: str, before: str
) -> None:
    """Behind a dash the server offers a whole rule or test, and accepts it."""
    name = f"{label.replace(' ', '-').replace(':', '')}.yaml"
    text = f"{MODELINE}version: 1\n{before}"
    offered = completions(server, f"before-{name}", text)
    after = inserted(text, offered[label]).replace("rules: []\n", "")

    assert problems(server.open(name, after)) == (
        [(2, 'Missing property "rules".')] if "tests:" in after else []
    )


def test_a_key_is_explained(server: LanguageServer) -> None:
    """Hovering over a key shows its title and what it is for."""
    server.open("hover.yaml", f"{IN_RULE}    hold: 2d\n")

    shown = server.at("hover", "hover.yaml", 5, 5)["contents"]["value"]

    assert shown.startswith("#### Hold before dismissing\n\nThe match must have held")
