"""``triaged backtest``: rules judged by what people really did."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any

import click
from rich.text import Text
from rich.tree import Tree

from triaged.cli.backtest_html import cannot_know, render_backtest, summary
from triaged.cli.options import API, LEDGER, QUOTA, RULES, OneOf, with_settings
from triaged.cli.output import add_verdict, console, say, say_json, shorten
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Outcome, Search
from triaged.rules.explain_json import verdict_json
from triaged.rules.rule import Ruleset
from triaged.rules.task import Task, Word
from triaged.rulesfile.loader import load_rules
from triaged.settings import Settings
from triaged.text import printable
from triaged.triage.agreement import SETTLED_STATUSES, word_of
from triaged.triage.backtest import (
    Backtest,
    Counterexample,
    Record,
    Sample,
    run_backtest,
)
from triaged.triage.feedback import note_counterexamples
from triaged.workspace import Workspace, open_workspace


class ReportFormat(StrEnum):
    """How the report is printed."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"


@click.command
@click.option(
    "--format",
    "form",
    type=OneOf(ReportFormat),
    default=ReportFormat.TABLE,
    show_default="table",
    help="How to print.",
)
@with_settings(*API, *RULES, *QUOTA, *LEDGER)
def backtest(*, settings: Settings, form: ReportFormat) -> None:
    """Judge rules by what people approved and dismissed; four calls, never writes."""
    clock = SystemClock()
    rules, _ = load_rules(settings.rules, now=clock.now())
    result = asyncio.run(_backtest(settings, rules.ruleset))
    if form is ReportFormat.JSON:
        report = _as_json(result)
        say_json(report)
    elif form is ReportFormat.HTML:
        page = render_backtest(result, workspace=settings.workspace, at=clock.now())
        say(page, end="")
    else:
        _show(result)


async def _backtest(settings: Settings, ruleset: Ruleset) -> Backtest:
    async with open_workspace(settings, SystemClock()) as workspace:
        samples: list[Sample] = []
        ours = 0
        dismissed_by_us = _dismissed_by_us(workspace.ledger)
        for status in SETTLED_STATUSES:
            for task in await workspace.people().settled(status):
                word = word_of(status)
                if word is Word.DISMISSED and task.id in dismissed_by_us:
                    ours += 1
                else:
                    samples.append(_sample(workspace, task, word))
        result = run_backtest(ruleset, samples, ours=ours)
        with workspace.ledger.transaction():
            note_counterexamples(workspace.ledger, _pairs(result))
    return result


def _pairs(result: Backtest) -> Iterator[tuple[str, str]]:
    for record in result.records:
        for example in record.counterexamples:
            yield record.rule, example.task.id or ""


def _dismissed_by_us(ledger: Ledger) -> frozenset[str]:
    confirmed = ledger.dismissals.find(Search(outcome=Outcome.CONFIRMED))
    return frozenset(entry.task_id for entry in confirmed if entry.rule is not None)


def _sample(workspace: Workspace, task: Task, word: Word) -> Sample:
    """Take the task's age when we last saw it pending, where we did."""
    seen: datetime | None = None
    if task.id is not None:
        judgement = workspace.ledger.judgements.last(task.id)
        seen = judgement.decided_at if judgement else None
    return Sample(
        task=task,
        word=word,
        at=seen or workspace.clock.now(),
        is_time_known=seen is not None,
    )


def _as_json(result: Backtest) -> dict[str, Any]:
    return {
        "approved": result.approved,
        "dismissed": result.dismissed,
        "dismissed_by_triaged": result.ours,
        "times_unknown": result.times_unknown,
        "cannot_know": cannot_know(result),
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
        "agreement": agreement.share,
        "interval": agreement.interval,
        "counterexamples": [_example_json(one) for one in record.counterexamples],
    }


def _example_json(example: Counterexample) -> dict[str, Any]:
    return {
        "task_id": example.task.id,
        "description": example.task.description,
        "match": verdict_json(example.verdict),
    }


def _show(result: Backtest) -> None:
    say(
        f"People approved {result.approved} and dismissed {result.dismissed} tasks,"
        f" not counting {result.ours} that triaged dismissed itself."
    )
    for record in result.records:
        say(f"\n{record.rule} ({record.mode}): {summary(record)}.")
        for example in record.counterexamples:
            task = example.task
            line = f"approved: {task.id} {task.description or '—'}"
            tree = Tree(Text(printable(shorten(line, 140))))
            add_verdict(tree, verdict_json(example.verdict))
            console().print(tree)
    say("")
    for note in cannot_know(result):
        say(f"note: {note}")
