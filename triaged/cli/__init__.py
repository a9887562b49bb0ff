"""The command line: a small module for each family of commands, imported when used."""

import importlib
import sys
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from triaged import __version__
from triaged.cli import exits
from triaged.errors import TriagedError
from triaged.printable import printable

# In the order of the help; each module holds a function of the command's name.
MODULES: Final = {
    "run": "run",
    "check": "rules",
    "plan": "tasks",
    "explain": "tasks",
    "history": "history",
    "schema": "rules",
    "sandbox": "sandbox",
    "demo": "demo",
}


class _Commands(TyperGroup):
    """Imports the module of the one command that is asked for: a start costs less."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - click's own type
        del ctx
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        del ctx
        if cmd_name not in MODULES:
            return None
        module = importlib.import_module(f"triaged.cli.{MODULES[cmd_name]}")
        one = typer.Typer(
            add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
        )
        one.command(cmd_name, context_settings=_CONTEXT)(getattr(module, cmd_name))
        return typer.main.get_command(one)


_CONTEXT: Final = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="triaged",
    cls=_Commands,
    help=(
        "Rule-based auto-triage of the pending Lexi tasks of a LeadLex workspace. "
        "In doubt it leaves a task alone; a dismissal cannot be undone."
    ),
    no_args_is_help=True,
    # A traceback with local variables would show the API key.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=_CONTEXT,
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - the shape of a typer callback
    if wanted:
        typer.echo(f"triaged {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Take the flags that come before a command."""
    del version


def main() -> None:
    """Run the command line; every error of ours is a message and an exit code."""
    try:
        app()
    except TriagedError as error:
        # File names and messages may hold text from outside.
        lines = (printable(line) for line in str(error).splitlines())
        sys.stderr.write("".join(f"triaged: {line}\n" for line in lines))
        sys.exit(exits.code_for(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough (``triaged history | head``).
        sys.stderr.close()
        sys.exit(exits.FAILED)
