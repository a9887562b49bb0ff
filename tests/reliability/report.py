"""The table of promises: what the trials recorded, rendered when the run ends."""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final

FULL: Final = os.environ.get("TRIAGED_TRIALS") == "full"

# The order of the table, whatever the order of the trials.
CHAPTERS: Final = (
    "Crash points",
    "Disk and ledger",
    "Faults",
    "Clocks",
    "Long run",
    "Model",
    "Hostile input",
    "Secrets and reach",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One promise: how often it was tried, and what happened, in words and figures."""

    chapter: str
    promise: str
    trials: int
    happened: str
    seconds: float


class Report:
    """Collects the rows of a run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    @contextmanager
    def trial(self, chapter: str, promise: str) -> Iterator["Trial"]:
        """Record one promise; a trial that raises is recorded as broken."""
        assert chapter in CHAPTERS, chapter
        began, trial = monotonic(), Trial()
        try:
            yield trial
        except BaseException as error:
            trial.happened = f"BROKEN: {type(error).__name__}"
            raise
        finally:
            self.rows.append(
                Row(
                    chapter=chapter,
                    promise=promise,
                    trials=trial.trials,
                    happened=trial.happened,
                    seconds=monotonic() - began,
                )
            )


class Trial:
    """What one promise came to; filled in while it is tried."""

    def __init__(self) -> None:
        self.trials = 0
        self.happened = "held"


def merged(rows: Sequence[Row]) -> list[Row]:
    """Make one row of all that tried the same promise, in another way each."""
    by_promise: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_promise.setdefault((row.chapter, row.promise), []).append(row)
    return [
        Row(
            chapter=chapter,
            promise=promise,
            trials=sum(row.trials for row in same),
            happened="; ".join(dict.fromkeys(row.happened for row in same)),
            seconds=sum(row.seconds for row in same),
        )
        for (chapter, promise), same in by_promise.items()
    ]


def render(rows: Sequence[Row]) -> str:
    """Write the table as Markdown."""
    setting = "TRIAGED_TRIALS=full " if FULL else ""
    command = f"{setting}python -m pytest -m reliability tests/reliability"
    where = f"Python {platform.python_version()} on {platform.system()}"
    lines = [
        "# Reliability",
        "",
        f"Written by `{command}`, {where}.",
        "A trial that breaks its promise fails that run.",
        "",
        "| | promised | trials | what happened | seconds |",
        "| --- | --- | ---: | --- | ---: |",
    ]
    ordered = sorted(merged(rows), key=lambda row: CHAPTERS.index(row.chapter))
    lines += [
        f"| {row.chapter} | {row.promise} | {row.trials:,} | {row.happened}"
        f" | {row.seconds:.0f} |"
        for row in ordered
    ]
    return "\n".join(lines) + "\n"
