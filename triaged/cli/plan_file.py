"""Plan files: store a reviewed plan, so that exactly this plan can be applied later."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from triaged.errors import PlanRejected
from triaged.rules.explain_json import decision_to_dict
from triaged.rules.task import Decision, parse_timestamp

KIND: Final = "triaged-plan"
VERSION: Final = 1
MAX_AGE: Final = timedelta(days=1)
MAX_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One dismissal of a plan: the task as it was, its rule and reason."""

    task_id: str
    content_sha256: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The planned dismissals, with time, workspace and rules."""

    workspace: str
    api_url: str
    made_at: datetime
    rules_sha256: str
    entries: tuple[Entry, ...]

    def check(
        self, *, workspace: str, api_url: str, rules_sha256: str, now: datetime
    ) -> None:
        """Reject the plan if its workspace, API, rules or age do not match."""
        if self.workspace != workspace or self.api_url != api_url:
            raise PlanRejected(
                f"it is of workspace {self.workspace!r} at {self.api_url}, not of"
                f" {workspace!r} at {api_url}"
            )
        if self.rules_sha256 != rules_sha256:
            raise PlanRejected("the rules have changed since; make a new plan")
        if not timedelta(0) <= now - self.made_at < MAX_AGE:
            raise PlanRejected(
                f"it was made at {self.made_at:%Y-%m-%d %H:%M:%SZ}; a plan is good for"
                " a day"
            )


def write_plan(
    decisions: Sequence[Decision],
    *,
    workspace: str,
    api_url: str,
    made_at: datetime,
    rules_sha256: str,
) -> str:
    """Return the dismissals of a plan as JSON text, in the order of execution."""
    document = {
        "kind": KIND,
        "version": VERSION,
        "workspace": workspace,
        "api_url": api_url,
        "made_at": made_at.isoformat(),
        "rules_sha256": rules_sha256,
        "decisions": [
            {
                **decision_to_dict(decision),
                "content_sha256": decision.task.content_hash(),
                "type": decision.task.type,
                "description": decision.task.description,
            }
            for decision in decisions
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read_plan(text: str) -> Plan:
    """Parse a plan file; raise ``PlanRejected`` if it is not a complete one."""
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise PlanRejected("it is not JSON") from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise PlanRejected("it is not a file that plan --out wrote")
    if document.get("version") != VERSION or document["version"] is True:
        raise PlanRejected("it was written by another version of triaged")
    made_at = parse_timestamp(document.get("made_at"))
    rows = document.get("decisions")
    if made_at is None or not isinstance(rows, list):
        raise PlanRejected("it is not whole")
    entries = tuple(_entry(row) for row in rows)
    if len({entry.task_id for entry in entries}) < len(entries):
        raise PlanRejected("it has a task twice")
    return Plan(
        workspace=_text(document, "workspace"),
        api_url=_text(document, "api_url"),
        made_at=made_at,
        rules_sha256=_text(document, "rules_sha256"),
        entries=entries,
    )


def _entry(row: object) -> Entry:
    if not isinstance(row, dict) or row.get("decision") != "dismiss":
        raise PlanRejected("it has an entry that is no dismissal")
    return Entry(
        task_id=_text(row, "task_id"),
        content_sha256=_text(row, "content_sha256"),
        rule=_text(row, "rule"),
        reason=_text(row, "reason"),
    )


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise PlanRejected(f"it is not whole: {key} is missing")
    return value
