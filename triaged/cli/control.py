"""Controls a running daemon through its ledger: pause, resume, veto."""

import os
import pwd
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from triaged.cli.output import notice
from triaged.errors import LedgerBusy, TriagedError
from triaged.ledger import Ledger
from triaged.ledger.flags import WHOLE_FLEET, Flag, FlagName
from triaged.ledger.opening import daemon_owner, daemons_of
from triaged.settings import Settings

T = TypeVar("T")

_NOTICE_SECONDS: Final = 1.0


def login_name() -> str:
    """Return the login name of the user, even under sudo."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    caller = os.environ.get("SUDO_USER")
    return f"{caller} (as {name})" if caller and caller != name else name


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger of one workspace; make it if there is none."""
    return Ledger.open_own(
        settings.ledger,
        workspace=settings.workspace,
        is_of_fleet=settings.is_of_fleet,
    )


def open_control(settings: Settings, *, whole_fleet: bool = False) -> Ledger:
    """Open an existing ledger that a daemon uses; for one workspace or for all."""
    return insist(
        settings,
        lambda: Ledger.open_existing(
            settings.ledger,
            workspace=WHOLE_FLEET if whole_fleet else settings.workspace,
            is_of_fleet=whole_fleet or settings.is_of_fleet,
            busy_seconds=_NOTICE_SECONDS,
        ),
    )


def insist(settings: Settings, step: Callable[[], T]) -> T:
    """Repeat a step while the ledger is busy: an emergency stop must not fail."""
    is_told = False
    while True:
        try:
            return step()
        except LedgerBusy:
            if not is_told:
                who = daemon_owner(settings.ledger, settings.workspace)
                notice(
                    f"waiting for {who or 'another process'} to finish"
                    " writing the ledger"
                )
                is_told = True


def whose(ledger: Ledger, settings: Settings) -> str:
    """Name workspace and ledger, and the daemon or daemons that use it."""
    if ledger.workspace:
        who = f"workspace {ledger.workspace}"
        owner = daemon_owner(settings.ledger, ledger.workspace)
        daemons = [str(owner)] if owner else []
    else:
        who = "all workspaces"
        found = daemons_of(settings.ledger)
        daemons = [f"process {d.pid} on {d.host}" for d in found if d.is_alive]
    return f"{who}, ledger {ledger.location}, {_used_by(daemons)}"


def _used_by(daemons: Sequence[str]) -> str:
    if not daemons:
        return "no daemon runs on it"
    if len(daemons) == 1:
        return f"used by the daemon, {daemons[0]}"
    return f"used by {len(daemons)} daemons, one of them {daemons[0]}"


def refuse_while_paused(ledger: Ledger) -> None:
    """Raise ``DismissingPaused``, which tells who paused, when and why."""
    flag = ledger.flags.get(FlagName.PAUSED)
    if flag is not None:
        raise DismissingPaused(flag)


class DismissingPaused(TriagedError):
    """Dismissing is paused."""

    def __init__(self, flag: Flag) -> None:
        end = "triaged resume --all" if flag.is_of_fleet else "triaged resume"
        super().__init__(f"dismissing is paused {describe(flag)}; {end} ends it")


def describe(flag: Flag) -> str:
    """Return since when a flag is set, by whom and why."""
    by = f" by {flag.set_by}" if flag.set_by else ""
    why = f": {flag.reason}" if flag.reason else ""
    return f"since {flag.since:%Y-%m-%d %H:%M} UTC{by}{why}"
