"""Tests of events that people are told of at once, and of when they are retried."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0
from triaged.triage.alerts import (
    MAX_ATTEMPTS,
    Alert,
    AlertKind,
    FingerprintedChange,
    breaker_alert,
    retry_at,
    rule_alerts,
)
from triaged.triage.digest import ChangedRule


def changed(rule: str, hours: int, *, up: bool, sha: str = "f1") -> FingerprintedChange:
    change = ChangedRule(rule=rule, is_promotion=up, at=T0 + timedelta(hours=hours))
    return FingerprintedChange(change, sha)


def kinds(alerts: list[Alert] | tuple[Alert, ...]) -> list[tuple[str, str]]:
    return [(alert.kind, alert.rule) for alert in alerts]


def test_only_the_first_promotion_of_a_rule_is_an_event() -> None:
    """Each demotion is one; a rule that is promoted again is in the digest only."""
    history = [
        changed("a", 3, up=True),
        changed("a", 1, up=True),
        changed("a", 2, up=False),
        changed("a", 4, up=False),
    ]
    alerts = list(rule_alerts(history, now=T0 + timedelta(hours=5)))

    assert kinds(alerts) == [("promoted", "a"), ("demoted", "a"), ("demoted", "a")]
    assert len({alert.name for alert in alerts}) == 3


def test_an_edited_rule_starts_anew() -> None:
    """The promotion of a rule that was changed since is a first one again."""
    history = [changed("a", 1, up=True), changed("a", 2, up=True, sha="f2")]

    assert len(rule_alerts(history, now=T0 + timedelta(hours=5))) == 2


def test_what_happened_long_ago_is_no_news() -> None:
    """Set up notifications, and you are not told what happened before yesterday."""
    history = [changed("a", 0, up=True), changed("a", 20, up=True)]
    alerts = rule_alerts(history, now=T0 + timedelta(hours=30))

    assert list(alerts) == []


def test_a_breaker_is_one_event_until_it_closes() -> None:
    """Its reason may change while it is open; the event stays the same."""
    names = {breaker_alert(T0, reason).name for reason in ("30 of 40", "31 of 40")}

    assert len(names) == 1
    assert breaker_alert(T0 + timedelta(seconds=1), "").name not in names
    assert breaker_alert(T0, "").kind is AlertKind.BREAKER


@given(st.integers(1, 20))
def test_retries_are_bounded_and_ever_rarer(attempts: int) -> None:
    """Some minutes after a failure, then hours, then not at all."""
    at, later = retry_at(attempts, T0), retry_at(attempts + 1, T0)

    assert (at is None) == (attempts >= MAX_ATTEMPTS)
    if at is not None:
        assert T0 + timedelta(minutes=1) <= at <= T0 + timedelta(hours=3)
        assert later is None or later > at
