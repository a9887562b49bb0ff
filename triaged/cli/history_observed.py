"""``triaged history --observed``: the tasks that would have been dismissed."""

from datetime import datetime
from typing import Any, Final

from triaged.cli.output import count_of, echo, print_table, truncate
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


def observed_rows(
    ledger: Ledger, *, since: datetime | None, **wanted: str | None
) -> list[dict[str, Any]]:
    """Return the observations as JSON objects, oldest first.

    ``wanted`` are fields and what they have to be; None does not restrict the result.
    """
    exact = {key: value for key, value in wanted.items() if value is not None}
    found = [
        seen
        for seen in ledger.observations.query(since=since, limit=_MAX_ROWS)
        if all(getattr(seen, key) == value for key, value in exact.items())
    ]
    ours = ledger.dismissals.confirmed([seen.task_id for seen in found])
    return [
        {
            "task_id": seen.task_id,
            "rule": seen.rule,
            "reason": seen.reason,
            "kind": seen.kind,
            "observed_at": seen.seen_at.isoformat(),
            "human_decision": seen.human_decision,
            "dismissed_by_triaged": seen.task_id in ours,
            "type": (seen.task or {}).get("type"),
            "description": (seen.task or {}).get("description"),
        }
        for seen in reversed(found)
    ]


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
    echo(f"{count_of(len(rows), 'observation')}.")


def _decision(row: dict[str, Any]) -> str:
    if row["dismissed_by_triaged"]:
        return "dismissed by triaged"
    return str(row["human_decision"] or "not known yet")
