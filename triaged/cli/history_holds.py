"""``triaged history --held``: what is held, and until when."""

from triaged.cli.output import console, echo, echo_json, table
from triaged.ledger import Ledger
from triaged.ledger.database import FILE
from triaged.rulesfile.loader import load
from triaged.settings import Settings


def show_held(settings: Settings, *, as_json: bool) -> None:
    """Show the holds that are running, by the rules that are in force on disk."""
    ruleset = load(settings.rules).ruleset
    rows = []
    if (settings.state_dir / FILE).exists():
        with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
            for hold, since in ledger.decisions.holds().items():
                rule = ruleset.rule(hold.rule)
                goes = None if rule is None else (since + rule.hold).isoformat()
                rows.append(
                    {
                        "task_id": hold.task_id,
                        "rule": hold.rule,
                        "hold_started_at": since.isoformat(),
                        "hold_ends_at": goes,
                    }
                )
    rows.sort(key=lambda row: (row["hold_ends_at"] or "", row["task_id"] or ""))
    if as_json:
        echo_json(rows)
        return
    cells = [tuple(value or "—" for value in row.values()) for row in rows]
    if cells:
        headings = ("task", "rule", "held since", "goes at")
        console().print(table(headings, cells))
    echo(f"{len(rows)} held.")
