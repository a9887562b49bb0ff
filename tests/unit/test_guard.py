"""Tests of the safety limits between a decision and a dismissal."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from triaged.rules.conditions import DuplicateOf, Keep, TypeIn
from triaged.rules.context import EvaluationContext, build_context
from triaged.rules.decide import decide
from triaged.rules.rule import Mode, Rule, Ruleset, SafetyLimits
from triaged.rules.task import Decision, LeaveCause, ProposedDismissal, Task
from triaged.triage.guard import (
    MAX_CLOCK_SKEW,
    GuardResult,
    History,
    apply_guard,
    is_below_min_age,
)

ANY: Final = TypeIn(("prospect_search",))
OTHER: Final = TypeIn(("campaign_start",))
MINUTE: Final = timedelta(minutes=1)
NOW: Final = EvaluationContext(T0, {})
LOOSE: Final = SafetyLimits(
    max_dismissals_per_cycle=1000,
    max_dismissals_per_day=1000,
    max_share_of_pending=1.0,
    min_age=timedelta(0),
)


def a_rule(name: str = "clutter", **changes: object) -> Rule:
    rule = Rule(name=name, match=ANY, reason="testing")
    return replace(rule, **changes)  # type: ignore[arg-type]


def rules(*those: Rule, safety: SafetyLimits = LOOSE) -> Ruleset:
    return Ruleset(rules=those or (a_rule(),), safety=safety)


def wanted(
    task: Task | None = None, *, rule: str = "clutter", observed: Sequence[str] = ()
) -> Decision:
    seen = tuple(ProposedDismissal(name, "testing") for name in observed)
    return Decision(task or a_task(), None, rule, "testing", seen)


def many(count: int, *, rule: str = "clutter") -> list[Decision]:
    """Return decisions to dismiss, the oldest task last and its id the highest."""
    return [
        wanted(a_task(id=f"{rule}-{n:03}", age=timedelta(days=1 + n)), rule=rule)
        for n in range(count)
    ]


def left_alone(count: int) -> list[Decision]:
    return [Decision(a_task(id=f"left-{n}"), LeaveCause.NO_RULE) for n in range(count)]


def cause_of(
    decision: Decision, ruleset: Ruleset | None = None, history: History | None = None
) -> LeaveCause | None:
    guarded = apply_guard([decision], ruleset or rules(), history or History(), NOW)
    return guarded.decisions[0].cause


def due_ids(guarded: GuardResult) -> list[str | None]:
    return [decision.task.id for decision in guarded.to_dismiss]


def test_what_nothing_stops_is_due() -> None:
    """With nothing in the way, a decision to dismiss comes out as it went in."""
    decision = wanted()

    guarded = apply_guard([decision], rules(), History(), NOW)

    assert guarded.decisions == (decision,)
    assert guarded.to_dismiss == (decision,)
    assert guarded.breaker is None
    assert guarded.left == {}


@pytest.mark.parametrize("cause", list(LeaveCause))
def test_a_leave_stays_the_leave_it_was(cause: LeaveCause) -> None:
    """Whatever a task was left for, the guard neither dismisses nor renames it."""
    decision = Decision(a_task(), cause, "clutter", "testing")
    history = History(paused=True, vetoed=frozenset({"task-1"}))

    guarded = apply_guard([decision], rules(), history, NOW)

    assert guarded.decisions == (decision,)
    assert guarded.to_dismiss == ()
    assert guarded.left == {cause: 1}


def test_the_causes_have_an_order() -> None:
    """Of all limits that would stop a task, the one that says most is named."""
    young = SafetyLimits(max_dismissals_per_cycle=0, min_age=timedelta(days=2))
    old = replace(young, min_age=timedelta(0))
    hold = rules(a_rule(hold=timedelta(hours=1)), safety=young)
    skewed, id_ = timedelta(hours=1), frozenset({"task-1"})
    history = History(
        handled=id_, vetoed=id_, recently_rejected=id_, clock_skew=skewed, paused=True
    )
    steps = [
        cause_of(wanted(), hold, history),
        cause_of(wanted(), hold, history := replace(history, handled=frozenset())),
        cause_of(wanted(), hold, history := replace(history, vetoed=frozenset())),
        cause_of(wanted(), hold := replace(hold, safety=old), history),
        cause_of(
            wanted(), hold, history := replace(history, recently_rejected=frozenset())
        ),
        cause_of(wanted(), rules(safety=old), history),
        cause_of(wanted(), rules(safety=old), replace(history, clock_skew=MINUTE)),
        cause_of(wanted(), rules(safety=old)),
    ]

    assert steps == [
        LeaveCause.NOT_PENDING,
        LeaveCause.VETOED,
        LeaveCause.YOUNG,
        LeaveCause.HELD,
        LeaveCause.HELD,
        LeaveCause.BREAKER,
        LeaveCause.PAUSED,
        LeaveCause.OVER_CAP,
    ]


def test_a_stopped_dismissal_keeps_what_was_wanted() -> None:
    """A leave by the guard still tells which rule wanted what."""
    guarded = apply_guard([wanted()], rules(), History(paused=True), NOW)

    assert guarded.decisions == (wanted()._replace(cause=LeaveCause.PAUSED),)
    assert guarded.left == {LeaveCause.PAUSED: 1}


@pytest.mark.parametrize(
    ("age", "cause"),
    [(10 * MINUTE, None), (10 * MINUTE - timedelta.resolution, LeaveCause.YOUNG)],
)
def test_young_ends_at_the_very_edge(age: timedelta, cause: LeaveCause | None) -> None:
    """A task is young until it has the full minimal age, and not a moment more."""
    safety = replace(LOOSE, min_age=10 * MINUTE)

    assert cause_of(wanted(a_task(age=age)), rules(safety=safety)) is cause


@pytest.mark.parametrize(
    "created_at", [None, "yesterday", "2026-02-01T00:00:00", "2026-03-01T00:00:01Z"]
)
def test_an_unknown_age_is_young(created_at: str | None) -> None:
    """A task whose age nobody knows, or that is of the future, may be young."""
    task = a_task(created_at=created_at)

    assert is_below_min_age(task, SafetyLimits(), now=T0)
    assert not is_below_min_age(
        task, replace(SafetyLimits(), min_age=timedelta(0)), now=T0
    )


@pytest.mark.parametrize(
    ("since", "cause"),
    [
        (None, LeaveCause.HELD),
        (T0, LeaveCause.HELD),
        (T0 - timedelta(hours=24) + timedelta.resolution, LeaveCause.HELD),
        (T0 - timedelta(hours=24), None),
        (T0 + timedelta(hours=1), LeaveCause.HELD),
    ],
)
def test_a_hold_ends_at_the_very_edge(since: object, cause: LeaveCause | None) -> None:
    """A hold must have run its full time; one never seen has not begun."""
    held = {("task-1", "clutter"): since} if since else {}
    ruleset = rules(a_rule(hold=timedelta(hours=24)))

    assert cause_of(wanted(), ruleset, History(held_since=held)) is cause  # type: ignore[arg-type]


def test_a_hold_belongs_to_one_rule() -> None:
    """Time under one rule's hold does not count for another rule."""
    held = {("task-1", "other"): T0 - timedelta(days=9)}
    ruleset = rules(a_rule(hold=timedelta(hours=24)), a_rule("other"))

    assert cause_of(wanted(), ruleset, History(held_since=held)) is LeaveCause.HELD
    assert cause_of(wanted(rule="other"), ruleset) is None


def test_where_nobody_can_know_nothing_is_held() -> None:
    """Without a ledger a hold neither runs nor stops anything."""
    ruleset = rules(a_rule(hold=timedelta(hours=24)))

    assert cause_of(wanted(), ruleset, History(held_since=None)) is None


def test_no_hold_for_a_decision_by_hand() -> None:
    """A decision without a rule is held by no rule."""
    ruleset = rules(a_rule(hold=timedelta(hours=24)))
    by_hand = Decision(a_task(), None, None, "testing")

    assert cause_of(by_hand, ruleset) is None


def test_what_wants_a_hold_is_told() -> None:
    """Every rule with a hold that holds now is told, observed ones included."""
    hold = timedelta(hours=1)
    ruleset = rules(
        a_rule("watch", mode=Mode.OBSERVE, hold=hold),
        a_rule("quick", mode=Mode.OBSERVE),
        a_rule(hold=hold),
    )
    both = wanted(a_task(id="a"), observed=["watch", "quick"])
    seen = Decision(a_task(id="b"), LeaveCause.NO_RULE, observed=both.observed)
    kept = Decision(a_task(id="c"), LeaveCause.PROTECTED, "clutter")
    nameless = Decision(a_task(id=None), LeaveCause.MALFORMED, observed=both.observed)
    by_hand = Decision(a_task(id="d"), None, None, "testing")

    guarded = apply_guard(
        [both, seen, kept, nameless, by_hand], ruleset, History(), NOW
    )

    assert guarded.on_hold_rules == {("a", "watch"), ("a", "clutter"), ("b", "watch")}


def test_a_task_without_id_ends_no_hold() -> None:
    """Holds of the tasks that are listed after a malformed one go on."""
    holding = a_rule(hold=timedelta(hours=1))
    malformed = Decision(a_task(id=None), LeaveCause.MALFORMED)

    guarded = apply_guard([malformed, wanted()], rules(holding), History(), NOW)

    assert guarded.on_hold_rules == {("task-1", "clutter")}


def test_an_observation_ripens() -> None:
    """An observed dismissal counts once its task is old and its hold has run."""
    hold = timedelta(hours=1)
    safety = replace(LOOSE, min_age=10 * MINUTE)
    watch = a_rule("watch", mode=Mode.OBSERVE, hold=hold)
    ruleset = rules(watch, safety=safety)
    dismissal = ProposedDismissal("watch", "testing")
    ripe, young, held = (
        Decision(task, LeaveCause.NO_RULE, observed=(dismissal,))
        for task in (a_task(id="a"), a_task(id="b", age=MINUTE), a_task(id="c"))
    )
    history = History(held_since={("a", "watch"): T0 - hold, ("b", "watch"): T0 - hold})

    guarded = apply_guard([ripe, young, held], ruleset, history, NOW)

    assert guarded.observed == ((ripe.task, dismissal),)


def test_a_cap_keeps_the_oldest() -> None:
    """Under a cap the oldest tasks go first, and the order listed does not matter."""
    safety = replace(LOOSE, max_dismissals_per_cycle=2)

    guarded = apply_guard(many(5), rules(safety=safety), History(), NOW)

    assert due_ids(guarded) == ["clutter-004", "clutter-003"]
    assert guarded.left == {LeaveCause.OVER_CAP: 3}


def test_the_oldest_are_told_by_moment_then_id() -> None:
    """Equal moments are ordered by id, and no usable moment comes last."""
    decisions = [
        wanted(a_task(id="x", created_at=None)),
        wanted(a_task(id="b")),
        wanted(a_task(id="a")),
    ]

    guarded = apply_guard(decisions, rules(), History(), NOW)

    assert due_ids(guarded) == ["a", "b", "x"]


@pytest.mark.parametrize(
    "safety",
    [
        replace(LOOSE, max_dismissals_per_cycle=0),
        replace(LOOSE, max_dismissals_per_day=0),
    ],
)
def test_a_cap_of_zero_dismisses_nothing(safety: SafetyLimits) -> None:
    """Zero means none, never unlimited."""
    guarded = apply_guard(many(3), rules(safety=safety), History(), NOW)

    assert guarded.to_dismiss == ()
    assert guarded.left == {LeaveCause.OVER_CAP: 3}


@pytest.mark.parametrize(("spent", "due"), [(0, 3), (7, 3), (8, 2), (10, 0), (11, 0)])
def test_the_daily_cap_counts_what_is_spent(spent: int, due: int) -> None:
    """What any rule or hand dismissed today leaves that much less room."""
    safety = replace(LOOSE, max_dismissals_per_day=10)
    history = History(dismissed_today={"other": spent - spent // 2, None: spent // 2})

    guarded = apply_guard(many(3), rules(safety=safety), history, NOW)

    assert len(guarded.to_dismiss) == due


@pytest.mark.parametrize(("cap", "spent", "due"), [(0, 0, 0), (2, 0, 2), (2, 1, 1)])
def test_a_rule_has_its_own_cap(cap: int, spent: int, due: int) -> None:
    """A rule's cap stops that rule, takes no room from others, counts its own past."""
    ruleset = rules(a_rule(max_per_day=cap), a_rule("other"))
    history = History(dismissed_today={"clutter": spent, "other": 9})
    decisions = [*many(3), *many(3, rule="other")]

    guarded = apply_guard(decisions, ruleset, history, NOW)

    assert Counter(d.rule for d in guarded.to_dismiss) == Counter(clutter=due, other=3)


def test_what_a_rule_may_not_leaves_room_in_the_cycle() -> None:
    """A task over its rule's cap does not use up the cycle's cap."""
    safety = replace(LOOSE, max_dismissals_per_cycle=2)
    ruleset = rules(a_rule(max_per_day=0), a_rule("other"), safety=safety)

    guarded = apply_guard([*many(9), *many(3, rule="other")], ruleset, History(), NOW)

    assert due_ids(guarded) == ["other-002", "other-001"]


@pytest.mark.parametrize(
    ("share", "dismissed", "left", "is_open"),
    [
        (0.5, 20, 0, False),
        (0.5, 21, 0, True),
        (0.5, 21, 21, False),
        (0.5, 21, 20, True),
        (1.0, 30, 0, False),
        (0.0, 20, 100, False),
        (0.0, 21, 100, True),
        (0.29, 29, 71, False),
        (0.29, 30, 71, True),
    ],
)
def test_the_breaker_at_its_edges(
    share: float, dismissed: int, left: int, *, is_open: bool
) -> None:
    """More than twenty tasks and more than the share: both, and to the task."""
    safety = replace(LOOSE, max_share_of_pending=share)
    decisions = [*many(dismissed), *left_alone(left)]

    guarded = apply_guard(decisions, rules(safety=safety), History(), NOW)

    assert (guarded.breaker is not None) is is_open
    assert len(guarded.to_dismiss) == (0 if is_open else dismissed)
    assert guarded.left[LeaveCause.BREAKER] == (dismissed if is_open else 0)


@given(st.integers(1, 100), st.integers(1, 4))
def test_the_share_is_as_exact_as_it_is_written(percent: int, hundreds: int) -> None:
    """Exactly the share is not more than the share, whatever binary makes of it."""
    wanting = percent * hundreds
    safety = replace(LOOSE, max_share_of_pending=percent / 100)
    decisions = [*many(wanting), *left_alone(100 * hundreds - wanting)]

    assert apply_guard(decisions, rules(safety=safety), History(), NOW).breaker is None


def test_the_breaker_tells_why() -> None:
    """An open breaker names the numbers and the setting."""
    safety = replace(LOOSE, max_share_of_pending=0.5)

    guarded = apply_guard(many(30), rules(safety=safety), History(), NOW)

    assert guarded.breaker == (
        "the rules want 30 of 30 pending tasks, more than the share of 0.5 that"
        " max_share_of_pending allows"
    )


def test_the_breaker_looks_before_the_caps() -> None:
    """A small cap does not hide that the rules want too much."""
    safety = SafetyLimits(max_dismissals_per_cycle=1, min_age=timedelta(0))

    guarded = apply_guard(many(30), rules(safety=safety), History(), NOW)

    assert guarded.left == {LeaveCause.BREAKER: 30}


def test_the_breaker_counts_what_can_still_be_wanted() -> None:
    """Vetoed and done tasks are not wanted; odd and settled rows are not pending."""
    safety = replace(LOOSE, max_share_of_pending=0.5)
    ids = [d.task.id or "" for d in many(30)]
    history = History(vetoed=frozenset(ids[:5]), handled=frozenset(ids[5:10]))
    odd = [
        *(Decision(a_task(id=f"m{n}"), LeaveCause.MALFORMED) for n in range(50)),
        *(
            Decision(a_task(id=f"s{n}", status="approved"), LeaveCause.NOT_PENDING)
            for n in range(50)
        ),
    ]

    calm = apply_guard(many(30), rules(safety=safety), history, NOW)
    alarmed = apply_guard([*many(30), *odd], rules(safety=safety), History(), NOW)

    assert calm.breaker is None
    assert alarmed.breaker is not None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_wrong_clock_opens_the_breaker(sign: int) -> None:
    """With a clock that is off by more than the limit no age can be trusted."""
    edge = sign * MAX_CLOCK_SKEW
    beyond = sign * (MAX_CLOCK_SKEW + timedelta(seconds=1))

    at_edge = apply_guard([wanted()], rules(), History(clock_skew=edge), NOW)
    wrong = apply_guard([wanted()], rules(), History(clock_skew=beyond), NOW)

    assert at_edge.breaker is None
    assert wrong.left == {LeaveCause.BREAKER: 1}
    assert wrong.breaker == f"this machine's clock is {sign * 121:+} s off the server's"


def test_pause_stops_everything() -> None:
    """While paused nothing is due."""
    guarded = apply_guard(many(3), rules(), History(paused=True), NOW)

    assert guarded.left == {LeaveCause.PAUSED: 3}


_ids = st.sampled_from("abcdef")
_tasks = st.lists(
    st.builds(
        lambda id_, type_, status, days: a_task(
            id=id_, type=type_, status=status, age=timedelta(days=days)
        ),
        _ids,
        st.sampled_from(["prospect_search", "campaign_start", "list_operation"]),
        st.sampled_from(["pending", "pending", "pending", "approved"]),
        st.integers(-1, 5),
    ),
    max_size=8,
)
_caps = st.none() | st.integers(0, 3)
_rulesets = st.builds(
    lambda caps, hold, safety, shield: Ruleset(
        rules=(
            a_rule(max_per_day=caps[0], hold=timedelta(hours=hold)),
            a_rule("other", match=OTHER, max_per_day=caps[1]),
        ),
        protect=(TypeIn((shield,)),),
        safety=safety,
    ),
    st.tuples(_caps, _caps),
    st.sampled_from([0, 1]),
    st.builds(
        SafetyLimits,
        max_dismissals_per_cycle=st.integers(0, 5),
        max_dismissals_per_day=st.integers(0, 8),
        min_age=st.sampled_from([timedelta(0), timedelta(days=1)]),
    ),
    st.sampled_from(["prospect_search", "unheard_of"]),
)
_spent = st.dictionaries(
    st.sampled_from(["clutter", "other", None]), st.integers(0, 4), max_size=3
)
_pasts = st.builds(
    History,
    vetoed=st.frozensets(_ids, max_size=2),
    handled=st.frozensets(_ids, max_size=2),
    recently_rejected=st.frozensets(_ids, max_size=1),
    held_since=st.dictionaries(
        st.tuples(_ids, st.just("clutter")), st.just(T0 - timedelta(days=1))
    ),
    dismissed_today=_spent,
    paused=st.sampled_from([False, False, False, True]),
)


@given(_tasks, _rulesets, _pasts)
def test_the_guard_only_ever_stops(
    tasks: list[Task], ruleset: Ruleset, history: History
) -> None:
    """No leave becomes a dismissal, none is renamed, and the order listed stays."""
    before = decide(ruleset, tasks, now=T0)

    guarded = apply_guard(before, ruleset, history, NOW)

    assert [d._replace(cause=None) for d in guarded.decisions] == [
        d._replace(cause=None) for d in before
    ]
    for was, now in zip(before, guarded.decisions, strict=True):
        assert was.is_dismissal or was.cause is now.cause
    assert sorted(due_ids(guarded), key=str) == sorted(
        (d.task.id for d in guarded.decisions if d.is_dismissal), key=str
    )


@given(_tasks, _rulesets, _pasts)
def test_what_is_due_respects_every_limit(
    tasks: list[Task], ruleset: Ruleset, history: History
) -> None:
    """What is due stays under all caps and is neither protected, vetoed nor done."""
    due = apply_guard(decide(ruleset, tasks, now=T0), ruleset, history, NOW).to_dismiss
    safety, spent = ruleset.safety, sum(history.dismissed_today.values())

    assert len(due) <= safety.max_dismissals_per_cycle
    assert len(due) <= max(safety.max_dismissals_per_day - spent, 0)
    for rule in ruleset.rules:
        count = sum(decision.rule == rule.name for decision in due)
        if rule.max_per_day is not None:
            assert count <= max(
                rule.max_per_day - history.dismissed_today.get(rule.name, 0), 0
            )
    stopped = history.vetoed | history.handled | history.recently_rejected
    protected = ruleset.protect[0]
    assert isinstance(protected, TypeIn)
    for decision in due:
        assert decision.task.id not in stopped
        assert decision.task.type not in protected.types
        assert decision.task.is_pending
        assert not is_below_min_age(decision.task, safety, now=T0)


@given(_tasks, _rulesets, _pasts, _spent)
def test_more_spent_never_means_more_due(
    tasks: list[Task], ruleset: Ruleset, history: History, more: dict[str | None, int]
) -> None:
    """Whatever was dismissed today only ever takes away from what is due."""
    decisions = decide(ruleset, tasks, now=T0)
    raised = replace(
        history, dismissed_today=Counter(history.dismissed_today) + Counter(more)
    )

    before = apply_guard(decisions, ruleset, history, NOW).to_dismiss
    after = apply_guard(decisions, ruleset, raised, NOW).to_dismiss

    assert len(after) <= len(before)


def test_an_audited_task_is_left_for_people() -> None:
    """It is neither due nor counted by a cap, and it is told with rule and reason."""
    audited, due = wanted(), wanted(a_task(id="task-2"), rule="other")
    ruleset = rules(a_rule(audit=1.0), a_rule("other"))

    guarded = apply_guard([audited, due], ruleset, History(), NOW)

    assert [d.cause for d in guarded.decisions] == [LeaveCause.AUDIT, None]
    assert guarded.to_dismiss == (due,)
    assert guarded.audited == ((audited.task, ProposedDismissal("clutter", "testing")),)


@pytest.mark.parametrize(
    ("history", "cause"),
    [
        (History(paused=True), LeaveCause.AUDIT),
        (History(vetoed=frozenset({"task-1"})), LeaveCause.VETOED),
        (History(unresolved=frozenset({"task-1"})), LeaveCause.HELD),
        (History(recently_rejected=frozenset({"task-1"})), LeaveCause.HELD),
    ],
)
def test_what_concerns_the_task_comes_before_the_audit(
    history: History, cause: LeaveCause
) -> None:
    """A veto or an open attempt is told; a pause, which is for all, is not."""
    assert cause_of(wanted(), rules(a_rule(audit=1.0)), history) is cause


@pytest.mark.parametrize("field", ["unresolved", "recently_rejected"])
def test_an_open_attempt_or_a_rejection_holds(field: str) -> None:
    """Each of the two is enough."""
    history = replace(History(), **{field: frozenset({"task-1"})})  # type: ignore[arg-type]

    assert cause_of(wanted(), history=history) is LeaveCause.HELD


def test_the_kept_copy_stays_while_the_other_goes() -> None:
    """A task that is kept for a copy is not dismissed in the same cycle by any rule."""
    copies = DuplicateOf(("description",), Keep.OLDEST)
    tasks = [a_task(id="old", age=timedelta(days=2)), a_task(id="new")]
    ruleset = rules(a_rule(match=copies), a_rule("other"))
    context = build_context(ruleset.conditions(), tasks, now=T0)
    decisions = [wanted(tasks[0], rule="other"), wanted(tasks[1])]

    guarded = apply_guard(decisions, ruleset, History(), context)

    assert [d.cause for d in guarded.decisions] == [LeaveCause.HELD, None]
    assert due_ids(guarded) == ["new"]
