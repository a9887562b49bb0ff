"""``triaged demo``: everything at work for half a minute."""

import asyncio

import click

from triaged.demo import Demo


@click.command
@click.option(
    "--seconds",
    type=click.IntRange(5, 600),
    default=30,
    show_default=True,
    help="How long to show it.",
)
@click.option("--seed", default=1, help="The same seed makes the same tasks.")
def demo(*, seconds: int, seed: int) -> None:
    """Show it all for half a minute: sandbox, daemon and example rules, live."""
    asyncio.run(Demo(seconds=seconds, seed=seed).run())
