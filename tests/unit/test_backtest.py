"""Rules judged by what people did."""

from datetime import timedelta

import pytest

from tests.builders import T0, a_task
from triaged.cli.backtest import limitations, render_backtest
from triaged.rules.rule import Ruleset
from triaged.rules.task import HumanDecision, Task
from triaged.rulesfile.loader import parse
from triaged.triage.agreement import wilson_interval
from triaged.triage.backtest import LabeledTask, run_backtest

RULES = r"""
version: 1
protect: [{description: board}]
rules:
  - name: clutter
    match: {description: '^TEST'}
    dismiss: testing
  - name: old
    mode: observe
    match: {type: prospect_search, age: {over: 14d}}
    dismiss: not_relevant
  - name: people
    match: {type: campaign_start}
    leave: true
"""


def rules() -> Ruleset:
    return parse(RULES.encode(), "rules.yaml").ruleset


def a_sample(word: HumanDecision, task: Task) -> LabeledTask:
    return LabeledTask(task=task, label=word, evaluated_at=T0, time_is_known=True)


def test_agreement_counts_what_people_dismissed() -> None:
    """Of what a rule wants, what people approved speaks against it, by name."""
    samples = [
        a_sample(HumanDecision.DISMISSED, a_task(id="a", description="TEST a")),
        a_sample(HumanDecision.DISMISSED, a_task(id="b", description="TEST b")),
        a_sample(HumanDecision.APPROVED, a_task(id="c", description="TEST c")),
        a_sample(HumanDecision.APPROVED, a_task(id="d", description="ordinary")),
        a_sample(HumanDecision.APPROVED, a_task(id="e", description="TEST board")),
    ]
    clutter, old = run_backtest(rules(), samples, ours=3).records

    assert (clutter.agreement.dismissed, clutter.agreement.approved) == (2, 1)
    assert clutter.agreement.value == pytest.approx(2 / 3)
    assert [example.task.id for example in clutter.false_positives] == ["c"]
    assert (old.agreement.total, old.agreement.value) == (0, None)
    assert old.agreement.interval is None


def test_ages_are_those_of_the_decision() -> None:
    """A task is as old as when people decided on it, not as old as today."""
    task = a_task(age=timedelta(days=13))
    young = LabeledTask(
        task=task, label=HumanDecision.APPROVED, evaluated_at=T0, time_is_known=True
    )
    later = T0 + timedelta(days=2)
    old = LabeledTask(
        task=task, label=HumanDecision.APPROVED, evaluated_at=later, time_is_known=False
    )
    result = run_backtest(rules(), [young, old], ours=0)

    assert result.records[1].agreement.total == 1
    assert result.unknown_times == 1
    assert any("1 of the tasks" in note for note in limitations(result))


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634)],
)
def test_wilson(hits: int, trials: int, low: float, high: float) -> None:
    """The interval is Wilson's, also at the ends where others fail."""
    assert list(wilson_interval(hits, trials)) == pytest.approx([low, high], abs=1e-4)


def test_the_page_is_self_contained_and_escapes() -> None:
    """The report fetches nothing, and text from tasks is only text."""
    hostile = a_task(id="<b>", description="TEST <script>alert(1)</script>\u202e")
    samples = [a_sample(HumanDecision.APPROVED, hostile)]
    page = render_backtest(
        run_backtest(rules(), samples, ours=0), workspace="<w>", at=T0
    )

    assert "<script>" not in page
    assert "http" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
