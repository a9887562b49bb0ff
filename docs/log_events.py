"""The log events of the code, and what each of them means."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

# Of a whole daemon: in a fleet they name no workspace, except for those of a cycle.
OF_A_DAEMON: Final = (
    "daemon.*",
    "fleet.*",
    "http.listening",
    "internal_error.survived",
    "ledger.*",
    "rules.*",
)
LOG_EVENTS: Final = {
    "api_key.rotated": "The key's file holds another key now; it is in use.",
    "api_key.unreadable": "The key's file cannot be used; the last good key stays.",
    "breaker.closed": "The breaker closed: dismissing resumes.",
    "breaker.opened": "The breaker opened: nothing is dismissed.",
    "cycle.cancelled": "A cycle took more than half an hour and was ended.",
    "cycle.drain_timed_out": "A cycle did not end in time at the stop.",
    "cycle.draining": "Asked to stop; the dismissals that were sent are awaited.",
    "cycle.finished": "A cycle ended, with its counts.",
    "daemon.dry_run": "The daemon started as a dry run.",
    "daemon.paused": "The daemon started while dismissing is paused.",
    "daemon.started": "The daemon started.",
    "daemon.stopped": "The daemon stopped.",
    "dismissal.OUTCOME": "An attempt without confirmation; OUTCOME is "
    "`already_handled`, `gone`, `rejected`, `unknown` or `failed`.",
    "dismissal.resolved": "A list told the outcome of an unknown dismissal.",
    "dismissal.skipped": "The last check before the call refused a dismissal.",
    "dismissing.paused": "A person paused on the page; `by` tells who.",
    "dispatch_lock.awaited": "Another process dismisses; a cycle waits for it.",
    "feedback.refresh_failed": "What people did could not be listed.",
    "fleet.left_to_others": "LeadLex is out of reach from here; other daemons run "
    "the workspaces.",
    "fleet.rejected": "Something in the fleet files cannot be used; `kept` "
    "workspaces keep their last good form.",
    "fleet.reloaded": "The changed fleet files are in force.",
    "fleet.restored": "Nothing in the fleet files is rejected any more.",
    "fleet.taken_again": "LeadLex can be reached again; workspaces are claimed.",
    "fleet.warning": "A warning about the fleet files, at the start.",
    "http.listening": "The address of metrics, health and page.",
    "internal_error.survived": "An error of the program cost one step only.",
    "ledger.available": "The ledger can be used again.",
    "ledger.pruned": "What is older than the retention was deleted.",
    "lease.lost": "The lease of a workspace ended in its cycle; nothing more was sent.",
    "ledger.unavailable": "The ledger is away for now; nothing is dismissed.",
    "notification.failed": "A digest or an alert did not reach each destination.",
    "notification.sent": "A digest or an alert was sent to all its destinations.",
    "notification.timed_out": "Sending took too long; the outcome is unknown.",
    "poll_interval.stretched": "The quota cannot carry the requested poll interval.",
    "rule.demoted": "A person approved an audited task; the rule observes again.",
    "rule.false_positive": "A person approved what a rule would have dismissed.",
    "rule.promoted": "People agreed clearly enough; an observing rule acts.",
    "rules.not_watched": "The rules file cannot be watched for changes.",
    "rules.rejected": "The changed rules file is wrong; the old rules stay.",
    "rules.reloaded": "The changed rules file is in force.",
    "rules.restored": "The rules file is again the one in force.",
    "rules.warning": "A warning about the rules file, when it is first loaded.",
    "task.dismissed": "LeadLex confirmed a dismissal.",
    "task.vetoed": "A person kept a task on the page; `by` tells who.",
    "workspace.changed": "The settings of a workspace of the fleet have changed.",
    "workspace.removed": "A workspace is no longer part of the fleet.",
    "workspace.unusable": "A workspace is not run: key, rules or settings are wrong.",
    "workspace.usable": "A workspace is run that could not be before.",
}


def log_events() -> dict[str, tuple[set[str], list[str]]]:
    """Find the events that the code logs: their levels and their keys."""
    found: dict[str, tuple[set[str], list[str]]] = {}
    for path in sorted((ROOT / "triaged").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and (level := _level(node)):
                for event in _events(node.args[0]):
                    levels, keys = found.setdefault(event, (set(), []))
                    levels.update(level)
                    keys += [
                        k.arg for k in node.keywords if k.arg and k.arg not in keys
                    ]
    return found


def _level(call: ast.Call) -> set[str]:
    """Return the levels of a log call; nothing for any other call."""
    match call.func:
        case ast.Name("write"):  # log.info or log.warning, chosen before
            return {"info", "warning"}
        case ast.Attribute(attr="debug" | "info" | "warning" | "error" as level):
            return {level}
        case ast.Attribute(attr="exception"):
            return {"error"}
        case _:
            return set()


def _events(argument: ast.expr) -> Iterable[str]:
    match argument:
        case ast.Constant(str(text)) if re.fullmatch(r"[a-z_]+\.[a-z_]+", text):
            yield text
        case ast.JoinedStr([ast.Constant("dismissal."), _]):
            yield "dismissal.OUTCOME"
        case ast.IfExp(_, one, other):
            yield from (*_events(one), *_events(other))
