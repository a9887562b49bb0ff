"""``triaged explain``: why one task was, or would be, left or dismissed."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.text import Text
from rich.tree import Tree

from triaged.cli.options import (
    API,
    LEDGER_OPTIONS,
    QUOTA_OPTIONS,
    RULES_OPTIONS,
    Format,
    with_format,
    with_settings,
)
from triaged.cli.output import (
    add_verdict,
    console,
    echo,
    echo_json,
    rule_tree,
    truncate,
)
from triaged.cli.plan import EMPTY_HISTORY, look, now_option
from triaged.clock import SystemClock
from triaged.errors import TriagedError
from triaged.leadlex import protocol
from triaged.ledger import Ledger
from triaged.ledger.database import FILE
from triaged.rules.context import EvaluationContext, build_context
from triaged.rules.explain import explain as explain_task
from triaged.rules.explain_json import decision_to_dict, explanation_to_dict
from triaged.rules.task import Decision, Json, Task, parse_task
from triaged.rulesfile.loader import CompiledRules, load_rules
from triaged.settings import Settings
from triaged.triage.guard import apply_guard
from triaged.triage.stored_explanation import stored_explanation


class UnknownTask(TriagedError):
    """Neither the ledger nor the list knows the task."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        """Say which."""
        return f"no task {self.task_id!r} in the ledger or among the pending ones"


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
@with_settings(*API, *RULES_OPTIONS, *QUOTA_OPTIONS, *LEDGER_OPTIONS)
def explain(
    *,
    settings: Settings,
    task_id: str | None,
    task: Path | None,
    now: datetime | None,
    form: Format,
) -> None:
    """Show each rule's conditions for one task: seen, wanted and concluded."""
    if not task_id and task is None:
        raise click.UsageError("say which task: its id, or --task FILE")
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
    value = _read_task_file(file)
    moment = now or SystemClock().now()
    rules, _ = load_rules(settings.rules, now=moment)
    task = parse_task(value)
    context = build_context(rules.ruleset.conditions(), [task], now=moment)
    decision = apply_guard(
        rules.engine.decide([task], now=moment),
        rules.ruleset,
        EMPTY_HISTORY,
        now=moment,
    ).decisions[0]
    return _explanation("file", rules, task, context, decision)


def _read_task_file(file: Path) -> dict[str, Json]:
    try:
        value = protocol.parse_json(file.read_bytes())
    except OSError as error:
        why = f"{file}: {error.strerror or type(error).__name__}"
        raise click.BadParameter(why, param_hint="--task") from error
    except ValueError as error:
        why = f"{file} is not JSON: {error}"
        raise click.BadParameter(why, param_hint="--task") from error
    if not isinstance(value, dict):
        why = f"{file} must hold one task, an object"
        raise click.BadParameter(why, param_hint="--task")
    if "data" in value:
        why = f"{file} holds a list answer, not one task; plan --tasks takes it"
        raise click.BadParameter(why, param_hint="--task")
    return value


def _explain_id(
    settings: Settings, task_id: str, now: datetime | None
) -> dict[str, Any]:
    if now is None and (settings.state_dir / FILE).exists():
        with Ledger(settings.state_dir, workspace=settings.workspace) as ledger:
            remembered = stored_explanation(
                ledger.dismissals, ledger.decisions, task_id
            )
        if remembered is not None:
            return remembered
    outlook = look(settings, None, now)
    context = build_context(
        outlook.rules.ruleset.conditions(), outlook.tasks, now=outlook.now
    )
    for decision in outlook.guarded.decisions:
        if decision.task.id == task_id:
            return _explanation("list", outlook.rules, decision.task, context, decision)
    raise UnknownTask(task_id)


def _explanation(
    source: str,
    rules: CompiledRules,
    task: Task,
    context: EvaluationContext,
    decision: Decision,
) -> dict[str, Any]:
    return {
        "source": source,
        "task_id": task.id,
        "task": dict(task.raw),
        "decided_at": context.now.isoformat(),
        "rules_sha256": rules.ruleset.sha256,
        **explanation_to_dict(explain_task(rules.ruleset, task, context)),
        "decision": decision_to_dict(decision),
    }


def _show_explanation(shown: dict[str, Any]) -> None:
    decision, out = shown["decision"], console()
    if decision["decision"] == "dismiss":
        by = f"by rule {decision['rule']}" if decision["rule"] else "by a person"
        verdict = f"dismiss as {decision['reason']}, {by}"
    else:
        by = f", rule {decision['rule']}" if decision["rule"] else ""
        verdict = f"leave: {decision['cause']}{by}"
    where = {"ledger": "as decided", "list": "judged", "file": "judged"}
    echo(f"{truncate(str(shown['task_id'] or '—'))}: {verdict}")
    echo(f"{where[shown['source']]} at {shown['decided_at']}")
    echo(f"description: {truncate(str(shown['task'].get('description', '—')), 200)}")
    if "dismissal" in shown:
        dismissal = shown["dismissal"]
        echo(f"dismissal: {dismissal['outcome']} (wanted by {dismissal['source']})")
        if dismissal["detail"]:
            echo(f"answer: {truncate(dismissal['detail'], 200)}")
    if shown["protect"]:
        tree = Tree(Text("protect (true or unknown keeps the task)", style="bold"))
        for verdict_ in shown["protect"]:
            add_verdict(tree, verdict_)
        out.print(tree)
    for rule in shown["rules"]:
        out.print(rule_tree(rule))
    if shown["closest_rule"]:
        echo(f"Closest rule that did not match: {shown['closest_rule']}")
