"""``triaged backtest``: rules judged by what people really did."""

import asyncio
import json
from datetime import datetime
from enum import StrEnum
from typing import Any

import click
from rich.text import Text
from rich.tree import Tree

from triaged.backtest import (
    APPROVED_STATUSES,
    DISMISSED_STATUS,
    Backtest,
    Record,
    Sample,
    Word,
    listing_of,
    run_backtest,
)
from triaged.backtest_page import cannot_know, render_backtest, summary
from triaged.cli.options import API, LEDGER, QUOTA, RULES, OneOf, with_settings
from triaged.clock import SystemClock
from triaged.engine.explain import judge
from triaged.engine.model import Task
from triaged.engine.rules import Ruleset
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Outcome, Search
from triaged.quota import Purpose
from triaged.render import add_verdict, console, say, shorten
from triaged.rules import load_rules
from triaged.settings import Settings
from triaged.trace import verdict_json
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
        report = _as_json(result, rules.ruleset)
        say(json.dumps(report, indent=2, ensure_ascii=False))
    elif form is ReportFormat.HTML:
        page = render_backtest(result, workspace=settings.workspace, at=clock.now())
        say(page, end="")
    else:
        _show(result, rules.ruleset)


async def _backtest(settings: Settings, ruleset: Ruleset) -> Backtest:
    async with open_workspace(settings, SystemClock()) as workspace:
        samples: list[Sample] = []
        ours = 0
        dismissed_by_us = _dismissed_by_us(workspace.ledger)
        for status in (*APPROVED_STATUSES, DISMISSED_STATUS):
            for task in await _listed(workspace, status):
                is_dismissed = status == DISMISSED_STATUS
                if is_dismissed and task.id in dismissed_by_us:
                    ours += 1
                    continue
                word = Word.DISMISSED if is_dismissed else Word.APPROVED
                samples.append(_sample(workspace, task, word))
        result = run_backtest(ruleset, samples, ours=ours)
        _remember(workspace.ledger, result)
    return result


def _remember(ledger: Ledger, result: Backtest) -> None:
    """Keep each counter-example once; the daemon shows their number as a metric."""
    with ledger.transaction():
        known = ledger.marks.totals("counterexamples")
        for record in result.records:
            for sample in record.counterexamples:
                task_id = sample.task.id or ""
                if (record.rule, task_id) not in known:
                    ledger.marks.add("counterexamples", record.rule, task_id)


async def _listed(workspace: Workspace, status: str) -> list[Task]:
    listed = await workspace.reader.list_tasks(status, purpose=Purpose.HAND)
    return [task for task in listed.tasks if task.id and task.status == status]


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


def _as_json(result: Backtest, ruleset: Ruleset) -> dict[str, Any]:
    return {
        "approved": result.approved,
        "dismissed": result.dismissed,
        "dismissed_by_triaged": result.ours,
        "times_unknown": result.times_unknown,
        "cannot_know": cannot_know(result),
        "rules": [_record_json(record, ruleset) for record in result.records],
    }


def _record_json(record: Record, ruleset: Ruleset) -> dict[str, Any]:
    return {
        "rule": record.rule,
        "reason": record.reason,
        "mode": record.mode,
        "would_dismiss": record.would_dismiss,
        "dismissed": record.dismissed,
        "approved": record.approved,
        "agreement": record.agreement,
        "interval": None if record.low is None else [record.low, record.high],
        "counterexamples": [
            {
                "task_id": sample.task.id,
                "description": sample.task.description,
                "match": _verdict(record, sample, ruleset),
            }
            for sample in record.counterexamples
        ],
    }


def _verdict(record: Record, sample: Sample, ruleset: Ruleset) -> dict[str, Any]:
    rule = ruleset.rule(record.rule)
    if rule is None:
        raise LookupError(record.rule)
    listing = listing_of(ruleset, sample.at)
    return verdict_json(judge(rule.match, sample.task, listing))


def _show(result: Backtest, ruleset: Ruleset) -> None:
    say(
        f"People approved {result.approved} tasks and dismissed {result.dismissed};"
        f" {result.ours} that triaged dismissed are left out."
    )
    for record in result.records:
        say(f"\n{record.rule} ({record.mode}): {summary(record)}.")
        for sample in record.counterexamples:
            line = f"approved: {sample.task.id} {sample.task.description or '—'}"
            tree = Tree(Text(shorten(line, 140)))
            add_verdict(tree, _verdict(record, sample, ruleset))
            console().print(tree)
    say("")
    for note in cannot_know(result):
        say(f"note: {note}")
