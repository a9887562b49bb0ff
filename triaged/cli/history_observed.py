"""``triaged history --observed``: the tasks that would have been dismissed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from triaged.cli.output import print_table, truncate
from triaged.cli.task_ids import printable, shorten
from triaged.ledger import Ledger

# Limit of the rows that are read, as many as a list of pending tasks may have.
_MAX_ROWS: Final = 200_000

COLUMNS: Final = (
    "task_id",
    "rule",
    "reason",
    "kind",
    "observed_at",
    "human_decision",
    "dismissed_by_triaged",
    "type",
    "description",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedFilter:
    """A filter for observations; a field that is None does not restrict the result."""

    since: datetime | None = None
    task_id: str | None = None
    rule: str | None = None
    reason: str | None = None


def observed_rows(ledger: Ledger, wanted: ObservedFilter) -> list[dict[str, Any]]:
    """Return the observations as JSON objects, oldest first."""
    return list(_rows(ledger, wanted))


def _rows(ledger: Ledger, wanted: ObservedFilter) -> Iterator[dict[str, Any]]:
    exact = {key: value for key, value in asdict(wanted).items() if value is not None}
    since = exact.pop("since", None)
    found = [
        seen
        for seen in ledger.observations.query(since=since, limit=_MAX_ROWS)
        if all(getattr(seen, key) == value for key, value in exact.items())
    ]
    ours = ledger.dismissals.confirmed([seen.task_id for seen in found])
    for seen in reversed(found):
        task = seen.task or {}
        yield {
            "task_id": seen.task_id,
            "rule": seen.rule,
            "reason": seen.reason,
            "kind": seen.kind,
            "observed_at": seen.seen_at.isoformat(),
            "human_decision": seen.human_decision,
            "dismissed_by_triaged": seen.task_id in ours,
            "type": task.get("type"),
            "description": task.get("description"),
        }


def show_observed(rows: list[dict[str, Any]], ledger: Ledger) -> None:
    """Print the observations as a table."""
    ids = shorten([row["task_id"] for row in rows], ledger.task_ids)
    if rows:
        print_table(
            ("observed (UTC)", "task", "rule", "would dismiss as", "people", "what"),
            [
                (
                    row["observed_at"][:19].replace("T", " "),
                    printable(ids[row["task_id"]]),
                    row["rule"],
                    row["reason"],
                    _decision(row),
                    truncate(str(row["description"] or "—")),
                )
                for row in rows
            ],
        )


def _decision(row: dict[str, Any]) -> str:
    if row["dismissed_by_triaged"]:
        return "dismissed by triaged"
    return str(row["human_decision"] or "not known yet")
