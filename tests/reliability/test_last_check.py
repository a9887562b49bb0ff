"""All participants at once: nothing leaves that is forbidden at that moment."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.harness import Program
from tests.reliability.kill_schedules import age_attempts
from tests.reliability.participants import Participants, Told
from tests.reliability.report import FULL, Report
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, DismissalRecord, Outcome, Source
from triaged.ledger.location import FILE
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.state import RecordedCall
from triaged.triage.last_check import MAX_LIST_AGE
from triaged.triage.reconcile import EFFECT_TIMEOUT

SECONDS: Final = int(os.environ.get("TRIAGED_LAST_CHECK", "3600" if FULL else "30"))
CAP: Final = 100_000 if FULL else 600
SEED: Final = int(os.environ.get("TRIAGED_SEED", str(SECONDS)))
# A request that was written before the answer may be read this much later.
IN_TRANSIT: Final = timedelta(seconds=0.5)
# A review lists again after a minute, but may then wait for others who dismiss.
MAX_STALE: Final = MAX_LIST_AGE
# Until the last call can have no effect any more, and one list beyond.
SETTLING_SECONDS: Final = EFFECT_TIMEOUT.total_seconds() + 30
CHAPTER: Final = "All at once"

pytestmark = pytest.mark.reliability


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(
        task_count=0, minute_limit=None, day_limit=None, latency=0.02
    )
    with running_sandbox(settings) as running:
        yield running


def test_nothing_forbidden_leaves(
    tmp_path: Path, sandbox: RunningSandbox, report: Report
) -> None:
    """No call leaves that pause, veto or the rules in force forbid; none is denied."""
    program = Program(tmp_path, sandbox.api_url)
    with report.check(
        CHAPTER, "no forbidden call, no dismissal denied or claimed, none repeated"
    ) as check:
        trial = Participants(program, sandbox, cap=CAP, seed=SEED)
        trial.run(SECONDS)
        records = settle(program)
        calls = [c for c in sandbox.world.calls if c.operation == "dismiss"]
        check.runs = len(calls)
        check.result = summary(trial.told, records)

        assert trial.told.errors == []
        assert forbidden(trial.told, attempts(calls, records)) == []
        assert denied(records, sandbox) == []
        assert repeated(records) == []
        # A busy machine does less, but a trial of little proves nothing.
        assert len(calls) > SECONDS / 4
        assert sum(r.outcome is Outcome.CONFIRMED for r in records) <= CAP


def settle(program: Program) -> list[DismissalRecord]:
    """Run cycles until no outcome is unknown any more; return what the ledger has."""
    program.settings["TRIAGED_RATE_LIMIT"] = "1000000/1m"
    state, deadline = program.directory / "state", time.monotonic() + SETTLING_SECONDS
    decided_at = {each.id: each.decided_at for each in recorded(state)}
    while True:
        # What the server was slow to do is done by now.
        time.sleep(5)  # noqa: TID251 - real processes, real time
        if not FULL:
            age_attempts(state / FILE)
        settled = program.run("run", "--once")
        assert settled.returncode in {0, 4}, settled.stderr
        records = recorded(state)
        is_settled = all(r.outcome not in {None, Outcome.UNKNOWN} for r in records)
        if is_settled or time.monotonic() > deadline:
            return [
                replace(each, decided_at=decided_at.get(each.id, each.decided_at))
                for each in records
            ]


def recorded(state: Path) -> list[DismissalRecord]:
    """Return all attempts in the ledger of a state directory."""
    with Ledger.open(state) as ledger:
        return ledger.dismissals.query(DismissalFilter())


def summary(told: Told, records: list[DismissalRecord]) -> str:
    """Return what the participants did."""
    outcomes = Counter(str(record.outcome) for record in records)
    sources = Counter(str(record.source) for record in records)
    done = {
        "pauses": told.pauses,
        "vetoes": told.vetoes,
        "protecting reloads": told.protected,
        "leaving reloads": told.left,
        "demotions": told.demoted,
        "deletions of the rules": told.deleted,
        "changed texts": told.boards,
    }
    return "; ".join(
        (
            ", ".join(f"{len(each)} {what}" for what, each in done.items()),
            "attempts by " + ", ".join(f"{k} {n:,}" for k, n in sources.most_common()),
            ", ".join(f"{n:,} {k}" for k, n in outcomes.most_common()),
        )
    )


def attempts(
    calls: list[RecordedCall], records: list[DismissalRecord]
) -> Iterator[tuple[RecordedCall, DismissalRecord]]:
    """Return each call with the intent that led to it."""
    by_task: dict[str, list[DismissalRecord]] = {}
    for record in sorted(records, key=lambda record: record.decided_at):
        by_task.setdefault(record.task_id, []).append(record)
    for call in calls:
        intents = by_task.get(call.task_id or "", [])
        before = [each for each in intents if each.decided_at <= call.received_at]
        assert before, f"a call without an intent: {call}"
        yield call, before[-1]


def forbidden(
    told: Told, attempted: Iterator[tuple[RecordedCall, DismissalRecord]]
) -> list[str]:
    """Return the calls that arrived although something forbade them."""
    found = []
    for call, intent in attempted:
        at, task_id = call.received_at, intent.task_id
        is_daemon, is_by_rule = intent.source is Source.DAEMON, intent.rule is not None
        text = intent.task.get("description", "")
        broken = [
            *(f"paused at {s}" for s, u in told.pauses if is_within(at, s, u)),
            *(f"protected by {w}" for w in in_force(told.protected, text, at)),
            *(f"left by {w}" for w in in_force(told.left, text, at) if is_by_rule),
            *(
                f"demoted at {s}"
                for s, u in told.demoted
                if is_by_rule and is_within(at, s, u)
            ),
            *(
                f"without rules at {s}"
                for s, u in told.deleted
                if not is_daemon and is_within(at, s, u)
            ),
        ]
        if "board" in text:
            broken.append("protected for its text")
        for what, since, margin in (
            ("vetoed", told.vetoes.get(task_id), IN_TRANSIT),
            ("changed", told.boards.get(task_id), MAX_STALE),
        ):
            if since is not None and at > since + margin:
                broken.append(f"{what} {at - since} before")
        found += [f"{at} {intent.source} {task_id}: {why}" for why in broken]
    return found


def is_within(at: datetime, since: datetime, until: datetime) -> bool:
    """Return whether a call certainly left within an interval."""
    return since + IN_TRANSIT < at < until


def in_force(
    told: list[tuple[str, datetime, datetime]], text: str, at: datetime
) -> list[str]:
    """Return the words in force that hold for a text."""
    return [w for w, since, until in told if w in text and is_within(at, since, until)]


def denied(records: list[DismissalRecord], sandbox: RunningSandbox) -> list[str]:
    """Return where the ledger and the server's own log disagree."""
    done = {
        effect.task_id
        for effect in sandbox.world.store.effects
        if effect.status == "dismissed"
    }
    confirmed = Counter(
        record.task_id for record in records if record.outcome is Outcome.CONFIRMED
    )
    missing = [f"{task_id} denied" for task_id in done - confirmed.keys()]
    claimed = [f"{task_id} claimed" for task_id in confirmed.keys() - done]
    twice = [f"{task_id} counted twice" for task_id, n in confirmed.items() if n > 1]
    return missing + claimed + twice


def repeated(records: list[DismissalRecord]) -> list[str]:
    """Return the attempts that were made before the one before was resolved."""
    by_task: dict[str, list[DismissalRecord]] = {}
    for record in records:
        by_task.setdefault(record.task_id, []).append(record)
    return [
        f"{later.task_id} at {later.decided_at}, resolved {earlier.resolved_at}"
        for attempts in by_task.values()
        for earlier, later in pairwise(sorted(attempts, key=lambda r: r.decided_at))
        if earlier.resolved_at is None or later.decided_at < earlier.resolved_at
    ]
