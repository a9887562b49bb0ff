"""The pages for people: everything that matters, nothing that a task could steer."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from starlette.responses import HTMLResponse

from tests.builders import T0, a_task, an_observation
from triaged.daemon.banner import Tone, banner
from triaged.daemon.exposition import collect, make_registry
from triaged.daemon.health import Health
from triaged.daemon.metrics import Metrics
from triaged.daemon.snapshot import LiveState, Snapshot, with_totals
from triaged.daemon.status_page import StatusPages
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Intent, Outcome, Source
from triaged.ledger.flags import Flag, FlagName
from triaged.ledger.holds import Hold
from triaged.ledger.location import LedgerLocation
from triaged.ledger.observations import ObservationKind
from triaged.ledger.views import LedgerTotals, open_views
from triaged.quota import QuotaLimiter, QuotaSettings
from triaged.rules.context import build_context
from triaged.rules.explain import explain
from triaged.rules.explain_json import dump_trace
from triaged.rules.rule import Mode, Ruleset
from triaged.rules.task import Change, Decision, HumanDecision, LeaveCause
from triaged.rulesfile.loader import parse
from triaged.triage.evidence import change_mode
from triaged.triage.report import CycleReport, CycleResult

RULES = b"""
version: 1
rules:
  - name: clutter
    hold: 24h
    match: {description: '^TEST'}
    dismiss: testing
  - name: watch
    mode: observe
    match: {type: prospect_search}
    dismiss: not_relevant
"""
HOSTILE = "<script>x</script>\x1b[31m\u202e"


def ruleset() -> Ruleset:
    return parse(RULES, "rules.yaml").ruleset


def observing() -> Ruleset:
    rules = tuple(replace(rule, mode=Mode.OBSERVE) for rule in ruleset().rules)
    return replace(ruleset(), rules=rules)


def a_report() -> CycleReport:
    return CycleReport(
        id="c",
        started_at=T0,
        duration_seconds=1.0,
        result=CycleResult.OK,
        listed=True,
        pending={"prospect_search": 40, "invented": 2},
        left_by_cause={LeaveCause.NO_RULE: 30, LeaveCause.HELD: 7},
    )


def a_live_state(**given: Any) -> LiveState:
    report = a_report()
    live = LiveState(
        workspace="acme",
        now=T0,
        dry_run=False,
        ruleset=ruleset(),
        health=Health(
            heartbeat_at=0.0,
            interval=timedelta(minutes=5),
            key_accepted=True,
            last_success_at=T0,
            last_report=report,
            last_list=report,
        ),
        quota=QuotaLimiter(QuotaSettings.for_plan("starter")).snapshot(T0.timestamp()),
        clock_skew=timedelta(0),
        errors={},
    )
    return replace(live, **given)


NO_TOTALS = LedgerTotals(
    rule_changes={},
    modes={},
    attempts={},
    dismissals={},
    observed={},
    false_positives={},
    notifications={},
    unresolved=0,
    paused=None,
    breaker=None,
)


def a_snapshot(**given: Any) -> Snapshot:
    totals = given.pop("totals", NO_TOTALS)
    return with_totals(a_live_state(**given), totals)


@pytest.fixture
def ledger(place: LedgerLocation) -> Iterator[Ledger]:
    with Ledger.open(place, workspace="acme") as opened:
        yield opened


@pytest.fixture
def pages(ledger: Ledger, place: LedgerLocation) -> StatusPages:
    del ledger  # made first
    return StatusPages(lambda: open_views(place, "acme"))


def cells(page: str) -> list[str]:
    """Return the text of all table cells, as a reader sees it."""
    found = re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]+>", "", c)).split()) for c in found]


def figure(page: str, name: str) -> int:
    found = re.search(rf'data-figure="{name}">([^<]*)<', page)
    assert found, name
    return int(found[1].replace(",", ""))


def dismiss(ledger: Ledger, description: str, task_id: str = "t1") -> None:
    """Record a confirmed dismissal by the first rule."""
    task = a_task(id=task_id, description=description, metadata={"k": "a-secret"})
    context = build_context(ruleset().conditions(), [task], now=T0)
    entry = ledger.dismissals.record_intent(
        Intent(
            task=task,
            rule="clutter",
            reason="testing",
            source=Source.DAEMON,
            cycle="c",
            decided_at=T0,
            rules_sha256="0",
            trace=dump_trace(explain(ruleset(), task, context)),
        )
    )
    ledger.dismissals.record_outcome(entry, Outcome.CONFIRMED, at=T0)


def leave(ledger: Ledger, task_id: str, description: str) -> None:
    """Record a decision to leave."""
    rules = ruleset()
    task = a_task(id=task_id, description=description, metadata={"k": "a-secret"})
    ledger.rulesets.save(rules.sha256, RULES.decode(), at=T0)
    ledger.decisions.save(
        [Decision(task, LeaveCause.NO_RULE)],
        rules_sha256=rules.sha256,
        context=build_context(rules.conditions(), [task], now=T0),
        duplicates=[],
        at=T0,
    )


PAUSED = Flag(T0, "audit week", "petra")
BREAKER = Flag(T0, "40 of 50")


@pytest.mark.parametrize(
    ("snapshot", "word", "tone", "words"),
    [
        (a_snapshot(), "working", Tone.GOOD, "are dismissed"),
        (
            a_snapshot(ruleset=observing()),
            "observing",
            Tone.NEUTRAL,
            "nothing is dismissed",
        ),
        (a_snapshot(dry_run=True), "dry run", Tone.NEUTRAL, "dismisses nothing"),
        (
            a_snapshot(totals=replace(NO_TOTALS, paused=PAUSED)),
            "paused",
            Tone.WARNING,
            "by petra: audit week",
        ),
        (
            a_snapshot(totals=replace(NO_TOTALS, breaker=BREAKER)),
            "breaker open",
            Tone.BAD,
            "40 of 50",
        ),
        (
            a_snapshot(health=replace(a_live_state().health, key_accepted=False)),
            "key refused",
            Tone.BAD,
            "refuses the API key",
        ),
        (
            a_snapshot(
                health=replace(
                    a_live_state().health,
                    waiting_for_quota_until=T0 + timedelta(hours=1),
                )
            ),
            "waiting for quota",
            Tone.WARNING,
            "01:00 UTC",
        ),
        (
            a_snapshot(quota=replace(a_live_state().quota, remaining=21)),
            "waiting for quota",
            Tone.WARNING,
            "2026-03-02 00:00 UTC",
        ),
        (
            a_snapshot(
                quota=replace(
                    a_live_state().quota,
                    blocked_by="day",
                    blocked_until=T0.timestamp() + 60,
                )
            ),
            "waiting for quota",
            Tone.WARNING,
            "2026-03-01 00:01 UTC",
        ),
        (
            a_snapshot(quota=replace(a_live_state().quota, remaining=22)),
            "working",
            Tone.GOOD,
            "are dismissed",
        ),
        (
            a_snapshot(
                health=replace(
                    a_live_state().health, last_success_at=T0 - timedelta(hours=1)
                )
            ),
            "degraded",
            Tone.BAD,
            "No cycle has succeeded since",
        ),
        (
            a_snapshot(health=Health(heartbeat_at=0.0, interval=timedelta(0))),
            "starting",
            Tone.NEUTRAL,
            "not been read yet",
        ),
    ],
)
def test_the_banner(snapshot: Snapshot, word: str, tone: Tone, words: str) -> None:
    """One word for the state, with a sentence that says the same."""
    shown = banner(snapshot)

    assert (shown.word, shown.tone) == (word, tone)
    assert words in shown.sentence


def test_what_else_holds_is_a_notice() -> None:
    """The most important state is the word; the others, and refused rules, follow."""
    health = replace(a_live_state().health, rules_rejected="rules.yaml:2:8: expected")
    totals = replace(NO_TOTALS, paused=PAUSED, unresolved=2)
    shown = banner(a_snapshot(dry_run=True, health=health, totals=totals))

    assert shown.word == "paused"
    notices = " ".join(shown.notices)
    for words in ("Dry run: ", "rules.yaml:2:8", "2 dismissals have no known outcome"):
        assert words in notices


def test_the_figures_agree_with_the_metrics(
    ledger: Ledger, pages: StatusPages, place: LedgerLocation
) -> None:
    """What page and metrics show at one moment is the same."""
    dismiss(ledger, "TEST x")
    ledger.counters.increment("dismissals", "clutter", "testing")
    ledger.observations.record([an_observation("o1", reason="not_relevant")], at=T0)
    live = a_live_state()
    page = pages.status(live)
    with open_views(place, "acme") as views:
        snapshot = with_totals(live, views.totals())
    registry = make_registry(
        lambda: collect([(Metrics("acme"), snapshot)]), process=False
    )

    def total(name: str, **labels: str) -> float:
        return sum(
            sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    assert figure(page, "pending") == total("triaged_tasks_pending") == 42
    assert figure(page, "held") == total("triaged_tasks_left", cause="held") == 7
    assert figure(page, "left-no_rule") == total("triaged_tasks_left", cause="no_rule")
    assert figure(page, "dismissed-today") == total("triaged_dismissals_total") == 1
    assert figure(page, "observed-today") == total("triaged_observed_total") == 1
    for name in ("limit", "remaining", "reserved"):
        assert figure(page, f"quota-{name}") == total(f"triaged_quota_{name}")


def test_each_rule_has_a_row(ledger: Ledger, pages: StatusPages) -> None:
    """Today's figures and the agreement with people, with its interval."""
    dismiss(ledger, "TEST x")
    ledger.observations.record(
        [an_observation(f"o{number}", reason="not_relevant") for number in range(4)],
        at=T0,
    )
    ledger.feedback.record(
        {"o0": HumanDecision.DISMISSED, "o1": HumanDecision.APPROVED}, at=T0
    )
    rows = cells(pages.status(a_live_state()))

    assert rows[:5] == ["clutter", "dismiss: testing", "enforce", "1", "0"]
    assert rows[7:12] == ["watch", "dismiss: not_relevant", "observe", "0", "4"]
    assert rows[13] == "50% of 2 (9% to 91%)"


def test_a_promoted_rule_says_so(ledger: Ledger, pages: StatusPages) -> None:
    """Its row has the mode in force, since when, and how its audited tasks fared."""
    rule = replace(ruleset().rules[1], audit=0.5)
    rules = replace(ruleset(), rules=(rule,))
    change_mode(ledger, rule, Change.PROMOTED, {}, T0)
    audited = [an_observation(f"a{n}", kind=ObservationKind.AUDITED) for n in range(2)]
    ledger.observations.record([*audited, an_observation("o1")], at=T0)
    ledger.feedback.record(
        dict.fromkeys(("a0", "a1", "o1"), HumanDecision.DISMISSED), at=T0
    )
    row = cells(pages.status(a_live_state(ruleset=rules)))[:7]

    assert row[:3] == ["watch", "dismiss: not_relevant", "enforce promoted 2026-03-01"]
    assert row[6].startswith("100% of 2")


def test_what_goes_next(ledger: Ledger, pages: StatusPages) -> None:
    """A task on hold is listed with the moment at which its hold ends."""
    leave(ledger, "t9", "TEST held")
    ledger.holds.replace({Hold("t9", "clutter", "f"): T0 - timedelta(hours=23)})

    row = "2026-03-01 01:00 t9 TEST held clutter"
    assert row in " ".join(cells(pages.status(a_live_state())))


def test_what_was_left_says_why_in_words(ledger: Ledger, pages: StatusPages) -> None:
    """A long id is shortened and leads to its page; the cause is in words."""
    task_id = "0198c7aa-1111-2222-3333-444455556666"
    leave(ledger, task_id, "a call")
    page = pages.status(a_live_state())

    assert "0198c7aa… a call no rule matched" in " ".join(cells(page))
    assert f'href="/tasks/{task_id}"' in page


def test_a_page_is_shared_for_a_second(ledger: Ledger, pages: StatusPages) -> None:
    """Readers within a second get one page; a later one sees what has changed."""
    first = pages.status(a_live_state())
    ledger.flags.set(FlagName.PAUSED, at=T0)

    assert pages.status(a_live_state()) == first
    later = pages.status(a_live_state(now=T0 + timedelta(seconds=1)))
    assert "paused" in later


def html(page: HTMLResponse) -> str:
    return bytes(page.body).decode()


def test_a_task_has_a_page(ledger: Ledger, pages: StatusPages) -> None:
    """A dismissal and a decision to leave each show the stored explanation."""
    dismiss(ledger, "TEST gone", "gone-task-1")
    leave(ledger, "left-task-1", "a call")
    gone = pages.task("gone-task-1", a_live_state())
    left = pages.task("left-tas", a_live_state())

    assert (gone.status_code, left.status_code) == (200, 200)
    assert "by rule clutter" in html(gone)
    assert "expected /^TEST/" in html(gone)
    assert "no rule matched" in html(left)
    assert "found &#34;a call&#34;" in html(left)
    missing = pages.task("nothing-here", a_live_state())
    assert missing.status_code == 404
    leave(ledger, "left-task-2", "a call")
    several = pages.task("left-task", a_live_state())
    assert several.status_code == 404
    assert 'href="/tasks/left-task-2"' in html(several)


def test_text_of_tasks_is_only_text(ledger: Ledger, pages: StatusPages) -> None:
    """Markup and control characters are shown, never obeyed; metadata is not shown."""
    dismiss(ledger, f"TEST {HOSTILE}", "t<b>1")
    leave(ledger, "t2", HOSTILE)
    ledger.flags.set(FlagName.PAUSED, reason=HOSTILE, at=T0)
    shown = [
        pages.status(a_live_state()),
        html(pages.task("t<b>1", a_live_state())),
        html(pages.task("t2", a_live_state())),
        html(pages.task(HOSTILE, a_live_state())),
    ]

    for page in shown:
        for raw in ("<script>", "\x1b", "\u202e", "<b>1", "a-secret", "style="):
            assert raw not in page
        assert "&lt;script&gt;" in page
