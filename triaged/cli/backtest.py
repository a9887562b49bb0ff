"""``triaged backtest``: compare the rules with human decisions."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from triaged.cli.options import CALL_OPTIONS, Format, with_format_of, with_settings
from triaged.cli.output import console, echo, echo_html, echo_json, truncate
from triaged.cli.session import open_session
from triaged.clock import SystemClock
from triaged.rules.explain_json import result_to_dict
from triaged.rules.rule import Ruleset
from triaged.rules.task import HumanDecision, Task
from triaged.rulesfile.loader import load_rules
from triaged.settings import Settings
from triaged.text import escape_unprintable
from triaged.triage.agreement import FINAL_STATUSES, human_decision_for
from triaged.triage.backtest import (
    Backtest,
    FalsePositive,
    LabeledTask,
    Record,
    run_backtest,
)

_TEMPLATES: Final = Path(__file__).parent / "templates"
_SYMBOLS: Final = {True: "✓", False: "✗", None: "?"}


@click.command
@with_format_of(Format.TABLE, Format.JSON, Format.HTML)
@with_settings(*CALL_OPTIONS)
def backtest(*, settings: Settings, form: Format) -> None:
    """Compare the rules with what people approved and dismissed."""
    clock = SystemClock()
    rules, _ = load_rules(*settings.rules, now=clock.now())
    result = asyncio.run(_backtest(settings, rules.ruleset))
    if form is Format.JSON:
        report = _as_json(result)
        echo_json(report)
    elif form is Format.HTML:
        page = render_backtest(result, workspace=settings.workspace, at=clock.now())
        echo_html(page)
    else:
        _show(result)


async def _backtest(settings: Settings, ruleset: Ruleset) -> Backtest:
    async with open_session(settings) as (workspace, activity):
        settled: list[tuple[Task, HumanDecision]] = []
        for status in FINAL_STATUSES:
            with activity.show(f"listing the {status} tasks"):
                listed = await workspace.feedback().list_final(status)
            settled += [(task, human_decision_for(status)) for task in listed.tasks]
        by_rules = workspace.ledger.dismissals.by_rules()
        seen, now = workspace.ledger.decisions.times(), workspace.clock.now()
        samples = [
            # Evaluated as of when the task was last seen pending, if it was.
            LabeledTask(
                task=task,
                label=word,
                evaluated_at=seen.get(task.id or "", now),
                time_is_known=(task.id or "") in seen,
            )
            for task, word in settled
            if word is not HumanDecision.DISMISSED or task.id not in by_rules
        ]
        ours = len(settled) - len(samples)
        result = run_backtest(ruleset, samples, ours=ours)
        with workspace.ledger.transaction():
            workspace.ledger.feedback.add_false_positives(
                (record.rule, example.task.id or "")
                for record in result.records
                for example in record.false_positives
            )
    return result


def _as_json(result: Backtest) -> dict[str, Any]:
    return {
        "approved": result.approved,
        "dismissed": result.dismissed,
        "dismissed_by_triaged": result.ours,
        "unknown_times": result.unknown_times,
        "limitations": limitations(result),
        "rules": [_record_json(record) for record in result.records],
    }


def _record_json(record: Record) -> dict[str, Any]:
    agreement = record.agreement
    return {
        "rule": record.rule,
        "reason": record.reason,
        "mode": record.mode,
        "would_dismiss": agreement.total,
        "dismissed": agreement.dismissed,
        "approved": agreement.approved,
        "agreement": agreement.value,
        "interval": agreement.interval,
        "false_positives": [_example_json(one) for one in record.false_positives],
    }


def _example_json(example: FalsePositive) -> dict[str, Any]:
    return {
        "task_id": example.task.id,
        "description": example.task.description,
        "match": result_to_dict(example.result),
    }


def _show(result: Backtest) -> None:
    from rich.text import Text  # noqa: PLC0415 - slow to import, not needed for JSON
    from rich.tree import Tree  # noqa: PLC0415

    from triaged.cli.trees import add_result  # noqa: PLC0415

    echo(
        f"People approved {result.approved} and dismissed {result.dismissed} tasks,"
        f" not counting {result.ours} that triaged dismissed itself."
    )
    for record in result.records:
        echo(f"\n{record.rule} ({record.mode}): {summary(record)}.")
        for example in record.false_positives:
            task = example.task
            line = f"approved: {task.id} {task.description or '—'}"
            tree = Tree(Text(escape_unprintable(truncate(line, 140))))
            add_result(tree, result_to_dict(example.result))
            console().print(tree)
    echo("")
    for note in limitations(result):
        echo(f"note: {note}")


def render_backtest(result: Backtest, *, workspace: str, at: datetime) -> str:
    """Render the whole page."""
    import jinja2  # noqa: PLC0415 - not needed for table and JSON

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = escape_unprintable
    return environment.get_template("backtest.html").render(
        result=result,
        workspace=workspace,
        at=f"{at:%Y-%m-%d %H:%M}",
        notes=limitations(result),
        summary=summary,
        symbols=_SYMBOLS,
        style=(_TEMPLATES / "backtest.css").read_text(encoding="utf-8"),
    )


def limitations(result: Backtest) -> list[str]:
    """Return sentences about what the figures do not show."""
    notes = [
        "A task that people have not decided on yet is not here.",
        "The API does not say who dismissed a task, nor what it leaves out of a list.",
    ]
    if result.unknown_times:
        notes.append(
            f"When {result.unknown_times} of the tasks were decided is not known; their"
            " age is taken as of now, which is older than it was."
        )
    if result.uses_duplicates:
        notes.append(
            "Which other tasks were pending then is not known, so conditions on"
            " duplicates hold for none."
        )
    return notes


def summary(record: Record) -> str:
    """Return one line on how often people decided as the rule would."""
    agreement = record.agreement
    if not agreement.total:
        return "would have dismissed none of them"
    return (
        f"would have dismissed {agreement.total}: people dismissed"
        f" {agreement.dismissed}, approved {agreement.approved}; agreement {agreement}"
    )
