"""A plan as people read it."""

from datetime import timedelta

import pytest

from tests.builders import T0, a_task
from triaged.cli.output import layout
from triaged.cli.plan_table import Preview, format_age, show_plan, waiting_by_rule
from triaged.rules.rule import Ruleset
from triaged.rules.task import Decision, LeaveCause, ProposedDismissal
from triaged.rulesfile.loader import parse
from triaged.triage.guard import GuardResult, History

RULES = r"""
version: 1
rules:
  - {name: clutter, hold: 24h, match: {description: '^TEST'}, dismiss: testing}
  - {name: old, mode: observe, match: {age: {over: 14d}}, dismiss: not_relevant}
"""


def rules() -> Ruleset:
    return parse(RULES.encode(), "rules.yaml").ruleset


def a_view(
    decisions: list[Decision], *, breaker: str | None = None, **history: object
) -> Preview:
    guarded = GuardResult(
        audited=(),
        decisions=tuple(decisions),
        to_dismiss=tuple(d for d in decisions if d.is_dismissal),
        breaker=breaker,
        on_hold_rules=frozenset(),
        observed=(),
    )
    return Preview(
        ruleset=rules(),
        tasks=(),
        guarded=guarded,
        history=History(**history),  # type: ignore[arg-type]
        now=T0,
        short_ids={},
    )


def a_wanted(cause: LeaveCause | None, number: int = 1) -> Decision:
    return Decision(a_task(id=f"t{number}"), cause, rule="clutter", reason="testing")


def test_only_what_changes_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Dismissals, observations and holds have rows; what is left has a total."""
    seen = (ProposedDismissal("old", "not_relevant"),)
    decisions = [
        a_wanted(None, 1),
        a_wanted(LeaveCause.HELD, 2),
        Decision(a_task(id="t3"), LeaveCause.NO_RULE, observed=seen),
        Decision(a_task(id="t4"), LeaveCause.NO_RULE),
        a_wanted(LeaveCause.OVER_CAP, 5),
    ]
    since = {("t2", "clutter"): T0 - timedelta(hours=4)}
    show_plan(a_view(decisions, held_since=since), everything=False, verbose=False)
    shown = capsys.readouterr().out

    ends = T0 + timedelta(hours=20)
    assert "t1     dismiss (clutter)" in shown
    assert f"on hold until {ends:%Y-%m-%d %H:%M} UTC (clutter)" in shown
    assert "would dismiss (old, observing)" in shown
    assert "t4" not in shown
    assert "1 over a limit" in shown
    assert "no_rule" not in shown


def test_every_task_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """With --all a task that is left has a row, with its cause in words."""
    decisions = [Decision(a_task(id="t4"), LeaveCause.NO_RULE)]
    show_plan(a_view(decisions), everything=True, verbose=True)

    assert "leave: no rule matched" in capsys.readouterr().out


def test_an_open_breaker_names_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    """The person sees which rule wants how many."""
    decisions = [a_wanted(LeaveCause.BREAKER, n) for n in range(30)]
    view = a_view(decisions, breaker="the rules want 30 of 40 pending tasks")
    show_plan(view, everything=False, verbose=False)
    shown = capsys.readouterr().out

    assert "The breaker is open: the rules want 30 of 40 pending tasks." in shown
    assert "clutter wants 30" in shown


def test_what_is_wanted_is_counted_by_rule_and_cause() -> None:
    """What no rule wants, and what cannot be dismissed any more, does not count."""
    decisions = [
        a_wanted(LeaveCause.OVER_CAP, 1),
        a_wanted(LeaveCause.PAUSED, 2),
        a_wanted(LeaveCause.NOT_PENDING, 3),
        a_wanted(None, 4),
        Decision(a_task(id="t5"), LeaveCause.NO_RULE),
    ]

    assert waiting_by_rule(a_view(decisions).guarded) == {
        "clutter": {"over_cap": 1, "paused": 1}
    }


def test_ids_never_wrap() -> None:
    """Only the last column is cut; on a narrow terminal it has a line of its own."""
    task_id = "4f0c9a6e-1b7d-4f83-9a51-0c5a3a7e1d11"
    rows = [(task_id, "dismiss (clutter)", "a description " * 5)]
    wide = layout(("task", "decision", "description"), rows, width=100)
    narrow = layout(("task", "decision", "description"), rows, width=60)

    assert wide[2].startswith(f"{task_id}   dismiss (clutter)   a description")
    assert all(len(line) <= 100 for line in wide)
    assert narrow[3] == f"{task_id}   dismiss (clutter)"
    assert narrow[4].startswith("   a description")
    assert len(narrow[4]) <= 60


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (None, "?"),
        (timedelta(0), "0s"),
        (timedelta(minutes=5, seconds=9), "5m"),
        (timedelta(days=3, hours=23), "3d"),
    ],
)
def test_an_age_has_its_largest_unit_only(age: timedelta | None, shown: str) -> None:
    """Seconds do not matter in a task of three days."""
    assert format_age(age) == shown
