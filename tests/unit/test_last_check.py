"""Tests of the last check: what is decided early may be forbidden when it is sent."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import T0
from tests.fakes import RULES, TriageHarness
from triaged.errors import ConfigError, LedgerError
from triaged.leadlex.errors import NoResponse
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Outcome
from triaged.ledger.flags import FlagName
from triaged.ledger.location import FILE
from triaged.ledger.opening import make_daemon_lock
from triaged.quota import RateLimitHeaders
from triaged.rules.task import LeaveCause
from triaged.triage.dispatcher import MAX_CONCURRENT
from triaged.triage.reconcile import EFFECT_TIMEOUT
from triaged.triage.requests import HaltReason

PROTECT_ALL = RULES.replace("rules:", "protect: [{type: contact_update}]\nrules:")


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[TriageHarness]:
    harness = TriageHarness(tmp_path)
    yield harness
    harness.ledger.close()


def after_first(harness: TriageHarness, change: object) -> None:
    """Make a change while the first dismissal is under way."""

    def before_dismiss() -> None:
        harness.leadlex.before_dismiss = lambda: None
        assert callable(change)
        change()

    harness.leadlex.before_dismiss = before_dismiss


def add_many(harness: TriageHarness, count: int = 2 * MAX_CONCURRENT) -> None:
    harness.leadlex.add(*(f"t{number:02}" for number in range(count)))


@pytest.mark.anyio
async def test_nothing_leaves_once_paused(harness: TriageHarness) -> None:
    """A pause acts on everything that was not sent, whatever was decided before."""
    add_many(harness)
    after_first(
        harness, lambda: harness.ledger.flags.set(FlagName.PAUSED, by="ada", at=T0)
    )
    report = await harness.cycle()

    assert report.halt is HaltReason.PAUSED
    assert len(harness.leadlex.dismissed) == 1
    assert harness.rate_limiter.snapshot().used_today == 2


@pytest.mark.anyio
async def test_a_veto_acts_at_once(harness: TriageHarness) -> None:
    """A task that is vetoed while others are dismissed is not."""
    add_many(harness)
    after_first(harness, lambda: harness.ledger.vetoes.add("t09", at=T0))
    await harness.cycle()

    assert "t09" not in harness.leadlex.dismissed
    assert len(harness.leadlex.dismissed) == 2 * MAX_CONCURRENT - 1


@pytest.mark.anyio
async def test_old_rules_dismiss_nothing_once_new_ones_are_in_force(
    harness: TriageHarness,
) -> None:
    """After a reload in mid-cycle nothing more leaves; the next cycle decides again."""
    add_many(harness)
    after_first(harness, lambda: harness.rules(PROTECT_ALL))
    report = await harness.cycle()
    dismissed = len(harness.leadlex.dismissed)
    await harness.cycle()

    assert report.halt is HaltReason.RULES_CHANGED
    assert dismissed == len(harness.leadlex.dismissed) == 1


@pytest.mark.anyio
async def test_a_task_with_an_unresolved_attempt_is_not_tried(
    harness: TriageHarness,
) -> None:
    """A call that may still take effect is not repeated, whoever asks for it."""
    harness.leadlex.add("a")
    harness.leadlex.errors = [NoResponse("dismiss")]
    await harness.cycle()
    again = await harness.cycle()

    assert again.attempts == ()
    assert harness.outcomes() == [("a", Outcome.UNKNOWN)]


@pytest.mark.anyio
async def test_what_took_effect_late_is_not_denied(harness: TriageHarness) -> None:
    """A call that failed by a list is confirmed once its task is dismissed."""
    harness.leadlex.add("a")
    harness.leadlex.errors = [NoResponse("dismiss")]
    await harness.cycle()
    harness.ledger.flags.set(FlagName.PAUSED, at=T0)
    harness.clock.advance(EFFECT_TIMEOUT.total_seconds())
    await harness.cycle()
    before = harness.outcomes()
    harness.leadlex.tasks["a"]["status"] = "dismissed"
    await harness.cycle()

    assert before == [("a", Outcome.FAILED)]
    assert harness.outcomes() == [("a", Outcome.CONFIRMED)]


@pytest.mark.anyio
async def test_what_was_sent_is_spent_until_it_is_proven_undone(
    harness: TriageHarness,
) -> None:
    """The cap of a day counts calls whose outcome is not known yet."""
    harness.rules(RULES.replace("safety: {", "safety: {max_dismissals_per_day: 2, "))
    harness.leadlex.add("a", "b", "c", "d")
    harness.leadlex.errors = [NoResponse("dismiss"), NoResponse("dismiss")]
    await harness.cycle()
    await harness.cycle()

    assert harness.leadlex.dismissed == []
    assert len(harness.outcomes()) == 2


@pytest.mark.anyio
async def test_a_wrong_clock_keeps_everything(harness: TriageHarness) -> None:
    """A clock that the server contradicts dismisses nothing."""
    harness.leadlex.add("a")
    harness.leadlex.rate_limit = replace(
        harness.leadlex.rate_limit, date=T0 - timedelta(days=25)
    )
    report = await harness.cycle()

    assert report.breaker is not None
    assert harness.leadlex.dismissed == []


@pytest.mark.anyio
async def test_the_kept_copy_stays_while_the_other_goes(tmp_path: Path) -> None:
    """The task for whose sake a duplicate goes is not dismissed in the same cycle."""
    harness = TriageHarness(tmp_path)
    harness.rules(
        "version: 1\nsafety: {max_share_of_pending: 1.0}\nrules:\n"
        "- {name: twice, match: {duplicate: {of: [description]}}, dismiss: duplicate}\n"
        "- {name: old, match: {age: {over: 30d}}, dismiss: not_relevant}\n"
    )
    old = (T0 - timedelta(days=40)).isoformat()
    harness.leadlex.add("old", description="same", created_at=old)
    harness.leadlex.add("new", description="same")
    first = await harness.cycle()
    once = harness.leadlex.dismissed
    await harness.cycle()
    twice = harness.leadlex.dismissed
    harness.ledger.close()

    assert once == ["new"]
    assert first.left_by_cause == {LeaveCause.HELD: 1}
    assert twice == ["new", "old"]


@pytest.mark.anyio
async def test_a_copy_stays_when_the_kept_task_was_dismissed(tmp_path: Path) -> None:
    """A list that still has the kept task does not let its last copy go too."""
    harness = TriageHarness(tmp_path)
    harness.rules(
        "version: 1\nsafety: {max_share_of_pending: 1.0}\nrules:\n"
        "- {name: twice, match: {duplicate: {of: [description]}}, dismiss: duplicate}\n"
        "- {name: old, match: {age: {over: 30d}}, dismiss: not_relevant}\n"
    )
    old = (T0 - timedelta(days=40)).isoformat()
    harness.leadlex.add("old", description="same", created_at=old)
    await harness.cycle()
    harness.leadlex.tasks["old"]["status"] = "pending"
    harness.leadlex.add("new", description="same")
    await harness.cycle()
    harness.ledger.close()

    assert harness.leadlex.dismissed == ["old"]


@pytest.mark.anyio
@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_ledger_that_was_replaced_stops_everything(
    harness: TriageHarness, tmp_path: Path, *, is_replaced: bool
) -> None:
    """Nothing is dismissed by a ledger that others do not see any more."""
    add_many(harness)
    copy = (tmp_path / FILE).read_bytes()

    def lose() -> None:
        (tmp_path / FILE).unlink()
        if is_replaced:
            (tmp_path / FILE).write_bytes(copy)

    after_first(harness, lose)
    with pytest.raises(LedgerError, match="deleted or replaced"):
        await harness.cycle()
    before = len(harness.leadlex.dismissed)
    with pytest.raises(LedgerError, match="deleted or replaced"):
        await harness.cycle()

    assert len(harness.leadlex.dismissed) == before <= MAX_CONCURRENT


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [90, -90])
async def test_the_caps_day_is_the_servers(
    harness: TriageHarness, seconds: int
) -> None:
    """A clock that is a little off begins no second day at one of its midnights."""
    harness.rules(RULES.replace("safety: {", "safety: {max_dismissals_per_day: 1, "))
    # Five seconds before midnight and five after, by this machine's clock.
    skew, clock = timedelta(seconds=seconds), harness.clock
    clock.at = T0 - timedelta(seconds=5)
    harness.leadlex.add("t1", "t2")
    harness.leadlex.rate_limit = RateLimitHeaders(date=clock.at + skew)
    await harness.cycle()
    clock.at += timedelta(seconds=10)
    harness.leadlex.rate_limit = RateLimitHeaders(date=clock.at + skew)
    await harness.cycle()

    assert len(harness.leadlex.dismissed) == 1


def test_no_veto_is_confirmed_in_a_ledger_that_is_gone(
    harness: TriageHarness, tmp_path: Path
) -> None:
    """A page that is open on a deleted ledger says so, rather than to keep a task."""
    (tmp_path / FILE).unlink()

    with pytest.raises(LedgerError, match="deleted or replaced"):
        harness.ledger.vetoes.add("t1", at=T0)
    with pytest.raises(LedgerError, match="deleted or replaced"):
        harness.ledger.flags.set(FlagName.PAUSED, at=T0)


def test_a_ledger_belongs_to_one_api(tmp_path: Path) -> None:
    """What happened at one API never stands in for another."""
    with Ledger.open(tmp_path, workspace="acme") as ledger:
        ledger.bind("http://127.0.0.1:1/a", at=T0)
        ledger.bind("http://127.0.0.1:1/a", at=T0)
        with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:1/a"):
            ledger.bind("https://data.example/b", at=T0)


def test_an_emergency_stop_is_not_confirmed_without_effect(tmp_path: Path) -> None:
    """Another label than the ledger's, or no ledger at all, is refused."""
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.open_existing(tmp_path, workspace="acme")
    with Ledger.open(tmp_path, workspace="acme") as ledger:
        ledger.bind("http://127.0.0.1:1/a", at=T0)

    with pytest.raises(ConfigError, match="belongs to workspace acme, not to default"):
        Ledger.open_existing(tmp_path, workspace="default")
    Ledger.open_existing(tmp_path, workspace="acme").close()


def test_a_second_label_does_not_pass_by_what_is_forbidden(tmp_path: Path) -> None:
    """It would know neither vetoes nor pause, so the ledger of one is for that one."""
    Ledger.open_own(tmp_path, workspace="acme").close()
    Ledger.open_own(tmp_path, workspace="default").close()  # nothing happened so far
    with Ledger.open(tmp_path, workspace="acme") as ledger:
        ledger.bind("http://127.0.0.1:1/a", at=T0)

    with pytest.raises(ConfigError, match="belongs to workspace acme, not to default"):
        Ledger.open_own(tmp_path, workspace="default")
    Ledger.open_own(tmp_path, workspace="acme").close()


def test_a_ledger_of_many_workspaces_takes_another(tmp_path: Path) -> None:
    """The workspaces of a fleet share a directory, and new ones join it."""
    for name in ("acme", "beta"):
        with Ledger.open(tmp_path, workspace=name) as ledger:
            ledger.bind("http://127.0.0.1:1/a", at=T0)

    with Ledger.open_own(tmp_path, workspace="new", is_of_fleet=True) as ledger:
        assert ledger.workspace == "new"


@pytest.mark.parametrize("opened", [Ledger.open_own, Ledger.open_existing])
def test_the_ledger_of_a_fleet_is_for_commands_of_a_fleet(
    tmp_path: Path, opened: Callable[..., Ledger]
) -> None:
    """Without TRIAGED_FLEET a command would act on a workspace that nobody runs."""
    for name in ("acme", "beta"):
        with Ledger.open(tmp_path, workspace=name) as ledger:
            ledger.bind("http://127.0.0.1:1/a", at=T0)

    with pytest.raises(ConfigError, match=r"a fleet \(acme, beta\); set TRIAGED_FLEET"):
        opened(tmp_path, workspace="default")
    opened(tmp_path, workspace="acme").close()
    with (
        make_daemon_lock(tmp_path, workspace="", since=T0),
        pytest.raises(ConfigError, match="set TRIAGED_FLEET"),
    ):
        opened(tmp_path, workspace="acme")
