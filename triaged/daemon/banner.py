"""Summarizes the state of the daemon in a word and a sentence: a pure function."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from triaged.daemon.snapshot import Snapshot
from triaged.quota.limiter import MIN_CALLS_FOR_POLL
from triaged.rules.rule import Mode


class Tone(StrEnum):
    """The colour of the banner."""

    GOOD = "good"
    NEUTRAL = "neutral"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Banner:
    """The headline, the sentence below it, and further notices."""

    word: str
    tone: Tone
    sentence: str
    notices: tuple[str, ...]


def banner(snapshot: Snapshot) -> Banner:
    """Return the most important state; the other active ones become notices."""
    states = list(_states(snapshot))
    word, tone, sentence = states[0]
    notices = [f"{other[0].capitalize()}: {other[2]}" for other in states[1:]]
    if snapshot.health.rules_rejected:
        first = snapshot.health.rules_rejected.splitlines()[0]
        notices.append(
            "The rules file on disk was rejected; the rules loaded before it stay in"
            f" force. {first}"
        )
    if snapshot.totals.unresolved:
        number = snapshot.totals.unresolved
        what = "dismissal has" if number == 1 else "dismissals have"
        notices.append(f"{number:,} {what} no known outcome yet; the next list tells.")
    return Banner(word, tone, sentence, tuple(notices))


State = tuple[str, Tone, str]


def _states(snapshot: Snapshot) -> list[State]:
    """Return all active states, the most important first; there is at least one."""
    held = [state for state in _problems(snapshot) if state is not None]
    if held:
        return held
    dismissing = [r for r in snapshot.ruleset.rules if r.reason is not None]
    if not any(rule.mode is Mode.ENFORCE for rule in dismissing):
        sentence = (
            "No rule that dismisses is enforced: what rules would dismiss is recorded,"
            " and nothing is dismissed."
        )
        return [("observing", Tone.NEUTRAL, sentence)]
    return [
        (
            "working",
            Tone.GOOD,
            "Tasks that the rules match are dismissed; everything else is left.",
        )
    ]


def _problems(snapshot: Snapshot) -> list[State | None]:
    return [
        _key(snapshot),
        _paused(snapshot),
        _breaker(snapshot),
        _quota(snapshot),
        _degraded(snapshot),
        _dry_run(snapshot),
    ]


def _key(snapshot: Snapshot) -> State | None:
    if snapshot.health.key_accepted is not False:
        return None
    sentence = (
        "LeadLex refuses the API key. Nothing is listed or dismissed until a new key"
        " is accepted; the key file is re-read."
    )
    return ("key refused", Tone.BAD, sentence)


def _paused(snapshot: Snapshot) -> State | None:
    paused = snapshot.totals.paused
    if paused is None:
        return None
    by = f" by {paused.set_by}" if paused.set_by else ""
    note = f": {paused.reason}" if paused.reason else ""
    sentence = (
        f"Dismissing was paused at {paused.since:%Y-%m-%d %H:%M} UTC{by}{note}. Tasks"
        " are still listed and judged; none is dismissed until “triaged resume” is run."
    )
    return ("paused", Tone.WARNING, sentence)


def _breaker(snapshot: Snapshot) -> State | None:
    breaker = snapshot.totals.breaker
    if breaker is None:
        return None
    sentence = f"The rules want too much at once, so nothing goes: {breaker.reason}."
    return ("breaker open", Tone.BAD, sentence)


def _dry_run(snapshot: Snapshot) -> State | None:
    if not snapshot.dry_run:
        return None
    sentence = "This daemon decides and records, and dismisses nothing."
    return ("dry run", Tone.NEUTRAL, sentence)


def _quota(snapshot: Snapshot) -> State | None:
    until = _quota_until(snapshot)
    if until is None:
        return None
    sentence = (
        "The day's share of API calls is spent; polling and dismissing continue at"
        f" {until:%Y-%m-%d %H:%M} UTC."
    )
    return ("waiting for quota", Tone.WARNING, sentence)


def _quota_until(snapshot: Snapshot) -> datetime | None:
    """Return until when the day's quota allows no poll; None if it allows one."""
    quota = snapshot.quota
    ends = [snapshot.health.waiting_for_quota_until]
    if quota.blocked_by == "day" and quota.blocked_until is not None:
        ends.append(datetime.fromtimestamp(quota.blocked_until, UTC))
    if quota.remaining - quota.reserved < MIN_CALLS_FOR_POLL:
        ends.append(datetime.fromtimestamp(quota.reset_at, UTC))
    ahead = [end for end in ends if end is not None and end > snapshot.now]
    return max(ahead, default=None)


def _degraded(snapshot: Snapshot) -> State | None:
    health = snapshot.health
    if health.last_report is None:
        sentence = "The first list of tasks has not been read yet."
        return ("starting", Tone.NEUTRAL, sentence)
    if health.key_accepted is False or _quota_until(snapshot) is not None:
        return None
    reasons = health.reasons_not_ready(snapshot.now)
    error = health.last_report.error
    if not reasons and error is not None:
        reasons = [f"the last cycle was cut short: {error}"]
    if not reasons:
        return None
    first = "; ".join(reasons)
    return ("degraded", Tone.BAD, f"{first[0].upper()}{first[1:]}.")
