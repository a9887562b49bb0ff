"""Stores promotions and demotions: when a rule began to act or went back to observing.

A change belongs to the rule as it was written then, so it is stored with the rule's
fingerprint: a rule that is edited afterwards starts anew.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from triaged.ledger.counters import Counters
from triaged.ledger.database import (
    Database,
    Row,
    format_timestamp,
    parse_stored_timestamp,
)
from triaged.rules.task import Change

# The name of the counters, with the rule and the change as labels.
COUNTER: Final = "rule_changes"

_MOMENT: Final = timedelta.resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """One promotion or demotion; ``by`` is who did it, or empty for evidence.

    ``evidence`` is a JSON object: the numbers that led to a promotion, or the task that
    led to a demotion.
    """

    rule: str
    fingerprint: str
    change: Change
    at: datetime
    by: str
    evidence: Mapping[str, Any]

    def led_to(self, mode: str) -> bool:
        """Return whether this change leaves a rule in such a mode."""
        return mode == self.mode

    @property
    def mode(self) -> str:
        """The mode in which this change leaves a rule."""
        return "enforce" if self.change is Change.PROMOTED else "observe"


class RuleChanges:
    """The promotions and demotions of one workspace."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace
        self._counters = Counters(database, workspace)

    def record(self, change: RuleChange) -> None:
        """Record and count a change; the last one recorded is the one in force.

        A change that the clock places before an earlier one is dated just after it.
        """
        last = self.latest().get(change.rule, {}).get(change.fingerprint)
        at = change.at if last is None else max(change.at, last.at + _MOMENT)
        self._counters.increment(COUNTER, change.rule, change.change)
        self._database.execute(
            "INSERT INTO rule_change (workspace, rule, rule_sha256, change, changed_at,"
            " set_by, evidence) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self._workspace,
                change.rule,
                change.fingerprint,
                change.change,
                format_timestamp(at),
                change.by,
                json.dumps(change.evidence),
            ),
        )

    def latest(self, *, at: datetime | None = None) -> dict[str, dict[str, RuleChange]]:
        """Return the latest change of each rule, by its name and its fingerprint.

        ``at`` asks for those that were the latest at that time.
        """
        found: dict[str, dict[str, RuleChange]] = {}
        for change in self.since(None):
            if at is None or change.at <= at:
                found.setdefault(change.rule, {})[change.fingerprint] = change
        return found

    def changes(self, *, at: datetime | None = None) -> dict[str, dict[str, Change]]:
        """Return what the latest changes were, for ``rules_in_force``."""
        return {
            rule: {fingerprint: each.change for fingerprint, each in known.items()}
            for rule, known in self.latest(at=at).items()
        }

    def last_of_each(self) -> dict[str, RuleChange]:
        """Return the last change of each rule, whatever its match was then."""
        return {change.rule: change for change in self.since(None)}

    def since(self, moment: datetime | None) -> Sequence[RuleChange]:
        """Return the changes after a time (None: all of them), oldest first."""
        rows = self._database.rows(
            "SELECT rule, rule_sha256, change, changed_at, set_by, evidence"
            " FROM rule_change WHERE workspace = ? AND changed_at > ?"
            " ORDER BY changed_at, rule",
            (self._workspace, "" if moment is None else format_timestamp(moment)),
        )
        with self._database.decoding():
            return [_change(row) for row in rows]


def _change(row: Row) -> RuleChange:
    return RuleChange(
        rule=row["rule"],
        fingerprint=row["rule_sha256"],
        change=Change(row["change"]),
        at=parse_stored_timestamp(row["changed_at"]),
        by=row["set_by"],
        evidence=json.loads(row["evidence"]),
    )
