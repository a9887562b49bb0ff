"""Summarizes the state of the daemon in a word and a sentence: a pure function."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from triaged.daemon.snapshot import Snapshot
from triaged.quota.limiter import MIN_CALLS_FOR_POLL
from triaged.rules.rule import Mode
from triaged.triage.report import CycleReport


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


class _State(NamedTuple):
    word: str
    tone: Tone
    sentence: str


def banner(snapshot: Snapshot) -> Banner:
    """Return the most important state; the other active ones become notices."""
    active = list(_problems(snapshot)) or [_undisturbed(snapshot)]
    notices = [f"{other.word.capitalize()}: {other.sentence}" for other in active[1:]]
    if snapshot.health.rules_rejected:
        first = snapshot.health.rules_rejected.splitlines()[0]
        notices.append(
            "A file on disk was rejected; what was loaded before stays in force."
            f" {first}"
        )
    if snapshot.totals.unresolved:
        number = snapshot.totals.unresolved
        what = "dismissal has" if number == 1 else "dismissals have"
        notices.append(f"{number:,} {what} no known outcome yet; the next list tells.")
    return Banner(*active[0], tuple(notices))


def _undisturbed(snapshot: Snapshot) -> _State:
    dismissing = [r for r in snapshot.ruleset.rules if r.reason is not None]
    if any(rule.mode is Mode.ENFORCE for rule in dismissing):
        sentence = "Tasks that the rules match are dismissed; everything else is left."
        return _State("working", Tone.GOOD, sentence)
    return _State(
        "observing",
        Tone.NEUTRAL,
        "No rule that dismisses is enforced: what rules would dismiss is recorded,"
        " and nothing is dismissed.",
    )


def _problems(snapshot: Snapshot) -> Iterator[_State]:
    """Yield what is not as usual, the most important first."""
    if snapshot.health.key_accepted is False:
        yield _State(
            "key refused",
            Tone.BAD,
            "LeadLex refuses the API key. Nothing is listed or dismissed until a new"
            " key is accepted; the key file is re-read.",
        )
    if (paused := snapshot.totals.paused) is not None:
        by = f" by {paused.set_by}" if paused.set_by else ""
        note = f": {paused.reason}" if paused.reason else ""
        yield _State(
            "paused",
            Tone.WARNING,
            f"Dismissing was paused at {paused.since:%Y-%m-%d %H:%M} UTC{by}{note}."
            " Tasks are still listed and judged; none is dismissed until"
            " “triaged resume” is run.",
        )
    if (breaker := snapshot.totals.breaker) is not None:
        sentence = (
            f"The rules want too much at once, so nothing goes: {breaker.reason}."
        )
        yield _State("breaker open", Tone.BAD, sentence)
    if (until := _quota_until(snapshot)) is not None:
        yield _State(
            "waiting for quota",
            Tone.WARNING,
            "The day's share of API calls is spent; polling and dismissing continue at"
            f" {until:%Y-%m-%d %H:%M} UTC.",
        )
    if snapshot.health.last_report is None:
        sentence = "The first list of tasks has not been read yet."
        yield _State("starting", Tone.NEUTRAL, sentence)
    elif snapshot.health.key_accepted is not False and until is None:
        yield from _degraded(snapshot, snapshot.health.last_report)
    if snapshot.dry_run:
        sentence = "This daemon decides and records, and dismisses nothing."
        yield _State("dry run", Tone.NEUTRAL, sentence)


def _degraded(snapshot: Snapshot, last: CycleReport) -> Iterator[_State]:
    reasons = snapshot.health.reasons_not_ready(snapshot.now)
    if not reasons and last.error is not None:
        reasons = [f"the last cycle was cut short: {last.error}"]
    if reasons:
        first = "; ".join(reasons)
        yield _State("degraded", Tone.BAD, f"{first[0].upper()}{first[1:]}.")


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
