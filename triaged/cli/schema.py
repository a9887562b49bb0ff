"""``triaged schema``: the JSON Schema of the rules file, for editors."""

import click

from triaged.cli.output import say_json
from triaged.rulesfile.parser.file import json_schema


@click.command
def schema() -> None:
    """Print the JSON Schema of the rules file, for editors."""
    say_json(json_schema())
