"""What became of mutants, and which of them a reader must judge."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LEDGER: Final = "triaged.ledger."
SAME: Final = "same"


class Fate(StrEnum):
    """How the tests met a mutant."""

    KILLED = "killed"
    TIMEOUT = "timeout"
    SURVIVED = "survived"
    OTHER = "other"

    @property
    def lives(self) -> bool:
        """Say whether no test noticed it; one that makes a test hang is noticed."""
        return self not in {Fate.KILLED, Fate.TIMEOUT}


_FATES: Final = {
    0: Fate.SURVIVED,
    1: Fate.KILLED,
    # Out of processor time, or of time.
    -24: Fate.TIMEOUT,
    -9: Fate.TIMEOUT,
    -14: Fate.TIMEOUT,
}
_COLUMNS: Final = (*Fate, SAME)


def fate_of(code: int) -> Fate:
    """Read how the run of a mutant ended."""
    return _FATES.get(code, Fate.OTHER)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of the code, and what became of it."""

    name: str
    fate: Fate
    diff: str

    @property
    def is_same(self) -> bool:
        """Say whether only letters of SQL changed their case, which means nothing.

        Keywords, tables and columns are the same in any case, for SQLite, PostgreSQL
        and ``sqlite3.Row``; a quoted value is not, and such a mutant does not live.
        """
        if not self.fate.lives or not self.name.startswith(LEDGER):
            return False
        lines = self.diff.splitlines()[2:]
        before = [line[1:].casefold() for line in lines if line.startswith("-")]
        after = [line[1:].casefold() for line in lines if line.startswith("+")]
        return before == after

    @property
    def column(self) -> str:
        """Return under which heading it is counted."""
        return SAME if self.is_same else self.fate

    @property
    def must_be_judged(self) -> bool:
        """Say whether a reader must find out what it means that it lives."""
        return self.fate.lives and not self.is_same

    def __str__(self) -> str:
        """Show what it changes."""
        return f"# {self.name}: {self.fate}\n{self.diff}\n"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of the mutants of one module."""

    module: str
    counts: Counter[str]

    @property
    def share(self) -> float:
        """Return the share that was noticed, of those that change something."""
        noticed = self.counts[Fate.KILLED] + self.counts[Fate.TIMEOUT]
        mutants = self.counts.total() - self.counts[SAME]
        return noticed / mutants if mutants else 1.0


def as_table(rows: Sequence[Row]) -> str:
    """Return the figures, a line for each module."""
    head = f"{'module':30}{'mutants':>8}" + "".join(f"{c:>9}" for c in _COLUMNS)
    lines = [f"{head}{'share':>8}"]
    for row in rows:
        cells = "".join(f"{row.counts[column]:9}" for column in _COLUMNS)
        lines.append(f"{row.module:30}{row.counts.total():8}{cells}{row.share:8.1%}")
    return "\n".join(lines)
