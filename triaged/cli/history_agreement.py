"""``triaged history --agreement``: what people did with the observed tasks of rules."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from triaged.cli import exit_codes
from triaged.cli.control import open_ledger
from triaged.cli.output import echo, echo_json, print_table, truncate
from triaged.cli.session import open_session
from triaged.cli.task_ids import printable, shorten
from triaged.clock import SystemClock
from triaged.errors import TriagedError
from triaged.ledger import Ledger
from triaged.ledger.feedback import Observation
from triaged.ledger.observations import ObservationKind
from triaged.rules.evidence import rules_in_force
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import HumanDecision
from triaged.rulesfile.loader import load
from triaged.settings import Settings
from triaged.triage.agreement import Agreement
from triaged.triage.feedback import last_refresh

# A refresh costs calls: four are 4 % of the smallest plan's day.
ASK_AGAIN_AFTER: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The tasks that one rule would have dismissed, with human decisions.

    ``kind`` tells whether the rule observed or audited them. ``mode`` is the one in
    force; None if the rule is no longer in the rules file.
    """

    rule: str
    reason: str
    kind: ObservationKind
    mode: Mode | None
    seen: int
    agreement: Agreement
    ours: int
    false_positives: tuple[Observation, ...]

    @property
    def open(self) -> int:
        """The number of tasks without a known human decision."""
        return self.seen - self.agreement.total - self.ours


def show_agreement(settings: Settings, *, as_json: bool, refresh: bool) -> int:
    """Look up missing human decisions, print the table and return the exit code.

    A failed lookup is reported on stderr; the data in the ledger is shown anyway.
    """
    ruleset = load(*settings.rules).ruleset
    if not settings.ledger.may_exist():
        echo(f"triaged: no ledger in {settings.state_dir} yet", error=True)
        return exit_codes.OK
    code = exit_codes.OK
    try:
        asyncio.run(_ask(settings, refresh=refresh))
    except TriagedError as error:
        echo(f"triaged: the API was not asked what people did: {error}", error=True)
        code = exit_codes.exit_code_for(error)
    with open_ledger(settings) as ledger:
        in_force = rules_in_force(ruleset, ledger.rule_changes.changes())
        found = summarise(ledger.feedback.observations(), in_force)
        if as_json:
            rows = [_as_json(one, ledger) for one in found]
            echo_json(rows)
        else:
            _show(found, ledger)
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
        echo(f"triaged: {known}; --refresh asks the API again", error=True)
        return
    async with open_session(settings) as (workspace, activity):
        with activity.show("asking what people did"):
            await workspace.feedback().refresh()


def summarise(
    observations: Sequence[Observation], ruleset: Ruleset
) -> tuple[Observed, ...]:
    """Summarize by rule and kind: observing rules first, then what else was seen."""
    rows = [
        (rule.name, ObservationKind.OBSERVED)
        for rule in ruleset.rules
        if rule.mode is Mode.OBSERVE and rule.reason
    ]
    rows += [(seen.rule, seen.kind) for seen in observations]
    return tuple(
        _summary(
            name,
            kind,
            [one for one in observations if (one.rule, one.kind) == (name, kind)],
            ruleset,
        )
        for name, kind in dict.fromkeys(rows)
    )


def _summary(
    name: str, kind: ObservationKind, seen: Sequence[Observation], ruleset: Ruleset
) -> Observed:
    rule = ruleset.rule(name)
    theirs = [
        one
        for one in seen
        if one.human_decision is not None and not one.dismissed_by_triaged
    ]
    reason = seen[-1].reason if seen else None
    return Observed(
        rule=name,
        kind=kind,
        reason=(rule.reason if rule is not None else None) or reason or "",
        mode=None if rule is None else rule.mode,
        seen=len(seen),
        agreement=Agreement.of(
            one.human_decision for one in theirs if one.human_decision is not None
        ),
        ours=sum(one.dismissed_by_triaged for one in seen),
        false_positives=tuple(
            one for one in theirs if one.human_decision is HumanDecision.APPROVED
        ),
    )


def _as_json(observed: Observed, ledger: Ledger) -> dict[str, Any]:
    agreement = observed.agreement
    return {
        "rule": observed.rule,
        "reason": observed.reason,
        "kind": observed.kind,
        "mode": observed.mode,
        "observed": observed.seen,
        "dismissed": agreement.dismissed,
        "approved": agreement.approved,
        "dismissed_by_triaged": observed.ours,
        "open": observed.open,
        "agreement": agreement.value,
        "interval": agreement.interval,
        "false_positives": [
            {
                "task_id": one.task_id,
                "description": _description(ledger, one.task_id),
                "observed_at": one.seen_at.isoformat(),
            }
            for one in observed.false_positives
        ],
    }


def _description(ledger: Ledger, task_id: str) -> str | None:
    record = ledger.decisions.latest(task_id)
    text = None if record is None else record.task.get("description")
    return text if isinstance(text, str) else None


def _show(found: Sequence[Observed], ledger: Ledger) -> None:
    if not found:
        echo(
            "Nothing was observed: no rule has mode: observe, and there was no dry run."
        )
        return
    headings = ("rule", "mode", "kind", "tasks", "dismissed", "approved", "by us")
    rows = [
        (
            one.rule,
            one.mode or "gone",
            one.kind,
            f"{one.seen:,}",
            f"{one.agreement.dismissed:,}",
            f"{one.agreement.approved:,}",
            f"{one.ours:,}",
            f"{one.open:,}",
            str(one.agreement),
        )
        for one in found
    ]
    print_table((*headings, "open", "agreement"), rows)
    wrong = [(seen.rule, one) for seen in found for one in seen.false_positives]
    ids = shorten([one.task_id for _, one in wrong], ledger.task_ids)
    for rule, one in wrong:
        what = truncate(_description(ledger, one.task_id) or "—", 100)
        echo(f"{rule}: people approved {printable(ids[one.task_id])} {what}")
