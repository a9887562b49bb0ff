"""Sixty days of evidence: suggested, observed, promoted, drifted from, demoted.

Simulated people settle the sandbox's tasks by a policy that triaged does not know, and
every figure that triaged shows is compared with the sandbox's own books.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.inprocess import CommandLine, FixedClock, settings_for
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.daemon.health import Health
from triaged.daemon.snapshot import LiveState
from triaged.daemon.status_page import StatusPages
from triaged.ledger.views import open_views
from triaged.quota import QuotaLimiter, QuotaSettings
from triaged.rules.task import Task
from triaged.rulesfile.loader import load, parse
from triaged.sandbox.people import PeopleSettings
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.store import API, PERSON

BEGIN: Final = """\
version: 1
rules:
  - name: campaigns
    match: {type: campaign_start}
    leave: true
"""
A_CYCLE: Final = timedelta(hours=4)
LEARNED: Final = 20
DRIFTED: Final = 45
END: Final = 60


def is_test(task: Task) -> bool:
    text = (task.description or "").casefold()
    return "test" in text.split() or "[test]" in text or "lorem ipsum" in text


def dismiss_tests(tasks: Sequence[Task], _: datetime) -> Mapping[str, str]:
    """Dismiss test data and approve the rest: the policy at first."""
    return {t.id: "dismissed" if is_test(t) else "approved" for t in tasks if t.id}


def approve_all(tasks: Sequence[Task], _: datetime) -> Mapping[str, str]:
    """Approve everything: the policy after the drift."""
    return {task.id: "approved" for task in tasks if task.id}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def sandbox(clock: FixedClock) -> Iterator[RunningSandbox]:
    settings = SandboxSettings(
        task_count=0,
        minute_limit=None,
        day_limit=None,
        people=PeopleSettings(policy=dismiss_tests, arrivals_per_day=40),
    )
    with running_sandbox(settings, clock) as running:
        yield running


@pytest.fixture
def command(
    sandbox: RunningSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: FixedClock,
) -> CommandLine:
    (tmp_path / "rules.yaml").write_text(BEGIN)
    settings = settings_for(sandbox.api_url)
    return CommandLine(tmp_path, monkeypatch, clock, settings)


def live(command: CommandLine, *, until: datetime) -> None:
    """Run a cycle every four hours, as cron would."""
    while command.clock.at < until:
        command.clock.at += A_CYCLE
        done = command.run("run", "--once", "--metrics-file", "triaged.prom")
        assert done.code in {0, 4}, done.err


def take_suggestions(command: CommandLine) -> list[str]:
    """Put the proposed rules in force, to be promoted by evidence."""
    done = command.run("suggest", "--out", "new.yaml")
    assert done.code == 0, done.err
    text = (command.directory / "new.yaml").read_text()
    earned = (
        "mode: observe\n    promote: {agreement: 0.85, tasks: 30}\n    audit: 0.2\n"
    )
    text = text.replace("mode: observe\n", earned)
    (command.directory / "rules.yaml").write_text(text)
    assert command.run("check", "rules.yaml").code == 0
    return [r.name for r in parse(text.encode(), "rules.yaml").ruleset.rules]


def metrics(command: CommandLine) -> Mapping[tuple[str, str], float]:
    """Return the sum of each metric by its name and rule."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    text = (command.directory / "triaged.prom").read_text()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, sample.labels.get("rule", "")] += sample.value
    return found


def test_sixty_days(
    command: CommandLine, sandbox: RunningSandbox, clock: FixedClock
) -> None:
    """A habit of people is found, acts by evidence, and is given up when it changes."""
    world, start = sandbox.world, clock.at
    live(command, until=start + timedelta(days=LEARNED))
    rules = take_suggestions(command)
    live(command, until=start + timedelta(days=DRIFTED, hours=12))
    promoted = {row[0]: row[1] for row in changes(command)}
    _check_digest(command, sandbox)
    _check_page(command, sandbox)
    assert world.people is not None
    world.people.policy = approve_all
    drift_at = clock.at
    live(command, until=start + timedelta(days=END))

    ours = [e for e in world.store.effects if e.by == API]
    theirs = {e.task_id: e.status for e in world.store.effects if e.by == PERSON}
    assert rules
    assert promoted
    assert set(promoted.values()) == {"promoted"}
    assert ours
    demoted = {rule for rule, change in changes(command) if change == "demoted"}
    assert demoted == set(promoted)
    # What was wrong after the drift ended within days, not at the end.
    last = max(effect.at for effect in ours)
    assert last - drift_at < timedelta(days=10)
    _check_books(command, Counter(e.reason for e in ours), theirs)


def changes(command: CommandLine) -> list[tuple[str, str]]:
    """Return the promotions and demotions so far, by the metrics."""
    text = (command.directory / "triaged.prom").read_text()
    found = re.findall(
        r'triaged_rule_changes_total{change="(\w+)",rule="([^"]+)",.*} (\d+)\.0', text
    )
    return [(rule, change) for change, rule, number in found if int(number)]


def _check_digest(command: CommandLine, sandbox: RunningSandbox) -> None:
    """Compare the digest of the last day with what the sandbox saw in it."""
    digest = command.run("notify", "--preview", "--format", "json").json
    since = command.clock.at - timedelta(days=1)
    recent = [
        effect
        for effect in sandbox.world.store.effects
        if effect.by == API and effect.at > since
    ]

    assert recent
    told = {row["rule"]: row["count"] for row in digest["dismissed"]}
    assert sum(told.values()) == len(recent)


def _check_page(command: CommandLine, sandbox: RunningSandbox) -> None:
    """Compare the page of the moment with what the sandbox and the metrics say."""
    now = command.clock.at
    state = command.directory / "state"
    live = LiveState(
        workspace="default",
        now=now,
        dry_run=False,
        ruleset=load(command.directory / "rules.yaml").ruleset,
        health=Health(heartbeat_at=0.0, interval=timedelta(hours=4)),
        quota=QuotaLimiter(QuotaSettings.for_plan("org")).snapshot(now.timestamp()),
        clock_skew=timedelta(0),
        errors={},
    )
    page = StatusPages(lambda: open_views(state, "default")).status(live)
    today = [
        effect
        for effect in sandbox.world.store.effects
        if effect.by == API and effect.at.date() == now.date()
    ]
    counted = metrics(command)

    assert today
    assert f'data-figure="dismissed-today">{len(today)}<' in page
    for (name, rule), value in counted.items():
        if name == "triaged_rule_changes_total" and value and rule:
            assert f"<b>{rule}</b>" in page
            assert "promoted " in page.partition(f"<b>{rule}</b>")[2][:400]


def _check_books(
    command: CommandLine, ours: Counter[str | None], theirs: Mapping[str, str]
) -> None:
    """History, agreement, status and metrics say what the sandbox's books say."""
    history = command.run("history", "--format", "json").json
    observed = command.run("history", "--observed", "--format", "json").json
    agreement = command.run("history", "--agreement", "--format", "json").json
    status = command.run("status", "--format", "json").json
    counted = metrics(command)
    dismissed = {row["task_id"] for row in history}
    known = [row for row in observed if row["human_decision"] is not None]

    assert Counter(row["reason"] for row in history) == ours
    assert Counter(row["outcome"] for row in history) == {"confirmed": ours.total()}
    assert sum(
        n for (name, _), n in counted.items() if name == "triaged_dismissals_total"
    ) == len(history)
    assert known
    for row in known:
        told = "approved" if row["human_decision"] == "approved" else "dismissed"
        assert theirs[row["task_id"]] == told
        assert row["task_id"] not in dismissed
    for row in agreement:
        same = [
            one
            for one in observed
            if (one["rule"], one["kind"]) == (row["rule"], row["kind"])
        ]
        assert row["observed"] == len(same)
        assert row["approved"] == sum(
            one["human_decision"] == "approved" for one in same
        )
    for rule in {row["rule"] for row in observed}:
        seen = [r for r in observed if r["rule"] == rule]
        assert counted["triaged_rule_false_positives_total", rule] == sum(
            r["human_decision"] == "approved" for r in seen
        )
    modes = {row["rule"]: row["mode"] for row in status["rules"]}
    demoted = {
        row["rule"]
        for row in status["rules"]
        if row["change"] and row["change"]["change"] == "demoted"
    }
    assert demoted == {row["rule"] for row in agreement if row["kind"] == "audited"}
    assert {modes[row["rule"]] for row in agreement} == {"observe"}
