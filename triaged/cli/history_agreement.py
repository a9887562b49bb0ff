"""``triaged history --agreement``: what people did with the observed tasks of rules."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from triaged.cli import exit_codes
from triaged.cli.control import open_ledger
from triaged.cli.output import echo, echo_json, notice, print_table, truncate
from triaged.cli.session import open_session
from triaged.cli.task_ids import printable, shorten
from triaged.clock import SystemClock
from triaged.errors import TriagedError
from triaged.ledger import Ledger
from triaged.ledger.feedback import Observation
from triaged.ledger.observations import ObservationKind
from triaged.rules.evidence import rules_in_force
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import HumanDecision
from triaged.rulesfile.loader import load
from triaged.settings import Settings
from triaged.triage.agreement import Agreement
from triaged.triage.feedback import last_refresh

# A refresh costs calls: four are 4 % of the smallest plan's day.
ASK_AGAIN_AFTER: Final = timedelta(minutes=15)


def show_agreement(settings: Settings, *, as_json: bool, refresh: bool) -> int:
    """Look up missing human decisions, print the table and return the exit code.

    A failed lookup is reported on stderr; the data in the ledger is shown anyway.
    """
    ruleset = load(*settings.rules).ruleset
    if not settings.ledger.may_exist():
        notice(f"no ledger in {settings.state_dir} yet")
        return exit_codes.OK
    code = exit_codes.OK
    try:
        asyncio.run(_ask(settings, refresh=refresh))
    except TriagedError as error:
        notice(f"the API was not asked what people did: {error}")
        code = exit_codes.exit_code_for(error)
    with open_ledger(settings) as ledger:
        in_force = rules_in_force(ruleset, ledger.rule_changes.changes())
        rows = _rows(ledger, in_force)
        if as_json:
            echo_json(rows)
        else:
            _show(rows, ledger)
    return code


async def _ask(settings: Settings, *, refresh: bool) -> None:
    clock = SystemClock()
    with open_ledger(settings) as ledger:
        now = clock.now()
        if not ledger.feedback.undecided(seen_before=now):
            return
        asked = last_refresh(ledger, now, ASK_AGAIN_AFTER)
    if asked is not None and not refresh:
        known = f"showing what people had decided at {asked:%H:%M:%S} UTC"
        notice(f"{known}; --refresh asks the API again")
        return
    async with open_session(settings) as (workspace, activity):
        with activity.show("asking what people did"):
            await workspace.feedback().refresh()


def _rows(ledger: Ledger, ruleset: Ruleset) -> list[dict[str, Any]]:
    """Summarize by rule and kind: observing rules first, then what else was seen."""
    observations = ledger.feedback.observations()
    keys = [
        (rule.name, ObservationKind.OBSERVED)
        for rule in ruleset.rules
        if rule.mode is Mode.OBSERVE and rule.reason
    ]
    keys += [(seen.rule, seen.kind) for seen in observations]
    return [
        _row(
            ruleset.rule(name),
            name,
            kind,
            [one for one in observations if (one.rule, one.kind) == (name, kind)],
            ledger,
        )
        for name, kind in dict.fromkeys(keys)
    ]


def _row(
    rule: Rule | None,
    name: str,
    kind: ObservationKind,
    seen: Sequence[Observation],
    ledger: Ledger,
) -> dict[str, Any]:
    """Summarize what a rule, or one that is no longer in the file, has seen."""
    by_people = [
        (one, one.human_decision)
        for one in seen
        if one.human_decision is not None and not one.dismissed_by_triaged
    ]
    agreement = Agreement.of(decision for _, decision in by_people)
    ours = sum(one.dismissed_by_triaged for one in seen)
    reason = rule.reason if rule is not None else None
    return {
        "rule": name,
        "reason": reason or (seen[-1].reason if seen else ""),
        "kind": kind,
        "mode": None if rule is None else rule.mode,
        "observed": len(seen),
        "dismissed": agreement.dismissed,
        "approved": agreement.approved,
        "dismissed_by_triaged": ours,
        "open": len(seen) - agreement.total - ours,
        "agreement": agreement.value,
        "interval": agreement.interval,
        "false_positives": [
            {
                "task_id": one.task_id,
                "description": _description(ledger, one.task_id),
                "observed_at": one.seen_at.isoformat(),
            }
            for one, decision in by_people
            if decision is HumanDecision.APPROVED
        ],
    }


def _description(ledger: Ledger, task_id: str) -> str | None:
    record = ledger.decisions.latest(task_id)
    text = None if record is None else record.task.get("description")
    return text if isinstance(text, str) else None


def _show(rows: Sequence[dict[str, Any]], ledger: Ledger) -> None:
    if not rows:
        echo(
            "Nothing was observed: no rule has mode: observe, and there was no dry run."
        )
        return
    headings = ("rule", "mode", "kind", "tasks", "dismissed", "approved", "by us")
    counts = ("observed", "dismissed", "approved", "dismissed_by_triaged", "open")
    cells = [
        (
            row["rule"],
            row["mode"] or "gone",
            row["kind"],
            *(f"{row[count]:,}" for count in counts),
            str(Agreement(row["dismissed"], row["approved"])),
        )
        for row in rows
    ]
    print_table((*headings, "open", "agreement"), cells)
    wrong = [(row["rule"], one) for row in rows for one in row["false_positives"]]
    ids = shorten([one["task_id"] for _, one in wrong], ledger.task_ids)
    for rule, one in wrong:
        what = truncate(one["description"] or "—", 100)
        echo(f"{rule}: people approved {printable(ids[one['task_id']])} {what}")
