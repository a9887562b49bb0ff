"""Opens a workspace for one command: checks output first, and reports waits."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from triaged.cli.output import notice
from triaged.cli.streams import require_output
from triaged.clock import SystemClock
from triaged.leadlex.errors import MalformedResponse
from triaged.leadlex.models import LIST, TaskList
from triaged.quota import Purpose
from triaged.settings import Settings
from triaged.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Shorter waits are not reported.
NOTICE_SECONDS: Final = 1.0


class Activity:
    """Shows progress on standard error; as a progress bar on a terminal."""

    def __init__(self) -> None:
        self._bar: tuple[Progress, TaskID] | None = None
        self._what = ""
        self._noted = ""

    @contextlib.contextmanager
    def show(self, what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Show a message during the block; the yielded function counts one step."""
        self._what = what
        if not sys.stderr.isatty():
            yield lambda: None
            return
        from rich.console import Console  # noqa: PLC0415 - slow to import
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
        )

        counted = () if total is None else (BarColumn(), MofNCompleteColumn())
        columns = (SpinnerColumn(), TextColumn("{task.description}"), *counted)
        with Progress(
            *columns, console=Console(stderr=True), transient=True
        ) as progress:
            task = progress.add_task(what, total=total)
            self._bar = progress, task
            try:
                yield lambda: progress.advance(task)
            finally:
                self._bar = None

    def note(self, why: str) -> None:
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, description=f"{self._what}: {why}")
        elif why != self._noted:
            notice(why)
        self._noted = why

    def resume(self) -> None:
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, description=self._what)


class SessionClock(SystemClock):
    """The clocks of the machine; long sleeps are reported to the user."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    async def sleep(self, seconds: float) -> None:
        # Commands sleep for long only because of the quota.
        if seconds < NOTICE_SECONDS:
            await super().sleep(seconds)
            return
        until = self.now() + timedelta(seconds=seconds)
        self._activity.note(
            f"waiting for the quota until {until:%H:%M:%S} UTC ({seconds:.0f} s)"
        )
        await super().sleep(seconds)
        self._activity.resume()


async def list_pending(workspace: Workspace, activity: Activity) -> TaskList:
    """List the pending tasks; report on stderr if the list may be incomplete.

    Raise ``MalformedResponse`` if its rows may be wrong, so that none is acted on.
    """
    with activity.show("listing the pending tasks"):
        listed = await workspace.reader.list_tasks(purpose=Purpose.OTHER)
    if listed.rows_in_doubt:
        raise MalformedResponse(LIST, message=listed.incomplete or "")
    if listed.incomplete is not None:
        notice(f"tasks may be missing: {listed.incomplete}")
    return listed


@contextlib.asynccontextmanager
async def open_session(
    settings: Settings,
) -> AsyncIterator[tuple[Workspace, Activity]]:
    """Open the workspace for a command that calls the API."""
    require_output()
    activity = Activity()
    async with open_workspace(
        settings,
        SessionClock(activity),
        on_lock_wait=lambda owner: activity.note(
            f"waiting for {owner}, which is dismissing now"
        ),
    ) as workspace:
        yield workspace, activity
