"""``triaged demo``: everything at work for half a minute."""

import asyncio
import contextlib
import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

import triaged
from triaged.cli.log_setup import configure_logs
from triaged.cli.output import cause_in_words, console, echo, print_table, truncate
from triaged.clock import SystemClock
from triaged.daemon.process import Daemon, open_daemon
from triaged.daemon.systemd import SystemdNotifier
from triaged.errors import TriagedError
from triaged.leadlex.api_key import KeySource, parse_key
from triaged.ledger.dismissals import DismissalFilter, Outcome
from triaged.quota import QuotaSettings
from triaged.sandbox.server import Sandbox, listen, serve_on
from triaged.sandbox.settings import DEFAULT_KEY, SandboxSettings
from triaged.sandbox.tasks import generate
from triaged.settings import Settings
from triaged.text import escape_unprintable
from triaged.workspace import Workspace


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
    """Run the demo; Ctrl-C ends it early, with the summary so far."""
    try:
        asyncio.run(Demo(seconds=seconds, seed=seed).run())
    except KeyboardInterrupt:
        # The signal came before the daemon handled it, so there is nothing to
        # summarize.
        echo("\nThe demo was stopped before it began.")


# A fictitious plan with short windows, so that the demo shows the quota in effect.
MINUTE_SECONDS: Final = 5.0
CALLS_PER_MINUTE: Final = 10
CALLS_PER_DAY: Final = 100
POLL_INTERVAL: Final = timedelta(seconds=4)
TASKS: Final = 60

_LINES: Final = 12
_FRAME_SECONDS: Final = 0.25
_NEWCOMER_SECONDS: Final = 6.0


class DemoFailed(TriagedError):
    """Ledger and simulator disagree."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the demo failed: {what}")


class Demo:
    """One run of the demo."""

    def __init__(self, *, seconds: int, seed: int) -> None:
        self._seconds = seconds
        self._seed = seed
        self._clock = SystemClock()
        self._sandbox = Sandbox(
            SandboxSettings(
                seed=seed,
                task_count=TASKS,
                minute_limit=CALLS_PER_MINUTE,
                minute_window=MINUTE_SECONDS,
                day_limit=CALLS_PER_DAY,
            )
        )
        self._listed = TASKS

    async def run(self) -> None:
        """Show the demo, then print the summary, or raise ``DemoFailed``."""
        url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve_on(self._sandbox, listen(), on_ready=url.set_result)
        )
        try:
            with tempfile.TemporaryDirectory(prefix="triaged-demo-") as directory:
                await self._run_daemon(await url, Path(directory))
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    async def _run_daemon(self, url: str, directory: Path) -> None:
        configure_logs(
            level="error", form="json", workspace="demo", stream=io.StringIO()
        )
        rules = directory / "rules.yaml"
        rules.write_bytes(example_rules())
        settings = Settings(
            key=KeySource(value=parse_key(DEFAULT_KEY)),
            api_url=url,
            rules=(rules,),
            workspace="demo",
            quota=QuotaSettings(
                minute_limit=CALLS_PER_MINUTE,
                minute_window=MINUTE_SECONDS,
                daily_limit=CALLS_PER_DAY,
            ),
            poll_interval=POLL_INTERVAL,
            state_dir=directory / "state",
            listen_port=0,
        )
        async with open_daemon(
            settings, self._clock, dry_run=False, notifier=SystemdNotifier({})
        ) as daemon:
            workspace = daemon.workspace
            running = asyncio.create_task(daemon.run())
            whole = await self._watch(workspace, daemon, running)
            daemon.stop()
            await running
            self._sum_up(workspace, whole=whole)

    async def _watch(
        self, workspace: Workspace, daemon: Daemon, running: asyncio.Task[None]
    ) -> bool:
        """Show frames until the time is over; return False if a signal came first."""
        started = self._clock.monotonic()
        newcomers = started + _NEWCOMER_SECONDS
        with _screen() as show:
            while (passed := self._clock.monotonic() - started) < self._seconds:
                if running.done():
                    # Ctrl-C, which the daemon handles as a request to stop.
                    running.result()
                    return False
                if self._clock.monotonic() > newcomers:
                    newcomers += _NEWCOMER_SECONDS
                    self._add_tasks()
                show(self._frame(workspace, daemon, passed))
                await self._clock.sleep(_FRAME_SECONDS)
        return True

    def _add_tasks(self) -> None:
        """Add tasks during the demo, as people and Lexi would."""
        seed = self._seed * 1000 + self._listed
        self._listed += self._sandbox.world.store.add(
            generate(seed, 5, self._clock.now())
        )

    def _frame(self, workspace: Workspace, daemon: Daemon, passed: float) -> Group:
        counts = self._sandbox.world.store.counts()
        view = workspace.rate_limiter.snapshot()
        head = Text(
            f"triaged demo · {max(self._seconds - passed, 0):.0f} s left ·"
            f" {counts['pending']} tasks pending, {counts['dismissed']} dismissed"
        )
        quota = Text(
            f"quota: {view.remaining} of {view.daily_limit} calls left today,"
            f" {view.reserved} kept for people; at most {CALLS_PER_MINUTE}"
            f" in {MINUTE_SECONDS:g} s"
        )
        rate_limiter = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=view.daily_limit, completed=view.remaining, width=24)
        rate_limiter.add_row(bar, quota)
        last = daemon.health.last_report
        left = (
            ", ".join(f"{n} {cause_in_words(c)}" for c, n in last.left_by_cause.items())
            if last
            else "—"
        )
        return Group(
            Text.assemble((head.plain, "bold")),
            rate_limiter,
            Text(f"left alone: {left}"),
            self._recent(workspace),
        )

    def _recent(self, workspace: Workspace) -> Table:
        newest = workspace.ledger.dismissals.query(DismissalFilter(last=_LINES))
        table = Table(
            *("time", "rule", "reason", "outcome", "task"),
            box=SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
        )
        for entry in newest:
            cells = (
                f"{entry.decided_at:%H:%M:%S}",
                entry.rule or "",
                entry.reason,
                entry.outcome or "in flight",
                truncate(str(entry.task.get("description") or "—"), 50),
            )
            table.add_row(*(Text(escape_unprintable(cell)) for cell in cells))
        return table

    def _sum_up(self, workspace: Workspace, *, whole: bool) -> None:
        store = self._sandbox.world.store
        entries = workspace.ledger.dismissals.query(DismissalFilter())
        confirmed = [e for e in entries if e.outcome is Outcome.CONFIRMED]
        counts = store.counts()
        calls = sum(self._sandbox.world.call_counts.values())
        refused = sum(
            n
            for (_, status), n in self._sandbox.world.call_counts.items()
            if status == "429"
        )
        per_rule = Counter((e.rule or "", e.reason) for e in confirmed)
        echo("\nWhat happened" if whole else "\nStopped; what happened so far")
        rows = [(rule, reason, str(n)) for (rule, reason), n in per_rule.most_common()]
        print_table(("rule", "reason", "dismissed"), rows)
        dismissed, pending = counts["dismissed"], counts["pending"]
        echo(
            f"\n{self._listed} tasks = {dismissed} dismissed + {pending} left pending."
            f"\nThe ledger has {len(confirmed)} confirmed dismissals;"
            f" the simulator saw {len(store.effects)}."
            f"\n{calls} API calls spent, {refused} of them refused."
        )
        if self._listed != dismissed + pending:
            raise DemoFailed("tasks were lost")
        if {e.task_id for e in confirmed} != {e.task_id for e in store.effects}:
            raise DemoFailed("ledger and sandbox do not agree")
        if whole and not confirmed:
            raise DemoFailed("nothing was dismissed")
        echo("Both agree. Next: README.md, 'The first real run'.")


class _Lines:
    """Shows frames without a terminal: one line after each change."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._last = ""

    def __call__(self, frame: Group) -> None:
        """Print the first line of a frame if its numbers are new."""
        head = frame.renderables[0]
        text = head.plain if isinstance(head, Text) else ""
        numbers = text.rpartition("·")[2]
        if numbers != self._last:
            self._last = numbers
            self._out.print(Text(escape_unprintable(text)))


@contextlib.contextmanager
def _screen() -> Iterator[Callable[[Group], None]]:
    out = console()
    if not out.is_terminal:
        yield _Lines(out)
        return
    with Live(console=out, refresh_per_second=8, transient=True) as live:
        yield live.update


FILE: Final = "rules.example.yaml"


def example_rules() -> bytes:
    """Return ``rules.example.yaml``: from the package, or from a source checkout."""
    here = Path(triaged.__file__).parent
    packaged = here / FILE
    return (packaged if packaged.exists() else here.parent / FILE).read_bytes()
