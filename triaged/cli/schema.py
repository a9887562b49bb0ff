"""``triaged schema``: the JSON Schema of rules and fleet files, for editors."""

import click

from triaged.cli.output import echo_json
from triaged.fleet.parser import fleet_schema
from triaged.rulesfile.parser.file import json_schema


@click.command
@click.option("--fleet", is_flag=True, help="Print the schema of fleet files instead.")
def schema(*, fleet: bool) -> None:
    """Print the JSON Schema of the rules file, or of fleet files, for editors."""
    echo_json(fleet_schema() if fleet else json_schema())
