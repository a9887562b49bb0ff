"""``triaged sandbox``: rehearse without a LeadLex account."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Annotated

import typer

from triaged.engine.duration import parse_duration
from triaged.render import say
from triaged.sandbox.faults import Fault, parse_fault
from triaged.sandbox.server import Sandbox, serve
from triaged.sandbox.settings import DEFAULT_KEY, PLANS, SandboxSettings
from triaged.signals import signals_set


def sandbox(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on loopback; 0: any free one.")
    ] = 9465,
    tasks: Annotated[
        int, typer.Option(min=0, max=200_000, help="How many pending tasks.")
    ] = 60,
    seed: Annotated[int, typer.Option(help="The same seed makes the same tasks.")] = 1,
    history: Annotated[
        float, typer.Option(min=0, max=20, help="Settled tasks per pending one.")
    ] = 1.0,
    plan: Annotated[
        str, typer.Option(help=f"{', '.join(PLANS)} or unlimited.")
    ] = "starter",
    minute_limit: Annotated[
        int | None, typer.Option(min=1, help="Calls a minute, instead of the plan's.")
    ] = None,
    day_limit: Annotated[
        int | None, typer.Option(min=1, help="Calls a day, instead of the plan's.")
    ] = None,
    minute: Annotated[
        str, typer.Option(metavar="D", help="How long its minute lasts.")
    ] = "60s",
    day: Annotated[
        str, typer.Option(metavar="D", help="How long its day lasts.")
    ] = "24h",
    latency: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds each answer takes.")
    ] = 0.0,
    retry_after: Annotated[
        bool, typer.Option("--retry-after", help="Send Retry-After with a 429.")
    ] = False,
    key: Annotated[
        str | None, typer.Option(help="The key it accepts [default: any wbk_…].")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            help="OPERATION:FAULT[:COUNT[@SKIP]] or OPERATION:FAULT:p=0.1, repeatable.",
        ),
    ] = None,
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
        faults=tuple(map(_fault, fault or ())),
    )
    if plan == "unlimited":
        settings = replace(settings, minute_limit=None, day_limit=None)
    else:
        try:
            settings = settings.with_plan(plan)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--plan") from error
    if minute_limit is not None:
        settings = replace(settings, minute_limit=minute_limit)
    if day_limit is not None:
        settings = replace(settings, day_limit=day_limit)
    asyncio.run(_serve(Sandbox(settings), port, key or DEFAULT_KEY))


async def _serve(made: Sandbox, port: int, key: str) -> None:
    def announce(url: str) -> None:
        page = url.partition("/functions")[0]
        say(f"LeadLex double on {page} (its state is shown there)\n")
        say(f"export TRIAGED_API_URL={url}")
        say(f"export TRIAGED_API_KEY={key}")

    stop = asyncio.Event()
    with signals_set(asyncio.get_running_loop(), stop, None):
        try:
            serving = asyncio.create_task(serve(made, port=port, on_ready=announce))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        except OSError as error:
            message = f"port {port} cannot be bound: {error.strerror}"
            raise typer.BadParameter(message, param_hint="--port") from error
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def _seconds(text: str, option: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from error
