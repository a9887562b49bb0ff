"""``triaged demo``: everything at work for half a minute."""

import asyncio
from typing import Annotated

import typer

from triaged.demo import Demo


def demo(
    *,
    seconds: Annotated[
        int, typer.Option(min=5, max=600, help="How long to show it.")
    ] = 30,
    seed: Annotated[int, typer.Option(help="The same seed makes the same tasks.")] = 1,
) -> None:
    """Show it all for half a minute: sandbox, daemon and example rules, live."""
    asyncio.run(Demo(seconds=seconds, seed=seed).run())
