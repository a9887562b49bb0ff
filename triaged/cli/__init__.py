"""The command line: a small module for each family of commands, imported when used."""

import importlib
import sys
from typing import Final

import click

from triaged import __version__
from triaged.cli import exit_codes
from triaged.errors import TriagedError
from triaged.text import escape_unprintable

# In the order of the help; each module holds a command of that name.
COMMAND_MODULES: Final = {
    "run": "run",
    "check": "check",
    "plan": "plan",
    "apply": "apply",
    "explain": "explain",
    "backtest": "backtest",
    "review": "review",
    "dismiss": "dismiss",
    "history": "history",
    "budget": "budget",
    "veto": "veto",
    "pause": "pause",
    "resume": "pause",
    "schema": "schema",
    "sandbox": "sandbox",
    "demo": "demo",
}


class LazyGroup(click.Group):
    """Imports the module of the one command that is asked for: a start costs less."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands in the order of the help."""
        del ctx
        return list(COMMAND_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name."""
        del ctx
        if cmd_name not in COMMAND_MODULES:
            return None
        module = importlib.import_module(f"triaged.cli.{COMMAND_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="triaged %(version)s")
def app() -> None:
    """Rule-based auto-triage of the pending Lexi tasks of a LeadLex workspace.

    In doubt it leaves a task alone; a dismissal cannot be undone.
    """


def main() -> None:
    """Run the command line; every error of ours is a message and an exit code."""
    try:
        app(prog_name="triaged")
    except TriagedError as error:
        # File names and messages may hold text from outside.
        lines = (escape_unprintable(line) for line in str(error).splitlines())
        sys.stderr.write("".join(f"triaged: {line}\n" for line in lines))
        sys.exit(exit_codes.exit_code_for(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough (``triaged history | head``).
        sys.stderr.close()
        sys.exit(exit_codes.FAILED)
