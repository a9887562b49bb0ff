"""What a command does with the workspaces of a fleet, and which of them are chosen."""

from dataclasses import dataclass
from enum import Enum, auto

import click


class FleetUse(Enum):
    """What a command does with the workspaces of a fleet.

    ONE: it is for the one that ``--workspace`` names. WHOLE: for that, or for the fleet
    as a whole. EACH: ``-l`` and ``--all`` run it for several, one after the other.
    RECORDED: so too, and it needs the ledger alone, so that workspaces whose entry
    cannot be used are among them. LISTED: as that, but it gets all of them as
    ``chosen``, which is None for the whole fleet. STOPPING: as that, with those that
    may be meant.
    """

    ONE = auto()
    WHOLE = auto()
    EACH = auto()
    RECORDED = auto()
    LISTED = auto()
    STOPPING = auto()

    @property
    def is_listed(self) -> bool:
        return self in {FleetUse.LISTED, FleetUse.STOPPING}

    @property
    def needs_entry(self) -> bool:
        """Whether the command needs more of a workspace than its name."""
        return self in {FleetUse.ONE, FleetUse.WHOLE, FleetUse.EACH}


class NotHere(click.BadParameter):
    """An argument that means nothing in this workspace, but may in others."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was given: a name, labels that all have to be there, or ``--all``."""

    name: str | None = None
    labels: tuple[str, ...] = ()
    is_all: bool = False
