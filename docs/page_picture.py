"""A picture of the status page: its HTML and stylesheet in an SVG, of made-up data."""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from triaged.daemon.health import Health
from triaged.daemon.render import stylesheet
from triaged.daemon.snapshot import LiveState
from triaged.daemon.status_page import StatusPages
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Intent, Outcome, Source
from triaged.ledger.holds import Hold
from triaged.ledger.observations import NewObservation
from triaged.ledger.views import open_views
from triaged.quota import QuotaLimiter, QuotaSettings
from triaged.rules.context import build_context
from triaged.rules.task import (
    Decision,
    HumanDecision,
    LeaveCause,
    Task,
    parse_task,
)
from triaged.rulesfile.loader import parse
from triaged.triage.report import CycleReport, CycleResult

NOW: Final = datetime(2026, 3, 31, 14, 20, tzinfo=UTC)
WIDTH: Final = 1280
HEIGHT: Final = 1060
RULES: Final = rb"""
version: 1
rules:
  - {name: test-clutter, match: {description: '^\[TEST\]'}, dismiss: testing}
  - name: asked-twice
    match: {duplicate: {of: [type, description]}}
    dismiss: duplicate
  - name: stale-searches
    hold: 24h
    match: {type: prospect_search, age: {over: 30d}}
    dismiss: not_relevant
  - name: weekend-noise
    mode: observe
    match: {description: {words: [newsletter]}}
    dismiss: not_relevant
"""
# A month of dismissals by rule; the last day is today.
DAYS: Final = (
    ("test-clutter", "testing", "3214230521403214230521403223512"),
    ("asked-twice", "duplicate", "0120130021101200310120130020113"),
    ("stale-searches", "not_relevant", "0000000000112302101211032021024"),
)
HELD: Final = (
    ("5f0c2a91", "Find 200 CEOs in Leeds", 22),
    ("83d7e6b4", "Find CFOs of law firms, Q4", 15),
    ("c41b09fe", "Find partners for the spring fair", 3),
)
_VOID: Final = re.compile(r"<(meta|link|input|br)\b([^>]*?)/?>")
_MEDIA: Final = re.compile(r"@media \(([^)]*)\) \{\n?((?:[^{}]*\{[^{}]*\})*[^{}]*)\}\n")


def page_picture() -> str:
    """Draw the upper part of the status page, without fonts or scripts."""
    with _in_utc(), tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with Ledger.open(place, workspace="acme") as ledger, ledger.transaction():
            _fill(ledger)
        pages = StatusPages(lambda: open_views(place, "acme"), form_token="made-up")  # noqa: S106 - a picture
        page = pages.status(_live())
    body = page.partition("<body>")[2].partition("</body>")[0]
    upper = body.partition('<div class="columns">\n<section>\n  <h2>Last dis')[0]
    markup = _VOID.sub(r"<\1\2/>", upper)
    # HTML knows that a chart is SVG; in XML it has to be said.
    markup = markup.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return _SVG.format(width=WIDTH, height=HEIGHT, style=_style(), body=markup.strip())


def _style() -> str:
    """Return the stylesheet for the picture's width, whatever size it is shown at."""

    def applied(block: re.Match[str]) -> str:
        condition, rules = block[1], block[2]
        if condition.startswith("prefers-color-scheme"):
            return block[0]
        kind, _, rem = condition.removesuffix("rem").partition(": ")
        is_wide = float(rem) * 16 <= WIDTH
        return rules if is_wide is (kind == "min-width") else ""

    style = _MEDIA.sub(applied, stylesheet())
    return style.replace("\nbody {", "\n.page {").replace("&", "&amp;")


def _fill(ledger: Ledger) -> None:
    """Record a month of dismissals, what was observed, and what waits."""
    ruleset = parse(RULES, "rules.yaml").ruleset
    ledger.rulesets.save(ruleset.sha256, RULES.decode(), at=NOW)
    for rule, reason, days in DAYS:
        for ago, count in enumerate(reversed(days)):
            for number in range(int(count)):
                _dismiss(ledger, f"{rule}-{ago}-{number}", rule, reason, ago)
    seen = [
        NewObservation(
            task_id=f"seen-{number}",
            rule="weekend-noise",
            reason="not_relevant",
            fingerprint="f",
        )
        for number in range(23)
    ]
    ledger.observations.record(seen, at=NOW - timedelta(hours=2))
    said = {f"seen-{n}": HumanDecision.DISMISSED for n in range(19)}
    ledger.feedback.record(said | {"seen-19": HumanDecision.APPROVED}, at=NOW)
    held = [_task(task_id, text) for task_id, text, _ in HELD]
    ledger.decisions.save(
        [Decision(task, LeaveCause.HELD, "stale-searches") for task in held],
        rules_sha256=ruleset.sha256,
        context=build_context(ruleset.conditions(), held, now=NOW),
        duplicates=[],
        at=NOW,
    )
    ledger.holds.replace(
        {
            Hold(task_id, "stale-searches", "f"): NOW - timedelta(hours=hours)
            for task_id, _, hours in HELD
        }
    )
    ledger.vetoes.add("a17e55d0", at=NOW - timedelta(days=2), by="petra on the page")


def _dismiss(ledger: Ledger, task_id: str, rule: str, reason: str, ago: int) -> None:
    at = NOW - timedelta(days=ago)
    entry = ledger.dismissals.record_intent(
        Intent(
            task=_task(task_id, "made up"),
            rule=rule,
            reason=reason,
            source=Source.DAEMON,
            cycle="c",
            decided_at=at,
            rules_sha256="0",
            trace="{}",
        )
    )
    ledger.dismissals.record_outcome(entry, Outcome.CONFIRMED, at=at)


def _task(task_id: str, description: str) -> Task:
    return parse_task(
        {
            "id": task_id,
            "type": "prospect_search",
            "status": "pending",
            "description": description,
            "created_at": "2026-01-01T00:00:00Z",
            "metadata": {},
        }
    )


def _live() -> LiveState:
    report = CycleReport(
        id="c",
        started_at=NOW,
        duration_seconds=1.0,
        result=CycleResult.OK,
        listed=True,
        pending={"prospect_search": 31, "contact_update": 16},
        left_by_cause={
            LeaveCause.NO_RULE: 38,
            LeaveCause.HELD: len(HELD),
            LeaveCause.PROTECTED: 4,
            LeaveCause.VETOED: 1,
            LeaveCause.YOUNG: 1,
        },
    )
    limiter = QuotaLimiter(QuotaSettings.for_plan("pro"))
    quota = replace(limiter.snapshot(NOW.timestamp()), remaining=655)
    return LiveState(
        workspace="acme",
        now=NOW,
        dry_run=False,
        ruleset=parse(RULES, "rules.yaml").ruleset,
        health=Health(
            heartbeat_at=0.0,
            interval=timedelta(minutes=5),
            key_accepted=True,
            last_success_at=NOW,
            last_poll_at=NOW - timedelta(minutes=2),
            next_poll_at=NOW + timedelta(minutes=3),
            last_report=report,
            last_list=report,
        ),
        quota=quota,
        clock_skew=timedelta(0),
        errors={},
    )


@contextmanager
def _in_utc() -> Iterator[None]:
    """Show local times as UTC, wherever the picture is made."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


_SVG: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
role="img" aria-label="The status page of triaged">
<style>
{style}</style>
<foreignObject width="{width}" height="{height}">
<div xmlns="http://www.w3.org/1999/xhtml" class="page">
{body}
</div>
</foreignObject>
</svg>
"""
