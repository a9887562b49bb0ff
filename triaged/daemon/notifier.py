"""Sends the digest and the alerts of a daemon, without ever delaying a cycle.

Each tick does at most one short step on the ledger; sending happens in a thread of its
own. Which notifications were sent is in the ledger: the intent is stored before a
message leaves, so a crash in between loses it rather than sending it twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from triaged.clock import Clock
from triaged.daemon.health import Health
from triaged.daemon.internal_errors import InternalErrors, Where
from triaged.daemon.send_attempt import SendAttempt, run_in_thread
from triaged.ledger import Ledger
from triaged.ledger.notifications import Notification, NotificationOutcome
from triaged.notify.apprise_sender import AppriseSender
from triaged.notify.message import Message, Sender
from triaged.notify.render import render_alerts, render_digest
from triaged.settings import Settings
from triaged.triage.alerts import Alert, key_alert, retry_at
from triaged.triage.digest import digest_due, must_break_silence
from triaged.triage.digest_source import DIGEST, digest_begins, read_alerts, read_digest
from triaged.workspace import Workspace

CHECK_SECONDS: Final = 10.0
# Events that follow an alert within this time are collected in the next one.
ALERT_GAP_SECONDS: Final = 300.0
# Longer than an ordinary message takes to fifty destinations.
SEND_TIMEOUT_SECONDS: Final = 300.0
# What is being sent when the daemon stops gets this long to end.
STOP_TIMEOUT_SECONDS: Final = 5.0

# A digest that is due waits this long for a cycle; after a suspend the daemon would be
# reported as not ready otherwise.
CYCLE_WAIT_SECONDS: Final = 900.0

_RETRIED: Final = (NotificationOutcome.FAILED, NotificationOutcome.PARTIAL)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonCondition:
    """What the ledger does not tell: ``problems`` are sentences for the digest.

    ``is_cycle_due`` is set while a cycle runs or is about to: what it finds is missing.
    """

    is_cycle_due: bool = False
    key_accepted: bool | None = None
    problems: Sequence[str] = ()


def make_notifier(
    workspace: Workspace,
    errors: InternalErrors,
    start: Callable[[Callable[[], None]], None] = run_in_thread,
) -> "Notifier | None":
    """Build the notifier of a workspace; None if its settings name no file."""
    file = workspace.settings.notify_file
    if file is None:
        return None
    return Notifier(
        ledger=workspace.ledger,
        settings=workspace.settings,
        clock=workspace.clock,
        sender=AppriseSender(file),
        errors=errors,
        start=start,
    )


def condition_of(health: Health, now: datetime, monotonic: float) -> DaemonCondition:
    """Return the condition of a running daemon, from its health."""
    due = health.poll_due
    problems = [f"Not ready: {reason}." for reason in health.reasons_not_ready(now)]
    if health.rules_rejected is not None:
        why = " ".join(health.rules_rejected.split())
        problems.append(
            f"A changed file was rejected; what was loaded before stays: {why}"
        )
    return DaemonCondition(
        is_cycle_due=due is None or due <= monotonic,
        key_accepted=health.key_accepted,
        problems=problems,
    )


class Notifier:
    """Decides at each tick whether a message is due, and sends it.

    ``start`` begins the work of sending, in a thread or at once.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        settings: Settings,
        clock: Clock,
        sender: Sender,
        errors: InternalErrors,
        start: Callable[[Callable[[], None]], None] = run_in_thread,
    ) -> None:
        self._ledger = ledger
        self._at = settings.notify_at
        self._page_url = settings.page_url
        self._clock = clock
        self._sender = sender
        self._errors = errors
        self._start = start
        self._attempt: SendAttempt | None = None
        self._is_abandoned = False
        self._checked_at: float | None = None
        self._alerted_at: float | None = None
        self._digest_waits_since: float | None = None
        self._key_refused_since: datetime | None = None
        # Destinations that have, or may have, a message of which others lack it.
        self._reached: dict[str, frozenset[str]] = {}

    def check(self) -> None:
        """Raise ``ConfigError`` if messages cannot be sent; sends none."""
        self._sender.check()

    def tick(self, condition: DaemonCondition) -> None:
        """Settle what was sent, or begin to send what is due.

        After a ``LedgerError`` the next tick tries again.
        """
        if self._attempt is not None:
            self._settle_if_over(self._attempt)
            return
        monotonic = self._clock.monotonic()
        checked = self._checked_at
        if checked is not None and 0 <= monotonic - checked < CHECK_SECONDS:
            return
        self._checked_at = monotonic
        now = self._clock.now()
        if not self._send_alerts(condition, now):
            self._send_digest(condition, now)

    def send_due(self, condition: DaemonCondition) -> None:
        """Send what is due before the process ends, or raise ``LedgerError``."""
        now = self._clock.now()
        self._send_alerts(condition, now)
        self._send_digest(condition, now)

    def stop(self) -> None:
        """Wait a short time for what is being sent, and store its outcome."""
        attempt = self._attempt
        if attempt is not None and not self._is_abandoned:
            attempt.is_over.wait(STOP_TIMEOUT_SECONDS)
            self._settle_if_over(attempt)

    def _send_alerts(self, known: DaemonCondition, now: datetime) -> bool:
        alerts = read_alerts(self._ledger, now)
        if known.key_accepted is False:
            self._key_refused_since = self._key_refused_since or now
            alerts.append(key_alert(self._key_refused_since))
        elif known.key_accepted:
            self._key_refused_since = None
        due = [alert for alert in alerts if self._is_due(alert, now)]
        last = self._alerted_at
        if not due or (
            last is not None and self._clock.monotonic() - last < ALERT_GAP_SECONDS
        ):
            return False
        self._alerted_at = self._clock.monotonic()
        # Those that have reached some destinations already go to the others only.
        reached = self._reached.get(due[0].name)
        due = [alert for alert in due if self._reached.get(alert.name) == reached]
        message = render_alerts(
            due, workspace=self._ledger.workspace, at=self._at, page_url=self._page_url
        )
        return self._send([alert.name for alert in due], message, now)

    def _is_due(self, alert: Alert, now: datetime) -> bool:
        stored = self._ledger.notifications.get(alert.name)
        return stored is None or self._may_retry(stored, now)

    def _may_retry(self, stored: Notification, now: datetime) -> bool:
        """Return whether a notification definitely failed and is tried again now."""
        if stored.outcome not in _RETRIED or stored.settled_at is None:
            return False
        if (
            stored.outcome is NotificationOutcome.PARTIAL
            and stored.name not in self._reached
        ):
            # Another process knew whom it had reached.
            return False
        at = retry_at(stored.attempts, stored.settled_at)
        return at is not None and now >= at

    def _send_digest(self, known: DaemonCondition, now: datetime) -> None:
        notifications = self._ledger.notifications
        last = notifications.latest(DIGEST)
        name = f"{DIGEST}{self._at.date_of(now)}"
        stored = notifications.get(name)
        if stored is not None:
            if not self._may_retry(stored, now):
                return
        elif not digest_due(now, self._at, last.created_at if last else None):
            return
        if known.is_cycle_due and self._waits_for_cycle():
            return
        self._digest_waits_since = None
        digest = read_digest(
            self._ledger,
            since=digest_begins(self._ledger, now, name),
            now=now,
            problems=known.problems,
        )
        if digest.is_empty:
            sent = notifications.latest(DIGEST, (NotificationOutcome.SENT,))
            if not must_break_silence(
                now, self._at, sent.created_at if sent is not None else None
            ):
                notifications.record_quiet(name, at=now)
                return
        message = render_digest(digest, at=self._at, page_url=self._page_url)
        self._send([name], message, now)

    def _waits_for_cycle(self) -> bool:
        monotonic = self._clock.monotonic()
        if self._digest_waits_since is None:
            self._digest_waits_since = monotonic
        return monotonic - self._digest_waits_since < CYCLE_WAIT_SECONDS

    def _send(self, names: Sequence[str], message: Message, now: datetime) -> bool:
        """Store the intent, then start to send; return whether that was begun."""
        if not self._ledger.notifications.begin(names, at=now):
            return False
        attempt = SendAttempt(
            names=names,
            message=message,
            skip=self._reached.get(names[0], frozenset()),
            deadline=self._clock.monotonic() + SEND_TIMEOUT_SECONDS,
        )
        self._attempt, self._is_abandoned = attempt, False
        self._start(lambda: attempt.run(self._sender))
        self._settle_if_over(attempt)
        return True

    def _settle_if_over(self, attempt: SendAttempt) -> None:
        if attempt.is_over.is_set():
            self._attempt = None
            if not self._is_abandoned:
                self._settle_attempt(attempt)
        elif not self._is_abandoned and self._clock.monotonic() > attempt.deadline:
            # The thread cannot be ended, and nothing else is sent until it ends.
            self._is_abandoned = True
            self._errors.count(Where.NOTIFY)
            log.error("notification.timed_out", notifications=list(attempt.names))
            self._settle(attempt.names, NotificationOutcome.UNKNOWN)

    def _settle_attempt(self, attempt: SendAttempt) -> None:
        outcome = attempt.outcome()
        for name in attempt.names:
            if outcome is NotificationOutcome.PARTIAL:
                self._reached[name] = attempt.reached
            else:
                self._reached.pop(name, None)
        if attempt.error is not None:
            self._errors.count(Where.NOTIFY)
        self._settle(attempt.names, outcome)
        names = list(attempt.names)
        if outcome is NotificationOutcome.SENT:
            number = len(attempt.deliveries)
            log.info("notification.sent", notifications=names, destinations=number)
        else:
            log.warning(
                "notification.failed",
                notifications=names,
                outcome=outcome,
                problems=attempt.problems(),
            )

    def _settle(self, names: Sequence[str], outcome: NotificationOutcome) -> None:
        self._ledger.notifications.settle(names, outcome, at=self._clock.now())
