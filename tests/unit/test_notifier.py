"""Tests of the notifier: what goes when, at most once, and at nobody's expense."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.clocks import AutoAdvanceClock
from tests.notifications import BERLIN, FakeSender
from triaged.daemon.health import Health
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.notifier import (
    ALERT_GAP_SECONDS,
    CHECK_SECONDS,
    SEND_TIMEOUT_SECONDS,
    DaemonCondition,
    Notifier,
    condition_of,
)
from triaged.daemon.send_attempt import run_in_thread
from triaged.errors import ConfigError
from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.ledger.notifications import COUNTER
from triaged.ledger.rule_changes import RuleChange
from triaged.notify.message import Receipt
from triaged.quota import QuotaSettings
from triaged.rules.task import Change
from triaged.settings import Settings
from triaged.triage.alerts import MAX_ATTEMPTS

SEVEN: Final = datetime(2026, 3, 2, 6, tzinfo=UTC)  # 07:00 in Berlin
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
FAILED, UNKNOWN = Receipt.FAILED, Receipt.UNKNOWN
PROBLEM: Final = DaemonCondition(key_accepted=True, problems=["Not ready: x."])
FINE: Final = DaemonCondition(key_accepted=True)
REFUSED: Final = DaemonCondition(key_accepted=False)


@dataclass
class Rig:
    """A notifier on a real ledger, a clock moved by hand, and a fake sender."""

    ledger: Ledger
    clock: AutoAdvanceClock
    sender: FakeSender
    errors: InternalErrors
    settings: Settings
    notifier: Notifier

    def restart(
        self, start: Callable[[Callable[[], None]], None] = lambda work: work()
    ) -> None:
        """Begin anew on the same ledger, as after a crash."""
        self.notifier = Notifier(
            ledger=self.ledger,
            settings=self.settings,
            clock=self.clock,
            sender=self.sender,
            errors=self.errors,
            start=start,
        )

    def run(
        self,
        passed: timedelta,
        condition: DaemonCondition = FINE,
        *,
        step: timedelta = timedelta(minutes=1),
    ) -> list[str]:
        """Let time pass with a tick a minute; return the subjects of what was sent."""
        before = len(self.sender.sent)
        until = self.clock.at + passed
        while self.clock.at < until:
            self.clock.at += step
            self.notifier.tick(condition)
        return [message.subject for _, message in self.sender.sent[before:]]

    def counted(self) -> dict[str, int]:
        return {k: n for (k, _), n in self.ledger.counters.values(COUNTER).items()}

    def change(self, rule: str, change: Change) -> None:
        self.ledger.rule_changes.record(
            RuleChange(
                rule=rule,
                fingerprint="f1",
                change=change,
                at=self.clock.at,
                by="",
                evidence={},
            )
        )


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    settings = Settings(
        quota=QuotaSettings(), state_dir=tmp_path, workspace="acme", notify_at=BERLIN
    )
    with Ledger.open(tmp_path, workspace="acme") as ledger:
        made = Rig(
            ledger=ledger,
            clock=AutoAdvanceClock(SEVEN),
            sender=FakeSender(),
            errors=InternalErrors(),
            settings=settings,
            notifier=None,  # type: ignore[arg-type]
        )
        made.restart()
        yield made


def test_the_digest_goes_at_its_time_and_once(rig: Rig) -> None:
    """Not before, not again; the next day the next one."""
    assert rig.run(timedelta(minutes=59), PROBLEM) == []
    assert rig.run(HOUR, PROBLEM) == ["triaged acme: 1 problem"]
    assert rig.run(22 * HOUR, PROBLEM) == []
    assert rig.run(2 * HOUR, PROBLEM) == ["triaged acme: 1 problem"]
    assert rig.counted() == {"sent": 2}


def test_nothing_goes_when_nothing_happened(rig: Rig) -> None:
    """One sign of life a week; what happens after a quiet morning waits a day."""
    quiet = "triaged acme: nothing happened"

    assert rig.run(2 * HOUR) == [quiet]
    assert rig.run(6 * DAY, step=timedelta(minutes=5)) == []
    assert rig.run(5 * HOUR, PROBLEM) == []
    assert rig.run(20 * HOUR, step=timedelta(minutes=5)) == [quiet]


def test_a_daemon_that_was_down_sends_one_when_it_is_back(rig: Rig) -> None:
    """On the same day, and nothing for the days before."""
    rig.run(2 * HOUR, PROBLEM)
    rig.clock.at += 3 * DAY + 8 * HOUR
    rig.restart()

    assert rig.run(HOUR, PROBLEM) == ["triaged acme: 1 problem"]


def test_a_crash_while_sending_sends_nothing_again(rig: Rig) -> None:
    """The intent is durable before the message leaves, so it may have arrived."""

    def crash() -> None:
        raise SystemExit

    rig.run(2 * HOUR, PROBLEM)
    rig.sender.before = crash
    with pytest.raises(SystemExit):
        rig.run(DAY, PROBLEM)
    rig.sender.before = lambda: None
    rig.restart()

    assert rig.run(12 * HOUR, PROBLEM) == []
    assert rig.counted() == {"sent": 1}
    # The next digest covers the day that people may not have read of.
    rig.run(DAY, PROBLEM)
    assert "2026-03-02 08:00 to 2026-03-04 08:00" in rig.sender.sent[-1][1].text


def test_a_definite_failure_is_retried_and_then_given_up(rig: Rig) -> None:
    """Ever more rarely, a bounded number of times, and on the same day only."""
    rig.sender.receipts = [{"mail": FAILED}] * 20
    times = []

    def note() -> None:
        times.append(rig.clock.at)

    rig.sender.before = note
    rig.run(16 * HOUR, PROBLEM)

    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == MAX_ATTEMPTS
    assert gaps == sorted(gaps)
    assert rig.counted() == {"failed": MAX_ATTEMPTS}
    assert rig.errors.counts()[Where.NOTIFY] == 0


def test_a_retry_survives_a_restart(rig: Rig) -> None:
    """What definitely failed everywhere is tried again by the next process."""
    rig.sender.receipts = [{"mail": FAILED}]
    rig.run(timedelta(hours=1), PROBLEM)
    rig.restart()

    assert rig.run(HOUR, PROBLEM) == ["triaged acme: 1 problem"]
    assert rig.counted() == {"failed": 1, "sent": 1}


def test_what_may_have_arrived_is_not_retried(rig: Rig) -> None:
    """A server that took the message and did not answer is left alone."""
    rig.sender.receipts = [{"mail": UNKNOWN}]

    assert rig.run(12 * HOUR, PROBLEM) == []
    assert rig.counted() == {"failed": 1}


def test_a_retry_goes_only_to_whom_it_failed(rig: Rig) -> None:
    """Of three destinations, two have it or may have it: they get nothing twice."""
    rig.sender.destinations = ("mail", "chat", "hook")
    rig.sender.receipts = [{"chat": FAILED, "hook": UNKNOWN}]
    rig.run(4 * HOUR, PROBLEM)

    assert [key for key, _ in rig.sender.sent] == ["mail", "chat"]
    assert rig.counted() == {"failed": 1, "sent": 1}


def test_a_retry_tells_the_same_day(rig: Rig) -> None:
    """Who lacks a digest that others have gets all of it, not only what came since."""
    rig.run(2 * HOUR)
    rig.change("a", Change.PROMOTED)
    rig.run(20 * HOUR)
    rig.sender.destinations = ("mail", "chat")
    rig.sender.receipts = [{"chat": FAILED}]
    rig.run(4 * HOUR)

    assert [(key, message.subject) for key, message in rig.sender.sent[2:]] == [
        ("mail", "triaged acme: 1 rule changed"),
        ("chat", "triaged acme: 1 rule changed"),
    ]


def test_a_restart_forgets_whom_a_message_reached(rig: Rig) -> None:
    """Then the others do without it, since nobody may have it twice."""
    rig.sender.destinations = ("mail", "chat")
    rig.sender.receipts = [{"chat": FAILED}]
    rig.run(HOUR, PROBLEM)
    rig.restart()

    assert rig.run(12 * HOUR, PROBLEM) == []


def test_an_open_breaker_is_told_once_until_it_closes(rig: Rig) -> None:
    """At once, not again after a restart, and again when it opens anew."""
    rig.run(2 * HOUR)
    flags = rig.ledger.flags
    flags.set(FlagName.BREAKER, reason="30 of 40", at=rig.clock.at)
    told = rig.run(timedelta(minutes=1))
    rig.restart()
    silent = rig.run(8 * HOUR)
    flags.clear(FlagName.BREAKER)
    rig.run(HOUR)
    flags.set(FlagName.BREAKER, reason="31 of 40", at=rig.clock.at)

    assert (told, silent) == (["triaged acme: the breaker opened"], [])
    assert rig.run(HOUR) == told


def test_a_refused_key_is_told_once_until_one_is_accepted(rig: Rig) -> None:
    """However long LeadLex refuses it."""
    rig.run(2 * HOUR)
    told = rig.run(8 * HOUR, REFUSED)
    rig.run(HOUR)

    assert told == ["triaged acme: LeadLex refuses the API key"]
    assert rig.run(HOUR, REFUSED) == told


def test_changes_of_rules_are_told_at_once(rig: Rig) -> None:
    """A first promotion, each demotion; a second promotion waits for the digest."""
    rig.run(2 * HOUR)
    rig.change("a", Change.PROMOTED)
    first = rig.run(10 * timedelta(minutes=1))
    rig.change("a", Change.DEMOTED)
    second = rig.run(10 * timedelta(minutes=1))
    rig.change("a", Change.PROMOTED)
    third = rig.run(10 * HOUR)

    assert first == ["triaged acme: rule a begins to dismiss"]
    assert second == ["triaged acme: rule a only observes again"]
    assert third == []
    assert rig.run(DAY) == ["triaged acme: 3 rules changed"]


def test_events_that_come_together_go_together(rig: Rig) -> None:
    """In one message; those that follow soon are collected in the next."""
    rig.run(2 * HOUR)
    rig.ledger.flags.set(FlagName.BREAKER, reason="x", at=rig.clock.at)
    rig.change("a", Change.DEMOTED)
    second = timedelta(seconds=CHECK_SECONDS)
    told = rig.run(2 * second, step=second)
    rig.change("b", Change.DEMOTED)
    rig.change("c", Change.DEMOTED)
    soon = rig.run(timedelta(seconds=ALERT_GAP_SECONDS / 2), step=second)

    assert (told, soon) == (["triaged acme: 2 events"], [])
    assert rig.run(timedelta(seconds=ALERT_GAP_SECONDS)) == ["triaged acme: 2 events"]


def test_a_failed_alert_is_retried_and_not_mixed_with_new_ones(rig: Rig) -> None:
    """A destination that has an event does not get it again with another one."""
    rig.run(2 * HOUR)
    rig.sender.destinations = ("mail", "chat")
    rig.sender.receipts = [{"chat": FAILED}]
    rig.change("a", Change.DEMOTED)
    rig.run(timedelta(minutes=1))
    rig.change("b", Change.DEMOTED)
    rig.run(HOUR)

    got = [(key, m.text.count("observes again")) for key, m in rig.sender.sent[1:]]
    assert sorted(got) == [("chat", 1), ("chat", 1), ("mail", 1), ("mail", 1)]


def test_a_file_that_cannot_be_used_is_a_failure(rig: Rig) -> None:
    """It is counted and retried, since nothing was sent; the daemon goes on."""

    def refuse() -> None:
        raise ConfigError.of_setting("TRIAGED_NOTIFY_FILE", "is gone")

    rig.sender.before = refuse
    rig.run(HOUR, PROBLEM)
    rig.sender.before = lambda: None

    assert rig.run(HOUR, PROBLEM) == ["triaged acme: 1 problem"]
    assert rig.counted() == {"failed": 1, "sent": 1}


def test_an_unexpected_error_is_survived_and_counted(rig: Rig) -> None:
    """It may have happened after the message left, so that is not sent again."""

    def fail() -> None:
        raise RuntimeError("json://s3cr3t")

    rig.sender.before = fail
    rig.run(12 * HOUR, PROBLEM)

    assert rig.errors.counts()[Where.NOTIFY] == 1
    assert rig.counted() == {"failed": 1}


def test_a_sender_that_hangs_delays_nothing(rig: Rig) -> None:
    """Ticks return at once; after the time limit the outcome is unknown."""
    go_on, is_sending = threading.Event(), threading.Event()

    def hang() -> None:
        is_sending.set()
        go_on.wait(60)

    rig.sender.before = hang
    rig.restart(run_in_thread)
    rig.run(2 * HOUR - timedelta(minutes=59), PROBLEM)
    assert is_sending.wait(60)
    rig.run(timedelta(seconds=SEND_TIMEOUT_SECONDS + 60), PROBLEM)
    after = rig.ledger.notifications.get("digest 2026-03-02")
    go_on.set()

    assert after is not None
    assert after.outcome == "unknown"
    assert rig.errors.counts()[Where.NOTIFY] == 1
    assert rig.counted() == {"failed": 1}
    rig.notifier.stop()


def test_stopping_waits_for_what_is_being_sent(rig: Rig) -> None:
    """So that an ordinary stop leaves no digest in doubt."""
    go_on = threading.Event()

    def wait() -> None:
        go_on.wait(60)

    rig.sender.before = wait
    rig.restart(run_in_thread)
    rig.run(timedelta(minutes=60), PROBLEM)
    go_on.set()
    rig.notifier.stop()

    stored = rig.ledger.notifications.get("digest 2026-03-02")
    assert stored is not None
    assert stored.outcome == "sent"


def test_the_digest_waits_for_a_cycle_that_is_due(rig: Rig) -> None:
    """After a suspend the next cycle tells more; one that never ends is not awaited."""
    busy = replace(PROBLEM, is_cycle_due=True)
    waited = rig.run(timedelta(minutes=70), busy)

    assert waited == []
    assert rig.run(timedelta(minutes=10), busy) == ["triaged acme: 1 problem"]


def test_a_clock_that_is_set_back_repeats_nothing(rig: Rig) -> None:
    """The name of the date protects each digest, whatever the clock does."""
    rig.run(2 * DAY, PROBLEM, step=timedelta(minutes=5))
    rig.clock.at -= 2 * DAY
    rig.restart()

    assert rig.run(2 * DAY, PROBLEM, step=timedelta(minutes=5)) == []


def test_the_condition_of_a_daemon_is_in_sentences() -> None:
    """Why it is not ready, and which rules were rejected, on one line each."""
    health = Health(heartbeat_at=0.0, interval=HOUR, poll_due=50.0, key_accepted=False)
    health.rules_rejected = "a: no\nb: no"
    condition = condition_of(health, SEVEN, monotonic=49.0)

    assert condition == DaemonCondition(
        is_cycle_due=False,
        key_accepted=False,
        problems=[
            "Not ready: LeadLex refuses the API key.",
            "Not ready: no cycle has succeeded yet.",
            "A changed file was rejected; what was loaded before stays: a: no b: no",
        ],
    )
    assert condition_of(health, SEVEN, monotonic=50.0).is_cycle_due
    health.poll_due = None
    assert condition_of(health, SEVEN, monotonic=0.0).is_cycle_due


def test_times_are_those_of_the_setting(rig: Rig) -> None:
    """Links and times of a message follow the settings."""
    rig.settings = replace(rig.settings, page_url="https://triaged.example.com")
    rig.restart()
    rig.run(2 * HOUR, PROBLEM)
    text = rig.sender.sent[0][1].text

    assert "to 2026-03-02 08:00 (Europe/Berlin)" in text
    assert text.endswith("\nhttps://triaged.example.com/\n")
