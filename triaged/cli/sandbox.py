"""``triaged sandbox``: rehearse without a LeadLex account."""

import asyncio
import contextlib
from dataclasses import replace

import click

from triaged.cli.output import echo
from triaged.daemon.signals import signal_events
from triaged.rules.duration import parse_duration
from triaged.sandbox.faults import Fault, parse_fault
from triaged.sandbox.server import Sandbox, serve
from triaged.sandbox.settings import DEFAULT_KEY, PLANS, SandboxSettings


@click.command
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9465,
    show_default=True,
    help="Port on loopback; 0: any free one.",
)
@click.option(
    "--tasks",
    type=click.IntRange(0, 200_000),
    default=60,
    show_default=True,
    help="How many pending tasks.",
)
@click.option("--seed", default=1, help="The same seed makes the same tasks.")
@click.option(
    "--history",
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
    help="Whose limits.",
)
@click.option("--minute-limit", type=click.IntRange(1), help="Calls a minute.")
@click.option(
    "--day-limit", type=click.IntRange(1), help="Calls a day, not the plan's."
)
@click.option("--minute", metavar="D", default="60s", help="How long a minute lasts.")
@click.option("--day", metavar="D", default="24h", help="How long a day lasts.")
@click.option(
    "--latency",
    type=click.FloatRange(0, 60),
    default=0.0,
    help="Seconds an answer takes.",
)
@click.option("--retry-after", is_flag=True, help="Send Retry-After with a 429.")
@click.option("--key", help="The key it accepts [default: any wbk_…].")
@click.option(
    "--fault",
    multiple=True,
    metavar="SPEC",
    help="OPERATION:FAULT[:COUNT[@SKIP]] or OPERATION:FAULT:p=0.1, repeatable.",
)
def sandbox(
    *,
    port: int,
    tasks: int,
    seed: int,
    history: float,
    plan: str,
    minute_limit: int | None,
    day_limit: int | None,
    minute: str,
    day: str,
    latency: float,
    retry_after: bool,
    key: str | None,
    fault: tuple[str, ...],
) -> None:
    """Run the LeadLex double on loopback: quota, 429, faults, made-up tasks."""
    settings = SandboxSettings(
        seed=seed,
        count=tasks,
        history=history,
        minute_window=_seconds(minute, "--minute"),
        day_window=_seconds(day, "--day"),
        latency=latency,
        retry_after=retry_after,
        key=key,
        faults=tuple(map(_fault, fault)),
    )
    if plan == "unlimited":
        settings = replace(settings, minute_limit=None, day_limit=None)
    else:
        settings = settings.with_plan(plan)
    if minute_limit is not None:
        settings = replace(settings, minute_limit=minute_limit)
    if day_limit is not None:
        settings = replace(settings, day_limit=day_limit)
    asyncio.run(_serve(Sandbox(settings), port, key or DEFAULT_KEY))


async def _serve(made: Sandbox, port: int, key: str) -> None:
    def announce(url: str) -> None:
        page = url.partition("/functions")[0]
        echo(f"LeadLex double on {page} (its state is shown there)\n")
        echo(f"export TRIAGED_API_URL={url}")
        echo(f"export TRIAGED_API_KEY={key}")

    stop = asyncio.Event()
    with signal_events(asyncio.get_running_loop(), stop, None):
        try:
            serving = asyncio.create_task(serve(made, port=port, on_ready=announce))
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


def _seconds(text: str, option: str) -> float:
    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error
    if not seconds:
        raise click.BadParameter(
            f"expected at least 1s, found {text!r}", param_hint=option
        )
    return seconds


def _fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from error
