"""Formats a dismissal as one readable line, for ``triaged run`` on a terminal."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from triaged.cli.output import truncate
from triaged.ledger.dismissals import Outcome
from triaged.text import escape_unprintable
from triaged.triage.requests import Attempt

# The log events that these lines replace.
READABLE_EVENTS: Final = frozenset(
    {"task.dismissed", *(f"dismissal.{outcome}" for outcome in Outcome)}
)

_WORDS: Final = {
    Outcome.CONFIRMED: "dismissed",
    Outcome.ALREADY_HANDLED: "already handled",
    Outcome.GONE: "no longer there",
    Outcome.REJECTED: "rejected by LeadLex",
    Outcome.UNKNOWN: "outcome not known yet",
    Outcome.FAILED: "failed",
}


def attempt_line(attempt: Attempt, *, at: datetime) -> str:
    """Format the task, the rule and the reason as one line."""
    order = attempt.request
    what = truncate(order.task.description or order.task.id or "—")
    rule = f"rule {order.rule}" if order.rule else "by hand"
    because = "; ".join(
        leaf
        for result in json.loads(order.trace)["rules"]
        if result["rule"] == order.rule
        for leaf in _leaves(result["match"])
    )
    error = f": {attempt.error}" if attempt.error is not None else ""
    text = f"{_WORDS[attempt.outcome]} “{what}” ({rule}, {order.reason}){error}"
    line = (
        f"{at.astimezone():%H:%M:%S} {text}{f' because {because}' if because else ''}"
    )
    return escape_unprintable(line) + "\n"


def _leaves(result: dict[str, Any]) -> Iterator[str]:
    """Yield the conditions that matched."""
    if result["result"] is not True:
        return
    children = result.get("children", ())
    if result["condition"] == "not" or not children:
        yield f"{result['condition']}: {result['expected']}"
        return
    for child in children:
        yield from _leaves(child)
