"""``triaged sandbox``: a LeadLex simulator for rehearsals without an account."""

import asyncio
import contextlib
import shlex
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from triaged.cli.init import TEMPLATE
from triaged.cli.options import Command, Parsed
from triaged.cli.output import echo
from triaged.cli.streams import flush_output
from triaged.clock import SystemClock
from triaged.daemon.signals import signal_events
from triaged.rules.duration import parse_duration
from triaged.rules.task import Task
from triaged.rulesfile.loader import load_rules
from triaged.sandbox.faults import DESCRIPTIONS, parse_fault
from triaged.sandbox.people import PeopleSettings, Policy
from triaged.sandbox.server import Sandbox, listen, serve_on
from triaged.sandbox.settings import DEFAULT_KEY, PLANS, SandboxSettings

_FAULTS = "\n".join(f"  {kind:<19} {text}" for kind, text in DESCRIPTIONS.items())
_EPILOG = f"""\b
Faults (--fault, and the control API):
  OPERATION:FAULT             the next call of that operation
  OPERATION:FAULT:3           the next three; 3@5: after five good ones
  OPERATION:FAULT:p=0.1       each call with this probability
OPERATION is list, dismiss, approve or any.  FAULT is one of
{_FAULTS}

\b
Control API (no key, no quota; JSON):
  GET    /sandbox/state             tasks, calls, changes, limits, faults
  POST   /sandbox/faults            {{"faults": ["dismiss:500:3"]}}
  DELETE /sandbox/faults            remove all faults
  POST   /sandbox/tasks             {{"tasks": [{{"description": "..."}}]}};
                                    "raw": true adds them as they are
  POST   /sandbox/tasks/ID/settle   {{"status": "approved"}}, as a person does
  DELETE /sandbox/tasks/ID          remove a task
  POST   /sandbox/reset             the state of the start
"""


def _seconds(text: str) -> float:
    seconds = parse_duration(text).total_seconds()
    if not seconds:
        raise ValueError(f"expected at least 1s, found {text!r}")
    return seconds


_DURATION = Parsed(_seconds, name="d")


def _value(
    flag: str, kind: click.ParamType[Any], default: object, meaning: str
) -> Callable[[Command], Command]:
    return click.option(
        flag, type=kind, default=default, show_default=True, help=meaning
    )


@click.command(epilog=_EPILOG)
@_value("--port", click.IntRange(0, 65535), 9465, "Port on loopback; 0: any free one.")
@_value("--tasks", click.IntRange(0, 200_000), 60, "Number of pending tasks.")
@_value("--seed", click.INT, 1, "The same seed makes the same tasks.")
@_value(
    "--settled-ratio", click.FloatRange(0, 20), 1.0, "Settled tasks per pending one."
)
@_value(
    "--plan",
    click.Choice([*PLANS, "unlimited"]),
    "starter",
    "The LeadLex plan whose limits apply.",
)
@_value(
    "--minute-limit", click.IntRange(1), None, "Calls a minute [default: the plan's]."
)
@_value("--day-limit", click.IntRange(1), None, "Calls a day [default: the plan's].")
@_value("--minute-window", _DURATION, "60s", "Length of the minute's window.")
@_value("--day-window", _DURATION, "24h", "Length of the day's window.")
@_value("--latency", click.FloatRange(0, 60), 0.0, "Seconds until each response.")
@_value(
    "--workspaces",
    click.IntRange(1, 200),
    1,
    "Number of workspaces, each with its own key; above 1 they are a fleet.",
)
@click.option("--retry-after", is_flag=True, help="Send Retry-After with a 429.")
@click.option(
    "--people",
    "policy",
    metavar="POLICY",
    type=click.Path(path_type=Path),
    help="A rules file: people dismiss what it dismisses and approve the rest.",
)
@_value(
    "--people-delay",
    _DURATION,
    "8h",
    "With --people: the mean time until a task is settled.",
)
@_value(
    "--people-errors",
    click.FloatRange(0, 1),
    0.0,
    "With --people: the share of decisions against the policy.",
)
@_value("--arrivals", click.IntRange(0, 100_000), 0, "With --people: new tasks a day.")
@click.option("--key", help="The key it accepts [default: any wbk_…].")
@click.option(
    "--fault",
    "faults",
    type=Parsed(parse_fault),
    multiple=True,
    metavar="SPEC",
    help="A fault to simulate, see below; repeatable.",
)
def sandbox(
    *,
    port: int,
    tasks: int,
    plan: str,
    policy: Path | None,
    people_delay: float,
    people_errors: float,
    arrivals: int,
    minute_limit: int | None,
    day_limit: int | None,
    **given: Any,  # noqa: ANN401 - fields of the settings
) -> None:
    """Run a LeadLex simulator on loopback: quota, 429, faults, made-up tasks.

    It prints the variables that point other commands at it.  A page at its address
    shows tasks, quota, faults, calls and changes.
    """
    minute, day = PLANS.get(plan, (None, None))
    people = None
    if policy is not None:
        people = PeopleSettings(
            policy=_policy(policy),
            delay=timedelta(seconds=people_delay),
            error_rate=people_errors,
            arrivals_per_day=arrivals,
        )
    settings = SandboxSettings(
        task_count=tasks,
        minute_limit=minute if minute_limit is None else minute_limit,
        day_limit=day if day_limit is None else day_limit,
        people=people,
        **given,
    )
    asyncio.run(_serve(port, settings))


def _policy(path: Path) -> Policy:
    """Return the policy of people who think like a rules file."""
    rules, _ = load_rules(path, now=SystemClock().now())

    def decide(tasks: Sequence[Task], now: datetime) -> dict[str, str]:
        return {
            decision.task.id: "dismissed" if decision.is_dismissal else "approved"
            for decision in rules.engine.decide(tasks, now=now)
            if decision.task.id is not None
        }

    return decide


async def _serve(port: int, settings: SandboxSettings) -> None:
    simulator, stop = Sandbox(settings), asyncio.Event()
    with signal_events(asyncio.get_running_loop(), stop, None):
        try:
            serving = asyncio.create_task(
                serve_on(
                    simulator, listen(port=port), on_ready=partial(_announce, settings)
                )
            )
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        except OSError as error:
            message = f"port {port} cannot be bound: {error.strerror}"
            raise click.BadParameter(message, param_hint="--port") from error
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def _announce(settings: SandboxSettings, url: str) -> None:
    # Never the real ledger, to keep ids and calls of the simulator out of it.
    state_dir = tempfile.mkdtemp(prefix="triaged-sandbox-")
    page = url.partition("/functions")[0]
    echo(f"LeadLex simulator on {page} (a page there shows its state)\n")
    echo(f"export TRIAGED_API_URL={url}")
    if settings.workspaces == 1:
        key = settings.key or DEFAULT_KEY
        echo(f"export TRIAGED_API_KEY={shlex.quote(key)}")
    else:
        fleet = _write_fleet(Path(state_dir) / "fleet", settings)
        echo(f"export TRIAGED_FLEET={shlex.quote(str(fleet))}")
    echo(f"export TRIAGED_STATE_DIR={shlex.quote(state_dir)}")
    # Standard output may be a pipe, and this process keeps running.
    flush_output()
    echo("\nPaste these lines into another terminal; Ctrl-C ends it.", error=True)


def _write_fleet(directory: Path, settings: SandboxSettings) -> Path:
    """Write fleet files for all workspaces, with rules that only observe."""
    (directory / "keys").mkdir(parents=True, mode=0o700)
    lines = ["version: 1", "defaults: {rules: [rules.yaml]}", "workspaces:"]
    for number, key in enumerate(settings.keys(), start=1):
        file = directory / "keys" / str(number)
        file.touch(mode=0o600)
        file.write_text(f"{key}\n")
        region = "eu" if number % 2 else "us"
        lines += [
            f"  - name: workspace-{number}",
            f"    key: {{file: keys/{number}}}",
            f"    labels: {{region: {region}}}",
        ]
    (directory / "fleet.yaml").write_text("\n".join(lines) + "\n")
    (directory / "rules.yaml").write_bytes(TEMPLATE.read_bytes())
    return directory
