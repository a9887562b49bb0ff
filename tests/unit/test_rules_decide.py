"""What the rules say of tasks, and what must be true of it whatever they are."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from tests.strategies import entries, listings, rulesets
from triaged.rules.conditions import (
    Condition,
    DescriptionIs,
    DuplicateOf,
    Equals,
    MetadataMatches,
    Missing,
    Regex,
    TypeIn,
)
from triaged.rules.context import build_context
from triaged.rules.decide import decide
from triaged.rules.evaluate import evaluate
from triaged.rules.patterns.re2_pattern import compile_pattern
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import (
    Decision,
    Json,
    LeaveCause,
    ProposedDismissal,
    Task,
    parse_task,
)

SEARCHES: Final = TypeIn(("prospect_search",))
UNKNOWN: Final = MetadataMatches("nowhere", Equals(1))
NEVER: Final = TypeIn(("never",))


def _rule(
    name: str,
    match: Condition = SEARCHES,
    reason: str | None = "testing",
    mode: Mode = Mode.ENFORCE,
) -> Rule:
    return Rule(name=name, match=match, reason=reason, mode=mode)


def _decide(
    *rules: Rule, task: Task | None = None, protect: tuple[Condition, ...] = ()
) -> Decision:
    ruleset = Ruleset(rules=rules, protect=protect)
    (decision,) = decide(ruleset, [a_task() if task is None else task], now=T0)
    return decision


def test_first_rule_decides() -> None:
    """The first enforced rule that holds decides, with its reason."""
    decision = _decide(_rule("no", NEVER), _rule("one", reason="a"), _rule("two"))

    assert decision.is_dismissal
    assert (decision.rule, decision.reason, decision.observed) == ("one", "a", ())


def test_no_rule() -> None:
    """A task that no rule holds for is left alone."""
    decision = _decide(_rule("no", NEVER))

    assert decision.cause is LeaveCause.NO_RULE
    assert not decision.is_dismissal


def test_unknown_dismisses_nothing() -> None:
    """A dismiss rule acts on true alone."""
    assert _decide(_rule("unsure", UNKNOWN)).cause is LeaveCause.NO_RULE


@pytest.mark.parametrize("match", [SEARCHES, UNKNOWN])
def test_leave_rule(match: Condition) -> None:
    """A leave rule acts on true and on unknown, and stops there."""
    decision = _decide(_rule("people", match, None), _rule("later"))

    assert decision.cause is LeaveCause.LEAVE_RULE
    assert (decision.rule, decision.reason) == ("people", None)


def test_leave_rule_that_does_not_hold() -> None:
    """A leave rule that is plainly false lets the later rules decide."""
    assert _decide(_rule("people", NEVER, None), _rule("later")).rule == "later"


@pytest.mark.parametrize("shield", [SEARCHES, UNKNOWN])
def test_protect(shield: Condition) -> None:
    """A protected task, or one that protection cannot judge, is not even observed."""
    decision = _decide(
        _rule("watch", mode=Mode.OBSERVE), _rule("one"), protect=(NEVER, shield)
    )

    assert decision == Decision(decision.task, LeaveCause.PROTECTED)


def test_observe_goes_on() -> None:
    """Observing rules are noted and the later rules still decide."""
    decision = _decide(
        _rule("first", reason="a", mode=Mode.OBSERVE),
        _rule("unsure", UNKNOWN, mode=Mode.OBSERVE),
        _rule("people", reason=None, mode=Mode.OBSERVE),
        _rule("off", mode=Mode.OFF),
        _rule("second", reason="b", mode=Mode.OBSERVE),
        _rule("last"),
        _rule("unreached", mode=Mode.OBSERVE),
    )

    assert decision.rule == "last"
    assert decision.observed == (
        ProposedDismissal("first", "a"),
        ProposedDismissal("second", "b"),
    )


@pytest.mark.parametrize("cause", [LeaveCause.LEAVE_RULE, LeaveCause.NO_RULE])
def test_observed_is_kept_when_left(cause: LeaveCause) -> None:
    """What was observed is told of a task that is left, too."""
    rules = [_rule("watch", mode=Mode.OBSERVE)]
    if cause is LeaveCause.LEAVE_RULE:
        rules.append(_rule("people", reason=None))

    decision = _decide(*rules)

    assert decision.cause is cause
    assert decision.observed == (ProposedDismissal("watch", "testing"),)


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"id": None}, LeaveCause.MALFORMED),
        ({"id": " "}, LeaveCause.MALFORMED),
        ({"id": 7}, LeaveCause.MALFORMED),
        ({"id": None, "status": "approved"}, LeaveCause.MALFORMED),
        ({"status": "approved"}, LeaveCause.NOT_PENDING),
        ({"status": "Pending"}, LeaveCause.NOT_PENDING),
        ({"status": None}, LeaveCause.NOT_PENDING),
    ],
)
def test_unfit(fields: dict[str, Json], cause: LeaveCause) -> None:
    """A task without an id, or that does not wait, is left before any rule is asked."""
    task = parse_task(dict(a_task().raw) | fields)
    decision = _decide(_rule("one"), task=task, protect=(SEARCHES,))

    assert decision == Decision(decision.task, cause)


def test_id_listed_twice() -> None:
    """The same task listed again is one task, judged once."""
    decisions = decide(
        Ruleset(rules=(_rule("one"),)), [a_task(), a_task(id="2"), a_task()], now=T0
    )

    assert [d.cause for d in decisions] == [None, None, LeaveCause.MALFORMED]


@pytest.mark.parametrize(
    ("first", "second"), [("a", "b"), (1, True), (None, 0), ([1], [True])]
)
def test_id_listed_with_two_contents(first: Json, second: Json) -> None:
    """Where two rows of one id differ in anything, neither is judged."""
    tasks = [a_task(metadata={"key": first}), a_task(metadata={"key": second})]

    decisions = decide(Ruleset(rules=(_rule("one"),)), tasks, now=T0)

    assert [d.cause for d in decisions] == [LeaveCause.MALFORMED, LeaveCause.MALFORMED]


def test_duplicates() -> None:
    """A rule about duplicates dismisses the copies and leaves the kept one."""
    ruleset = Ruleset(rules=(_rule("twice", DuplicateOf(("description",))),))

    decisions = decide(ruleset, [a_task(id="a"), a_task(id="b")], now=T0)

    assert [d.rule for d in decisions] == [None, "twice"]


def test_find_rule() -> None:
    """A rule is found by its name, or not at all."""
    ruleset = Ruleset(rules=(_rule("one"), _rule("two")))

    assert ruleset.rule("two") is ruleset.rules[1]
    assert ruleset.rule("three") is None


@given(rulesets(), listings())
def test_twice_the_same(ruleset: Ruleset, listed: list[Task]) -> None:
    """Deciding twice gives the same, in the order listed."""
    decisions = decide(ruleset, listed, now=T0)

    assert decisions == decide(ruleset, listed, now=T0)
    assert [decision.task for decision in decisions] == listed


@given(rulesets(duplicates=False), listings())
def test_alone_as_among_others(ruleset: Ruleset, listed: list[Task]) -> None:
    """A decision does not depend on other tasks, if no rule asks for duplicates."""
    tasks = [replace(task, id=f"{i}") for i, task in enumerate(listed) if task.id]

    together = decide(ruleset, tasks, now=T0)

    assert together == [decide(ruleset, [task], now=T0)[0] for task in tasks]


@given(rulesets(), listings())
def test_protected_never_goes(ruleset: Ruleset, listed: list[Task]) -> None:
    """What a protect match holds for, or cannot judge, is never dismissed."""
    context = build_context(ruleset.conditions(), listed, now=T0)

    for decision in decide(ruleset, listed, now=T0):
        if decision.is_dismissal or decision.observed:
            truths = [evaluate(s, decision.task, context) for s in ruleset.protect]
            assert all(truth is False for truth in truths)


@given(rulesets(missing=False), entries(), st.lists(entries(), max_size=4), st.data())
def test_less_known_never_dismisses(
    ruleset: Ruleset,
    entry: dict[str, Json],
    other_tasks: list[dict[str, Json]],
    data: st.DataObject,
) -> None:
    """Taking a field from a task, or making it null, never has a left task dismissed.

    That is if no rule asks for what is missing, and if the id says which task is meant.
    A dismissal may become another one: an earlier rule is unsure, a later one is not.
    """
    lesser = _take_something(entry, data)
    rest = [parse_task(other) for other in other_tasks if other["id"] != entry["id"]]
    before = decide(ruleset, [parse_task(entry), *rest], now=T0)[0]
    after = decide(ruleset, [parse_task(lesser), *rest], now=T0)[0]

    assert before.is_dismissal or not after.is_dismissal


def _take_something(entry: dict[str, Json], data: st.DataObject) -> dict[str, Json]:
    metadata = entry.get("metadata")
    if isinstance(metadata, dict) and metadata and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(metadata)))
        return entry | {"metadata": _without(metadata, key, data)}
    return _without(entry, data.draw(st.sampled_from(sorted(entry))), data)


def _without(fields: dict[str, Json], key: str, data: st.DataObject) -> dict[str, Json]:
    if data.draw(st.booleans()):
        return fields | {key: None}
    return {name: value for name, value in fields.items() if name != key}


def test_missing_is_the_exception() -> None:
    """Only a rule that asks for what is missing acts when a field is gone."""
    asking = _rule("orphans", MetadataMatches("list_id", Missing(expected=True)))

    assert not _decide(asking, task=a_task(metadata={"list_id": "x"})).is_dismissal
    assert _decide(asking, task=a_task(metadata={})).is_dismissal


def test_a_later_rule_may_take_over() -> None:
    """With less known an earlier rule no longer acts, and a later one still may."""
    rules = (
        _rule("words", DescriptionIs(Regex((compile_pattern("CEO"),)))),
        _rule("searches"),
    )

    assert _decide(*rules).rule == "words"
    assert _decide(*rules, task=a_task(description=None)).rule == "searches"


def test_every_decision_names_its_task() -> None:
    """Whatever is decided, and why, it is said of the task that was listed."""
    ruleset = Ruleset(
        rules=(
            _rule("lists", TypeIn(("list_operation",)), None),
            _rule("searches"),
        ),
        protect=(TypeIn(("contact_update",)),),
    )
    kinds = ("list_operation", "prospect_search", "contact_update", "campaign_start")
    tasks = [a_task(id=kind, type=kind) for kind in kinds]
    tasks += [a_task(id="gone", status="approved"), a_task(id=None)]
    tasks += [a_task(id="twice"), a_task(id="twice", description="other")]

    decisions = decide(ruleset, tasks, now=T0)

    assert [decision.task for decision in decisions] == tasks
    assert {decision.cause for decision in decisions} == {
        None,
        LeaveCause.LEAVE_RULE,
        LeaveCause.PROTECTED,
        LeaveCause.NO_RULE,
        LeaveCause.NOT_PENDING,
        LeaveCause.MALFORMED,
    }
