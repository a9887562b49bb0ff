"""``triaged history --held``: the tasks on hold, and until when."""

from triaged.cli.control import open_ledger
from triaged.cli.output import echo, echo_json, print_table
from triaged.cli.task_ids import printable, shorten
from triaged.rulesfile.loader import load
from triaged.settings import Settings


def show_held(settings: Settings, *, as_json: bool) -> None:
    """Print the active holds, with the durations of the current rules file."""
    ruleset = load(*settings.rules).ruleset
    if not settings.ledger.may_exist():
        _print([], {}, as_json=as_json)
        return
    rows = []
    with open_ledger(settings) as ledger:
        for hold, since in ledger.holds.all().items():
            rule = ruleset.rule(hold.rule)
            ends = None if rule is None else (since + rule.hold).isoformat()
            rows.append(
                {
                    "task_id": hold.task_id,
                    "rule": hold.rule,
                    "hold_started_at": since.isoformat(),
                    "hold_ends_at": ends,
                }
            )
        ids = shorten([str(row["task_id"]) for row in rows], ledger.task_ids)
    rows.sort(key=lambda row: (row["hold_ends_at"] or "", row["task_id"] or ""))
    _print(rows, ids, as_json=as_json)


def _print(
    rows: list[dict[str, str | None]], ids: dict[str, str], *, as_json: bool
) -> None:
    if as_json:
        echo_json(rows)
        return
    if rows:
        cells = [
            (
                printable(ids[str(row["task_id"])]),
                str(row["rule"]),
                _moment(row["hold_started_at"]),
                _moment(row["hold_ends_at"]),
            )
            for row in rows
        ]
        print_table(("task", "rule", "on hold since (UTC)", "until (UTC)"), cells)
    echo(f"{len(rows)} on hold.")


def _moment(text: str | None) -> str:
    return "—" if text is None else text[:16].replace("T", " ")
