"""Tests that no workspace reads or changes what is another's, in either store."""

import ast
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import T0, a_task, an_intent, an_observation
from triaged.ledger import Ledger
from triaged.ledger.database import Database
from triaged.ledger.dismissals import DismissalFilter, Outcome
from triaged.ledger.flags import FlagName
from triaged.ledger.holds import Hold
from triaged.ledger.location import LedgerLocation
from triaged.ledger.opening import open_database
from triaged.ledger.rule_changes import RuleChange
from triaged.ledger.schema import table_shapes
from triaged.ledger.state import StateName
from triaged.ledger.views import LedgerViews
from triaged.rules.context import build_context
from triaged.rules.task import (
    Change,
    Decision,
    HumanDecision,
    LeaveCause,
)

LEDGER = Path(__file__).parents[2] / "triaged/ledger"
LATER = T0 + timedelta(days=900)
EARLIER = T0 - timedelta(days=1)
# Shared by their hash; and the list of workspaces itself.
SHARED = {"ruleset", "workspace"}


@pytest.fixture
def database(place: LedgerLocation) -> Iterator[Database]:
    with closing(open_database(place)) as opened:
        yield opened


def fill(ledger: Ledger) -> str:
    """Write a row into each table, the same for every workspace."""
    task = a_task(id="t1")
    decision = Decision(
        task=task, rule="r", reason=None, cause=LeaveCause.NO_RULE, observed=()
    )
    ledger.bind("https://api.example", at=T0)
    ledger.rulesets.save("ab12", "rules", at=T0)
    ledger.decisions.save(
        [decision],
        rules_sha256="ab12",
        context=build_context([], [task], now=T0),
        duplicates=(),
        at=T0,
    )
    ledger.observations.record([an_observation("t1", rule="r")], at=T0)
    ledger.feedback.record({"t1": HumanDecision.APPROVED}, at=T0)
    ledger.feedback.add_false_positives([("r", "t1")])
    ledger.rule_changes.record(
        RuleChange(
            rule="r",
            fingerprint="f",
            change=Change.PROMOTED,
            at=T0,
            by="",
            evidence={},
        )
    )
    ledger.holds.replace({Hold("t1", "r", "f"): T0})
    ledger.vetoes.add("t1", at=T0)
    ledger.flags.set(FlagName.PAUSED, reason="lunch", at=T0)
    ledger.counters.increment("observed", "r", "testing")
    ledger.state.save(StateName.SETTLED_TASKS, {"x": 1}, at=T0)
    ledger.state.save_quota(1, {"spent": 1})
    done = ledger.dismissals.record_intent(an_intent("t2"))
    ledger.dismissals.record_outcome(done, Outcome.CONFIRMED, at=T0)
    return ledger.dismissals.record_intent(an_intent("t1"))


def change_everything(ledger: Ledger, entry_of_another: str) -> None:
    """Do to one workspace all that deletes or changes rows."""
    ledger.dismissals.record_outcome(entry_of_another, Outcome.FAILED, at=LATER)
    for record in ledger.dismissals.unresolved():
        ledger.dismissals.record_outcome(record.id, Outcome.GONE, at=LATER)
    ledger.feedback.record({"t1": HumanDecision.DISMISSED}, at=LATER)
    ledger.feedback.record_not_found(["t1"], at=LATER)
    ledger.holds.replace({})
    ledger.vetoes.remove("t1")
    ledger.flags.set(FlagName.PAUSED, reason="dinner", at=LATER)
    ledger.flags.clear(FlagName.PAUSED)
    ledger.counters.increment("observed", "r", "testing", by=7)
    ledger.state.save_quota(2, {"spent": 9})
    ledger.state.forget_outdated(now=LATER)
    ledger.state.forget(StateName.SETTLED_TASKS)
    ledger.decisions.trim()
    ledger.prune(before=LATER)


def rows_of(database: Database, workspace: str) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of a workspace, by table."""
    found = {}
    for table, shape in table_shapes().items():
        if table not in SHARED:
            rows = database.rows(
                f"SELECT * FROM {table} WHERE workspace = ? ORDER BY {shape.key[-1]}",  # noqa: S608 - names of ours
                (workspace,),
            )
            found[table] = [{name: row[name] for name in shape.columns} for row in rows]
    return found


def test_what_one_does_to_itself_changes_no_other(database: Database) -> None:
    """Every statement that writes, with the same ids in both: the other's rows stay."""
    entry = fill(Ledger(database, "a"))
    fill(Ledger(database, "b"))
    before = rows_of(database, "a")
    change_everything(Ledger(database, "b"), entry)

    assert [t for t, rows in before.items() if not rows] == ["notification"]
    assert rows_of(database, "a") == before
    assert rows_of(database, "b") != before


def test_who_has_nothing_sees_nothing(database: Database) -> None:
    """Every statement that reads, beside a full workspace, finds an empty one."""
    fill(Ledger(database, "a"))
    other, views = Ledger(database, "b"), LedgerViews(database, "b")
    day = T0.replace(hour=0, minute=0)
    seen = {
        "unresolved": other.dismissals.unresolved(),
        "count": other.dismissals.count_unresolved(),
        "ids": other.dismissals.unresolved_task_ids(),
        "is": other.dismissals.is_unresolved("t1"),
        "recheck": other.dismissals.to_recheck(),
        "final": other.dismissals.final_outcomes(["t1", "t2"]),
        "by rules": other.dismissals.by_rules(),
        "by hand": other.dismissals.reasons_by_hand(),
        "by rule": other.dismissals.count_by_rule(T0),
        "query": other.dismissals.query(DismissalFilter()),
        "latest": other.decisions.latest("t1"),
        "times": other.decisions.times(),
        "left": other.decisions.latest_left(9),
        "wanted": other.decisions.count_wanted(),
        "observed": other.observations.query(limit=9),
        "on": other.observations.count_on(T0),
        "undecided": other.feedback.undecided(seen_before=LATER),
        "feedback": other.feedback.observations(),
        "false": other.feedback.false_positives(),
        "count false": other.feedback.count_false_positives(),
        "changes": other.rule_changes.since(None),
        "holds": other.holds.all(),
        "vetoes": other.vetoes.all(),
        "vetoed": other.vetoes.is_vetoed("t1"),
        "flag": other.flags.get(FlagName.PAUSED),
        "counters": other.counters.values("observed"),
        "state": other.state.load(StateName.SETTLED_TASKS),
        "dismissed in a period": other.activity.count_dismissed(EARLIER, LATER),
        "dismissed by rule": other.activity.dismissed(EARLIER, LATER, per_rule=9),
        "observed in a period": other.activity.count_observed(EARLIER, LATER),
        "decided in a period": other.activity.count_decided(EARLIER, LATER),
        "descriptions": other.activity.descriptions(["t1"]),
        "task ids": other.task_ids(limit=9),
        "views by day": views.dismissed_by_day(day, LATER),
        "views feedback": views.feedback(),
        "views held": views.held("r", 9),
        "views recent": views.recent(9),
        "views left": views.recently_left(9),
        "views ids": views.task_ids("", 9),
        "views unresolved": views.totals().unresolved,
        "views vetoes": views.vetoes(9),
        "views veto": views.veto("t1"),
        "views paused": views.paused(),
        "views observed": views.totals().observed,
    }

    assert {name: value for name, value in seen.items() if value} == {}
    assert other.state.load_quota(unless_version=-1) == (0, None)


WHOLE = (
    "schema.py",
    "copying.py",
    "backup.py",
    "postgres_schema.py",
    "fleet_views.py",
)


def _statements() -> Iterator[tuple[str, str]]:
    """Yield each text in the ledger's modules that reads or writes a table."""
    tables = "|".join(set(table_shapes()) - SHARED)
    names_a_table = re.compile(rf"\b(FROM|INTO|UPDATE|JOIN)\s+({tables})\b")
    for path in sorted(LEDGER.glob("*.py")):
        # These work on whole ledgers.
        if path.name in WHOLE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            if names_a_table.search(text):
                yield path.name, " ".join(text.split())


def test_every_statement_names_the_workspace() -> None:
    """A statement that a later change adds cannot forget it."""
    found = list(_statements())
    without = [(name, text) for name, text in found if "workspace" not in text]

    assert len(found) > 40
    assert without == []
