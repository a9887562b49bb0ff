"""All participants at once: nothing leaves that is forbidden at that moment."""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.harness import Program
from tests.reliability.participants import Participants
from tests.reliability.report import FULL, Report
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.ledger import Ledger
from triaged.ledger.dismissals import DismissalFilter, DismissalRecord, Outcome
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.state import RecordedCall

SECONDS: Final = 3600 if FULL else int(os.environ.get("TRIAGED_LAST_CHECK", "30"))
CAP: Final = 100_000 if FULL else 600
# A request that was written before the answer may be read this much later.
IN_TRANSIT: Final = timedelta(seconds=0.5)
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
        trial = Participants(program, sandbox, cap=CAP, seed=SECONDS)
        trial.run(SECONDS)
        settled = program.run("run", "--once")
        with Ledger(tmp_path / "state") as ledger:
            records = ledger.dismissals.query(DismissalFilter())
        calls = [c for c in sandbox.world.calls if c.operation == "dismiss"]
        check.runs = len(calls)
        check.result = (
            f"{len(calls)} calls, {len(trial.told.pauses)} pauses,"
            f" {len(trial.told.vetoes)} vetoes, {len(trial.told.protected)} reloads"
        )

        assert trial.told.errors == []
        assert settled.returncode in {0, 4}, settled.stderr
        assert forbidden(trial, calls, sandbox) == []
        assert denied(records, sandbox) == []
        assert repeated(records) == []
        assert len(calls) > SECONDS
        assert sum(r.outcome is Outcome.CONFIRMED for r in records) <= CAP


def forbidden(
    trial: Participants, calls: list[RecordedCall], sandbox: RunningSandbox
) -> list[str]:
    """Return the calls that arrived although something forbade them."""
    found = []
    texts = {
        str(task["id"]): str(task["description"])
        for status in ("pending", "approved", "dismissed")
        for task in sandbox.world.store.tasks(status)
        if isinstance(task, dict)
    }
    for call in calls:
        at, task_id = call.received_at, call.task_id or ""
        if any(s + IN_TRANSIT < at < u for s, u in trial.told.pauses):
            found.append(f"{task_id} while paused at {at}")
        vetoed = trial.told.vetoes.get(task_id)
        if vetoed is not None and at > vetoed + IN_TRANSIT:
            found.append(f"{task_id} vetoed {at - vetoed} before")
        for word, since, until in trial.told.protected:
            is_in_force = since + IN_TRANSIT < at < until
            if is_in_force and word in texts.get(task_id, ""):
                found.append(f"{task_id} protected by {word} at {at}")
    return found


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
