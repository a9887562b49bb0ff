"""``triaged sandbox``: a LeadLex simulator for rehearsals without an account."""

import asyncio
import contextlib
import shlex
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click

from triaged.cli.init import TEMPLATE
from triaged.cli.output import echo
from triaged.cli.streams import flush_output
from triaged.clock import SystemClock
from triaged.daemon.signals import signal_events
from triaged.rules.duration import parse_duration
from triaged.rules.task import Task
from triaged.rulesfile.loader import load_rules
from triaged.sandbox.faults import DESCRIPTIONS, Fault, parse_fault
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


class _Duration(click.ParamType[float]):
    """A duration, converted to seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = parse_duration(str(value)).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not seconds:
            self.fail(f"expected at least 1s, found {value!r}", param, ctx)
        return seconds


class _FaultSpec(click.ParamType[Fault]):
    """A fault in the format of ``parse_fault``."""

    name = "fault"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fault:
        try:
            return parse_fault(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(epilog=_EPILOG)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9465,
    show_default=True,
    help="Port on loopback; 0: any free one.",
)
@click.option(
    "--tasks",
    "task_count",
    type=click.IntRange(0, 200_000),
    default=60,
    show_default=True,
    help="Number of pending tasks.",
)
@click.option(
    "--seed", default=1, show_default=True, help="The same seed makes the same tasks."
)
@click.option(
    "--settled-ratio",
    type=click.FloatRange(0, 20),
    default=1.0,
    show_default=True,
    help="Settled tasks per pending one.",
)
@click.option(
    "--plan",
    type=click.Choice([*PLANS, "unlimited"]),
    default="starter",
    show_default=True,
    help="The LeadLex plan whose limits apply.",
)
@click.option(
    "--minute-limit",
    type=click.IntRange(1),
    help="Calls a minute [default: the plan's].",
)
@click.option(
    "--day-limit", type=click.IntRange(1), help="Calls a day [default: the plan's]."
)
@click.option(
    "--minute-window",
    type=_Duration(),
    metavar="D",
    default="60s",
    show_default=True,
    help="Length of the minute's window.",
)
@click.option(
    "--day-window",
    type=_Duration(),
    metavar="D",
    default="24h",
    show_default=True,
    help="Length of the day's window.",
)
@click.option(
    "--latency",
    type=click.FloatRange(0, 60),
    default=0.0,
    show_default=True,
    help="Seconds until each response.",
)
@click.option(
    "--workspaces",
    type=click.IntRange(1, 200),
    default=1,
    show_default=True,
    help="Number of workspaces, each with its own key; above 1 they are a fleet.",
)
@click.option("--retry-after", is_flag=True, help="Send Retry-After with a 429.")
@click.option(
    "--people",
    "policy",
    metavar="POLICY",
    type=click.Path(path_type=Path),
    help="A rules file: people dismiss what it dismisses and approve the rest.",
)
@click.option(
    "--people-delay",
    type=_Duration(),
    metavar="D",
    default="8h",
    show_default=True,
    help="With --people: the mean time until a task is settled.",
)
@click.option(
    "--people-errors",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="With --people: the share of decisions against the policy.",
)
@click.option(
    "--arrivals",
    type=click.IntRange(0, 100_000),
    default=0,
    show_default=True,
    help="With --people: new tasks a day.",
)
@click.option("--key", help="The key it accepts [default: any wbk_…].")
@click.option(
    "--fault",
    "faults",
    type=_FaultSpec(),
    multiple=True,
    metavar="SPEC",
    help="A fault to simulate, see below; repeatable.",
)
def sandbox(
    *,
    port: int,
    task_count: int,
    seed: int,
    settled_ratio: float,
    plan: str,
    minute_limit: int | None,
    day_limit: int | None,
    minute_window: float,
    day_window: float,
    latency: float,
    retry_after: bool,
    policy: Path | None,
    people_delay: float,
    people_errors: float,
    arrivals: int,
    key: str | None,
    workspaces: int,
    faults: tuple[Fault, ...],
) -> None:
    """Run a LeadLex simulator on loopback: quota, 429, faults, made-up tasks.

    It prints the variables that point other commands at it.  A page at its address
    shows tasks, quota, faults, calls and changes.
    """
    minute, day = PLANS.get(plan, (None, None))
    settings = SandboxSettings(
        seed=seed,
        task_count=task_count,
        settled_ratio=settled_ratio,
        minute_limit=minute if minute_limit is None else minute_limit,
        minute_window=minute_window,
        day_limit=day if day_limit is None else day_limit,
        day_window=day_window,
        retry_after=retry_after,
        latency=latency,
        faults=faults,
        key=key,
        people=None
        if policy is None
        else PeopleSettings(
            policy=_policy(policy),
            delay=timedelta(seconds=people_delay),
            error_rate=people_errors,
            arrivals_per_day=arrivals,
        ),
        workspaces=workspaces,
    )
    asyncio.run(_serve(Sandbox(settings), port, settings))


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


async def _serve(simulator: Sandbox, port: int, settings: SandboxSettings) -> None:
    stop = asyncio.Event()
    with signal_events(asyncio.get_running_loop(), stop, None):
        try:
            serving = asyncio.create_task(
                serve_on(simulator, listen(port=port), on_ready=_announcer(settings))
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


def _announcer(settings: SandboxSettings) -> Callable[[str], None]:
    def announce(url: str) -> None:
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

    return announce


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
