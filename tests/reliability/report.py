"""The table of guarantees: what the tests recorded, rendered when the run ends."""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final

FULL: Final = os.environ.get("TRIAGED_RELIABILITY") == "full"

# The order of the table, whatever the order of the tests.
CHAPTERS: Final = (
    "Crash points",
    "Disk and ledger",
    "Faults",
    "Clocks",
    "Long run",
    "Model",
    "Hostile input",
    "Secrets and reach",
    "Emergency stop",
    "Survival",
    "Surroundings",
    "All at once",
    "Shared ledger",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One guarantee: how often it was tested, and the result."""

    chapter: str
    guarantee: str
    runs: int
    result: str
    seconds: float


class Report:
    """Collects the rows of a run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    @contextmanager
    def check(self, chapter: str, guarantee: str) -> Iterator["Check"]:
        """Record one guarantee; a check that raises is recorded as broken."""
        assert chapter in CHAPTERS, chapter
        began, check = monotonic(), Check()
        try:
            yield check
        except BaseException as error:
            check.result = f"BROKEN: {type(error).__name__}"
            raise
        finally:
            self.rows.append(
                Row(
                    chapter=chapter,
                    guarantee=guarantee,
                    runs=check.runs,
                    result=check.result,
                    seconds=monotonic() - began,
                )
            )


class Check:
    """The result of one guarantee, filled in by its test."""

    def __init__(self) -> None:
        self.runs = 0
        self.result = "held"


def merged(rows: Sequence[Row]) -> list[Row]:
    """Merge the rows of tests that share one guarantee."""
    by_guarantee: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_guarantee.setdefault((row.chapter, row.guarantee), []).append(row)
    return [
        Row(
            chapter=chapter,
            guarantee=guarantee,
            runs=sum(row.runs for row in same),
            result="; ".join(dict.fromkeys(row.result for row in same)),
            seconds=sum(row.seconds for row in same),
        )
        for (chapter, guarantee), same in by_guarantee.items()
    ]


def render(rows: Sequence[Row]) -> str:
    """Write the table as Markdown."""
    setting = "TRIAGED_RELIABILITY=full " if FULL else ""
    command = f"{setting}python -m pytest -m reliability tests/reliability"
    where = f"Python {platform.python_version()} on {platform.system()}"
    lines = [
        "# Reliability",
        "",
        f"Written by `{command}`, {where}.",
        "A test whose guarantee does not hold fails that run.",
        "",
        "| | guarantee | runs | result | seconds |",
        "| --- | --- | ---: | --- | ---: |",
    ]
    ordered = sorted(merged(rows), key=lambda row: CHAPTERS.index(row.chapter))
    lines += [
        f"| {row.chapter} | {row.guarantee} | {row.runs:,} | {row.result}"
        f" | {row.seconds:.0f} |"
        for row in ordered
    ]
    return "\n".join(lines) + "\n"
