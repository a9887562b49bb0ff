"""``triaged init``: a small rules file to start with, and its schema."""

import json
from pathlib import Path
from typing import Final

import click

from triaged.cli.output import echo
from triaged.errors import os_reason
from triaged.rulesfile.parser.file import json_schema

RULES: Final = "rules.yaml"
SCHEMA: Final = "rules.schema.json"
TEMPLATE: Final = Path(__file__).with_name("init.rules.yaml")


@click.command
@click.option(
    "--dir",
    "directory",
    metavar="D",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where to write; made if it is missing [default: here].",
)
def init(*, directory: Path) -> None:
    """Write the rules file and its schema, and name the next commands."""
    rules, schema = directory / RULES, directory / SCHEMA
    for path in (rules, schema):
        if path.exists() or path.is_symlink():
            raise click.UsageError(f"{path} exists already; init never overwrites")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _create(rules, TEMPLATE.read_text(encoding="utf-8"))
        _create(schema, json.dumps(json_schema(), indent=2) + "\n")
    except OSError as error:
        why = os_reason(error)
        raise click.UsageError(f"{error.filename or directory}: {why}") from error
    echo(f"{rules}: three rules that only observe, with tests")
    echo(f"{schema}: for editors that check YAML\n")
    echo("Next:")
    echo(f"  triaged check {rules}    check the rules and run their tests")
    echo(f"  triaged plan --rules {rules}    show what they want now (1 API call)")
    echo(f"  triaged run --rules {rules}    observe, and dismiss nothing")


def _create(path: Path, text: str) -> None:
    """Create a file; raise if it exists, even if it was created just now."""
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)
