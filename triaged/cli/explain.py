"""``triaged explain``: why a task was, or would be, left or dismissed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from triaged.cli import task_ids
from triaged.cli.control import open_ledger
from triaged.cli.files import read_given
from triaged.cli.options import CALL_OPTIONS, Format, with_format, with_settings
from triaged.cli.output import (
    cause_in_words,
    console,
    echo,
    echo_json,
    leave_in_words,
    notice,
    truncate,
)
from triaged.cli.plan import make_preview, now_option, preview_of
from triaged.cli.plan_table import Preview
from triaged.clock import SystemClock
from triaged.leadlex import protocol
from triaged.rules.context import build_context
from triaged.rules.explain import explain as explain_task
from triaged.rules.explain_json import decision_to_dict, explanation_to_dict
from triaged.rules.task import Decision, Task
from triaged.rulesfile.loader import load_rules
from triaged.settings import Settings
from triaged.triage.stored_explanation import stored_explanation

_MAX_SIMILAR: Final = 2_000


@click.command
@click.argument("task_id", required=False)
@click.option(
    "--task",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A task as JSON, judged as new.",
)
@now_option
@with_format
@with_settings(*CALL_OPTIONS)
def explain(
    *,
    settings: Settings,
    task_id: str | None,
    task: Path | None,
    now: datetime | None,
    form: Format,
) -> None:
    """Show each rule's conditions for one task: actual, expected and result."""
    if not (task_id or "").strip() and task is None:
        raise click.UsageError("give the task: its TASK_ID, or --task FILE")
    if task_id is not None and task is not None:
        raise click.UsageError("give a TASK_ID or --task FILE, not both")
    shown = (
        _explain_file(settings, task, now)
        if task is not None
        else _explain_id(settings, task_id or "", now)
    )
    if form is Format.JSON:
        echo_json(shown)
    else:
        _show_explanation(shown)


def _explain_file(
    settings: Settings, file: Path, now: datetime | None
) -> dict[str, Any]:
    task = _read_task_file(file)
    rules, _ = load_rules(*settings.rules, now=SystemClock().now())
    preview = preview_of(rules, [task], now)
    return _explanation("file", preview, preview.guarded.decisions[0])


def _read_task_file(file: Path) -> Task:
    body = read_given(file, param="--task")
    if (task := protocol.decode_task(body)) is not None:
        return task
    try:
        value = protocol.parse_json(body)
    except ValueError as error:
        why = f"{file} is not JSON: {error}"
        raise click.BadParameter(why, param_hint="--task") from error
    is_list = isinstance(value, dict) and "data" in value
    why = (
        f"{file} holds a list answer, not one task; plan --tasks takes it"
        if is_list
        else f"{file} must hold one task, an object"
    )
    raise click.BadParameter(why, param_hint="--task")


def _explain_id(
    settings: Settings, task_id: str, now: datetime | None
) -> dict[str, Any]:
    known: task_ids.Lookup = task_ids.lookup_in(())
    if settings.ledger.may_exist():
        with open_ledger(settings) as ledger:
            found = task_ids.expand(task_id, ledger.task_ids)
            stored = None
            if found is not None and now is None:
                # Whatever the current rules are.
                stored = stored_explanation(ledger, found)
            known = task_ids.lookup_in(ledger.task_ids(limit=_MAX_SIMILAR))
            if found is None:
                where = "the ledger; listing the pending tasks (1 API call)"
                notice(task_ids.unknown_id(task_id, known, where))
        if stored is not None:
            return _with_effects(stored)
        task_id = found or task_id
    preview = make_preview(settings, None, now)
    pending = task_ids.lookup_in(task.id for task in preview.tasks if task.id)
    meant = task_ids.expand(task_id, pending)
    for decision in preview.guarded.decisions:
        if meant is not None and decision.task.id == meant:
            return _explanation("list", preview, decision)
    where = "the ledger or among the pending tasks"
    raise task_ids.UnknownTask(
        task_ids.unknown_id(task_id, task_ids.either(known, pending), where)
    )


def _explanation(source: str, preview: Preview, decision: Decision) -> dict[str, Any]:
    task, ruleset = decision.task, preview.ruleset
    context = build_context(ruleset.conditions(), preview.tasks, now=preview.now)
    explained = {
        "source": source,
        "task_id": task.id,
        "task": dict(task.raw),
        "decided_at": context.now.isoformat(),
        "rules_sha256": ruleset.sha256,
        **explanation_to_dict(explain_task(ruleset, task, context)),
        "decision": decision_to_dict(decision),
    }
    return _with_effects(explained)


def _with_effects(explained: dict[str, Any]) -> dict[str, Any]:
    """Add to the deciding rule what it led to, so that ``applied`` is accurate.

    The trace was stored before the safety limits and the request.
    """
    decision, dismissal = explained["decision"], explained.get("dismissal")
    rules = []
    for rule in explained["rules"]:
        effect = _effect(rule, decision, dismissal) if rule["applied"] else None
        took_place = effect in {"dismissed the task", "kept the task"}
        rules.append({**rule, "applied": took_place, "effect": effect})
    return {**explained, "rules": rules}


def _effect(
    rule: dict[str, Any],
    decision: dict[str, Any],
    dismissal: dict[str, Any] | None,
) -> str:
    if rule["action"] == "leave":
        return "kept the task"
    if rule["mode"] == "observe":
        return "matched, which is only recorded"
    if dismissal is not None:
        confirmed = dismissal["outcome"] == "confirmed"
        return (
            "dismissed the task" if confirmed else f"dismissal: {dismissal['outcome']}"
        )
    if decision["decision"] == "dismiss":
        return "would dismiss the task now"
    return f"matched, but the task was left: {cause_in_words(decision['cause'])}"


def _notes(rule: dict[str, Any]) -> list[str]:
    notes = [rule["action"]]
    if rule["mode"] != "enforce":
        notes.append(rule["mode"])
    if rule["effect"]:
        notes.append(rule["effect"])
    elif not rule["evaluated"]:
        notes.append("not reached")
    return notes


def _show_explanation(shown: dict[str, Any]) -> None:
    from rich.text import Text  # noqa: PLC0415 - slow to import, not needed for JSON
    from rich.tree import Tree  # noqa: PLC0415

    from triaged.cli.trees import add_result, rule_tree  # noqa: PLC0415

    out = console()
    echo(f"{truncate(str(shown['task_id'] or '—'))}: {_verdict(shown)}")
    decided_at = datetime.fromisoformat(shown["decided_at"]).astimezone(UTC)
    echo(f"decided at {decided_at:%Y-%m-%d %H:%M:%S} UTC (from the {shown['source']})")
    echo(f"description: {truncate(str(shown['task'].get('description', '—')), 200)}")
    if "dismissal" in shown:
        dismissal = shown["dismissal"]
        echo(f"dismissal: {dismissal['outcome']} (source: {dismissal['source']})")
        if dismissal["detail"]:
            echo(f"answer: {truncate(dismissal['detail'], 200)}")
    if shown["protect"]:
        tree = Tree(Text("protect (true or unknown keeps the task)", style="bold"))
        for result in shown["protect"]:
            add_result(tree, result)
        out.print(tree)
    for rule in shown["rules"]:
        out.print(rule_tree(rule, _notes(rule)))
    if shown["closest_rule"]:
        echo(f"Closest rule that did not match: {shown['closest_rule']}")


def _verdict(shown: dict[str, Any]) -> str:
    decision, dismissal = shown["decision"], shown.get("dismissal")
    by = f"rule {decision['rule']}" if decision["rule"] else "a person"
    if dismissal is not None:
        return f"dismissal as {decision['reason']} by {by}: {dismissal['outcome']}"
    if decision["decision"] == "dismiss":
        return f"dismiss as {decision['reason']}, by {by}"
    return leave_in_words(decision["cause"], decision["rule"], decision["observed"])
