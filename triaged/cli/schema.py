"""``triaged schema``: the JSON Schema of the rules file, for editors."""

import click

from triaged.cli.output import echo_json
from triaged.rulesfile.parser.file import json_schema


@click.command
def schema() -> None:
    """Print the JSON Schema of the rules file, for editors."""
    echo_json(json_schema())
