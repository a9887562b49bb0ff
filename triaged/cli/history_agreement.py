"""``triaged history --agreement``: what people did with what rules only observed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from triaged.cli import exit_codes
from triaged.cli.output import console, echo, echo_json, table, truncate
from triaged.clock import SystemClock
from triaged.errors import TriagedError
from triaged.ledger import Ledger
from triaged.ledger.database import FILE
from triaged.ledger.feedback import Observation
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import HumanDecision
from triaged.rulesfile.loader import load
from triaged.settings import Settings
from triaged.text import escape_unprintable
from triaged.triage.agreement import Agreement
from triaged.triage.feedback import last_refresh
from triaged.workspace import open_workspace

# Four calls are a twentieth of the smallest plan's day.
ASK_AGAIN_AFTER: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one rule would have dismissed, and what became of it; ``open`` is not known.

    ``mode`` is that of the rules file as it is now; None when the rule is gone from it.
    """

    rule: str
    reason: str
    mode: Mode | None
    seen: int
    agreement: Agreement
    ours: int
    false_positives: tuple[Observation, ...]

    @property
    def open(self) -> int:
        """Count the tasks of which nobody knows yet what people did."""
        return self.seen - self.agreement.total - self.ours


def show_agreement(settings: Settings, *, as_json: bool) -> int:
    """Ask LeadLex what is not known yet, show everything and return the exit code.

    What cannot be asked is said on stderr; what the ledger knows is shown all the same.
    """
    ruleset = load(settings.rules).ruleset
    if not (settings.state_dir / FILE).exists():
        echo(f"triaged: no ledger in {settings.state_dir} yet", error=True)
        return exit_codes.OK
    code = exit_codes.OK
    try:
        asyncio.run(_ask(settings))
    except TriagedError as error:
        echo(f"triaged: not asked what people did: {error}", error=True)
        code = exit_codes.exit_code_for(error)
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        found = summarise(ledger.feedback.observations(), ruleset)
        if as_json:
            rows = [_as_json(one, ledger) for one in found]
            echo_json(rows)
        else:
            _show(found, ledger)
    return code


async def _ask(settings: Settings) -> None:
    clock = SystemClock()
    with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
        now = clock.now()
        if not ledger.feedback.undecided(seen_before=now):
            return
        asked = last_refresh(ledger, now, ASK_AGAIN_AFTER)
    if asked is not None:
        said = f"as people had decided at {asked:%H:%M:%S} UTC"
        echo(f"triaged: {said}; asked anew a quarter of an hour later", error=True)
        return
    async with open_workspace(settings, clock) as workspace:
        await workspace.feedback().refresh()


def summarise(
    observations: Sequence[Observation], ruleset: Ruleset
) -> tuple[Observed, ...]:
    """Sum up by rule: those that observe first, then what else was ever observed."""
    names = [r.name for r in ruleset.rules if r.mode is Mode.OBSERVE and r.reason]
    names += [seen.rule for seen in observations]
    return tuple(
        _summary(name, [seen for seen in observations if seen.rule == name], ruleset)
        for name in dict.fromkeys(names)
    )


def _summary(name: str, seen: Sequence[Observation], ruleset: Ruleset) -> Observed:
    rule = ruleset.rule(name)
    theirs = [
        one
        for one in seen
        if one.human_decision is not None and not one.dismissed_by_triaged
    ]
    reason = seen[-1].reason if seen else None
    return Observed(
        rule=name,
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
            "No rule observes anything; give one mode: observe, or run with --dry-run."
        )
        return
    headings = ("rule", "mode", "observed", "dismissed", "approved", "by us", "open")
    rows = [
        (
            one.rule,
            one.mode or "gone",
            f"{one.seen:,}",
            f"{one.agreement.dismissed:,}",
            f"{one.agreement.approved:,}",
            f"{one.ours:,}",
            f"{one.open:,}",
            str(one.agreement),
        )
        for one in found
    ]
    console().print(table((*headings, "agreement"), rows))
    for observed in found:
        for one in observed.false_positives:
            what = truncate(_description(ledger, one.task_id) or "—", 100)
            echo(
                f"{observed.rule}: people approved {escape_unprintable(one.task_id)} {what}"
            )
