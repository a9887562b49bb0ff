"""What digest and alerts cost the daemon's loop, on a ledger of a busy year.

``python -m tests.bench.digest`` prints it.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.builders import T0, an_intent, an_observation
from tests.clocks import AutoAdvanceClock
from tests.notifications import BERLIN, FakeSender
from triaged.daemon.internal_errors import InternalErrors
from triaged.daemon.notifier import CHECK_SECONDS, DaemonCondition, Notifier
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Outcome
from triaged.ledger.holds import Hold
from triaged.ledger.state import StateName
from triaged.notify.render import render_digest
from triaged.quota import QuotaSettings
from triaged.rules.task import HumanDecision
from triaged.settings import Settings
from triaged.triage.digest_source import read_digest

DAYS: Final = 400
A_DAY: Final = 200
OBSERVED: Final = 50_000
HELD: Final = 5_000


def fill(ledger: Ledger) -> None:
    """Record the most dismissals a day for as long as they are kept, and more."""
    with ledger.transaction():
        for day in range(DAYS):
            at = T0 - timedelta(days=day, hours=1)
            for number in range(A_DAY):
                intent = an_intent(f"{day}-{number}", decided_at=at)
                entry = ledger.dismissals.record_intent(intent)
                ledger.dismissals.record_outcome(entry, Outcome.CONFIRMED, at=at)
        for start in range(0, OBSERVED, 500):
            ids = [f"o{number}" for number in range(start, start + 500)]
            at = T0 - timedelta(minutes=start / 10)
            ledger.observations.record(list(map(an_observation, ids)), at=at)
            ledger.feedback.record(dict.fromkeys(ids, HumanDecision.DISMISSED), at=at)
        holds = {
            Hold(f"h{number}", "slow", "f"): T0 - timedelta(hours=1)
            for number in range(HELD)
        }
        ledger.holds.replace(holds)
        rule = {"name": "slow", "mode": "enforce", "hold_seconds": 7200}
        ledger.state.save(StateName.DAEMON, {"rules": [rule]}, at=T0)


def timed(work: Callable[[], object], times: int) -> float:
    """Return the median of the seconds of processor time that work takes."""
    taken = []
    for _ in range(times):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return statistics.median(taken)


def main() -> None:
    """Fill a ledger, measure and print."""
    with tempfile.TemporaryDirectory() as place, Ledger.open(Path(place)) as ledger:
        fill(ledger)
        clock = AutoAdvanceClock()
        settings = Settings(
            quota=QuotaSettings(), state_dir=Path(place), notify_at=BERLIN
        )
        notifier = Notifier(
            ledger=ledger,
            settings=settings,
            clock=clock,
            sender=FakeSender(),
            errors=InternalErrors(),
            start=lambda work: work(),
        )

        def tick() -> None:
            clock.advance(CHECK_SECONDS)
            notifier.tick(DaemonCondition(key_accepted=True))

        def digest() -> None:
            since = T0 - timedelta(days=1)
            found = read_digest(ledger, since=since, now=T0, problems=())
            render_digest(found, at=BERLIN, page_url=None)

        tick()
        print(f"ledger: {DAYS * A_DAY:,} dismissals, {OBSERVED:,} observations")
        print(f"a check with nothing due: {timed(tick, 200) * 1000:.2f} ms")
        print(f"reading and rendering a digest: {timed(digest, 5) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
