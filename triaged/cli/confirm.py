"""Asks before dismissals by hand, and reports what came of them."""

import signal
import sys
from collections import Counter

import click

from triaged.cli import exit_codes
from triaged.cli.output import cause_in_words, count_of, echo
from triaged.cli.streams import flush_output
from triaged.cli.task_ids import printable
from triaged.ledger.dismissals import Outcome
from triaged.triage.requests import DispatchResult


def confirm(question: str) -> bool:
    """Ask for confirmation; anything but yes is a no, including Ctrl-C and Ctrl-D.

    Raise a ``UsageError`` if there is neither a terminal nor input.
    """
    # What the question is about comes first, also where a pipe buffers it.
    flush_output()
    # asyncio's own handler would delay Ctrl-C until the line is complete.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yes = click.confirm(question, err=True)
    except click.Abort:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "no answer, so nothing was dismissed; scripts use --yes"
            ) from None
        echo("", error=True)
        yes = False
    finally:
        signal.signal(signal.SIGINT, handler)
    if not yes:
        echo("Nothing was dismissed.")
    return yes


def report_skipped(dispatched: DispatchResult) -> None:
    """Print the tasks that the last check left, with the causes."""
    for request, cause in dispatched.skipped:
        task_id = printable(request.task.id or "—")
        echo(f"{task_id} was left meanwhile: {cause_in_words(cause)}")


def question(count: int, reason: str = "") -> str:
    """Return the confirmation question."""
    as_reason = f" as {reason}" if reason else ""
    return f"Dismiss {count_of(count, 'task')}{as_reason}? This cannot be undone."


def report_dispatched(dispatched: DispatchResult, *, capped: bool) -> int:
    """Print the outcomes, and return the exit code."""
    ends = Counter(attempt.outcome for attempt in dispatched.attempts)
    told = ", ".join(f"{number} {outcome}" for outcome, number in ends.most_common())
    echo(f"{told or 'nothing was sent'}.")
    if dispatched.remaining:
        echo(f"{dispatched.remaining} not sent: {dispatched.halt or 'stopped'}.")
    if dispatched.error is not None:
        echo(str(dispatched.error), error=True)
        code = exit_codes.exit_code_for(dispatched.error)
        if code == exit_codes.KEY_REFUSED:
            return code
    incomplete = dispatched.remaining or capped or ends[Outcome.UNKNOWN]
    return exit_codes.INCOMPLETE if incomplete else exit_codes.OK
