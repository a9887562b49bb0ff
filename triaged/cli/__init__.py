"""The command line: one module per group of commands, imported on first use."""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Final

import click

from triaged import __version__
from triaged.cli import exit_codes, streams
from triaged.cli import help as help_texts
from triaged.errors import TriagedError
from triaged.text import escape_unprintable

# Maps each command name to the module that defines it, in the order of the help.
COMMAND_MODULES: Final = {
    name: {"resume": "pause", "demote": "promote"}.get(name, name)
    for name in help_texts.COMMANDS
}


class LazyGroup(click.Group):
    """Imports only the module of the requested command, for a faster start."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMAND_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMAND_MODULES:
            return None
        module = importlib.import_module(f"triaged.cli.{COMMAND_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        command.help = help_texts.COMMANDS[cmd_name]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMAND_MODULES and not name.startswith("-"):
            import difflib  # noqa: PLC0415 - only for mistyped names

            near = difflib.get_close_matches(name, COMMAND_MODULES, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands with whole sentences, which click would truncate."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, help_texts.summary(name)) for name in COMMAND_MODULES]
            )


@click.group(
    cls=LazyGroup,
    help=help_texts.APP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="triaged %(version)s")
def app() -> None:
    """Stand for all commands."""


def main() -> None:
    """Run the command line; a ``TriagedError`` becomes a message and an exit code."""
    streams.prepare_streams()
    code = _run()
    try:
        streams.flush_output()
    except streams.OutputError as error:
        code = _report(error)
    streams.discard_output()
    sys.exit(code)


def _run() -> int:
    try:
        _refuse_undecodable(sys.argv[1:])
        _check_completion(os.environ)
        code = app(prog_name="triaged", standalone_mode=False)
    except SystemExit as error:
        return exit_codes.code_of_end(error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _print_error("Aborted.", exit_codes.FAILED)
    except TriagedError as error:
        return _report(error)
    return code if isinstance(code, int) else exit_codes.OK


def _report(error: TriagedError) -> int:
    return _print_error(str(error), exit_codes.exit_code_for(error))


def _print_error(text: str, code: int) -> int:
    # File names and messages may contain external text.
    lines = (escape_unprintable(line) for line in text.splitlines())
    sys.stderr.write("".join(f"triaged: {line}\n" for line in lines))
    return code


def _refuse_undecodable(arguments: list[str]) -> None:
    """Reject arguments that are not valid text: they can be neither stored nor sent."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(argument).decode("utf-8", "backslashreplace")
            raise click.UsageError(
                f"this argument is not valid UTF-8: {shown}"
            ) from None


def _check_completion(environ: Mapping[str, str]) -> None:
    """Reject a request for completion that no completion script can have made.

    click would end with a traceback.
    """
    request = environ.get("_TRIAGED_COMPLETE", "")
    if not request.endswith("_complete"):
        return
    # Fish gives the word itself, the others its number.
    word = environ.get("COMP_CWORD", "" if request == "fish_complete" else "x")
    is_word = not word or bool(word.split())
    is_number = word.isascii() and word.removeprefix("-").isdigit()
    is_valid = is_word if request == "fish_complete" else is_number
    if not is_valid or not {"COMP_WORDS", "COMP_CWORD"} <= environ.keys():
        raise click.UsageError(
            "_TRIAGED_COMPLETE is for completion scripts, which `triaged completion"
            " SHELL` prints; unset it"
        )
