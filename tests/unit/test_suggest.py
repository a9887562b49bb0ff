"""Rules proposed by what people did: only with evidence, and never a known one."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import T0
from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    DescriptionIs,
    DuplicateOf,
    GreaterThan,
    LessThan,
    MetadataMatches,
    Missing,
    TypeIn,
    Words,
)
from triaged.rules.context import EvaluationContext
from triaged.rules.evaluate import evaluate
from triaged.rules.task import HumanDecision, Json, Task, parse_task
from triaged.rulesfile.lint.unreachable import subsumes
from triaged.triage.suggest.candidates import MAX_CANDIDATES, find_candidates
from triaged.triage.suggest.examples import Kind, wanted_examples
from triaged.triage.suggest.history import History, SettledTask, iter_rows
from triaged.triage.suggest.proposals import (
    LEVEL,
    Parts,
    Proposal,
    binomial_tail,
    propose,
)
from triaged.triage.suggest.reasons import guess, reason_for

WORDS = ("alpha", "bravo", "delta", "gamma", "kappa", "omega", "sigma", "theta")


def a_past_task(dice: random.Random, number: int, **changes: Json) -> Task:
    text = " ".join(dice.choices(WORDS, k=4))
    metadata: dict[str, Json] = {"source": dice.choice(("api", "chat", "mail"))}
    if dice.random() < 0.7:
        metadata["limit"] = dice.randint(1, 3_000)
    listed: dict[str, Json] = {
        "id": f"task-{number}",
        "type": dice.choice(("prospect_search", "contact_update")),
        "status": "completed",
        "description": f"{text} newsletter" if dice.random() < 0.3 else text,
        "created_at": (T0 - timedelta(hours=3_000 - number)).isoformat(),
        "metadata": metadata,
    }
    return parse_task(listed | changes)


def past(
    wanted: Callable[[Task], bool], *, seed: int = 1, count: int = 1_000
) -> list[SettledTask]:
    """Return what people who follow a rule, mostly, have settled."""
    dice = random.Random(seed)  # noqa: S311
    settled = []
    for number in range(count):
        task = a_past_task(dice, number)
        dismissed = wanted(task) is not (dice.random() < 0.05)
        settled.append(SettledTask(task=task, decision=word(dismissed=dismissed)))
    return settled


def word(*, dismissed: bool) -> HumanDecision:
    return HumanDecision.DISMISSED if dismissed else HumanDecision.APPROVED


def proposed(settled: Sequence[SettledTask], *known: Parts) -> tuple[Proposal, ...]:
    return propose(
        History.of(settled),
        is_covered=lambda parts: any(subsumes(parts, one) for one in known),
    ).rules


def is_newsletter(task: Task) -> bool:
    return task.type == "contact_update" and "newsletter" in (task.description or "")


NEWSLETTERS: Parts = (
    TypeIn(("contact_update",)),
    DescriptionIs(Words(("newsletter",))),
)


def test_a_habit_of_people_becomes_a_rule() -> None:
    """What people do, but for 5 % of it, is proposed with honest numbers."""
    settled = past(is_newsletter)
    (rule,) = proposed(settled)
    hits = [
        one
        for one in settled
        if evaluate(rule.match, one.task, EvaluationContext(T0, {})) is True
    ]

    assert set(rule.parts) == set(NEWSLETTERS)
    assert rule.found.total + rule.verified.total == len(hits)
    assert rule.found.dismissed + rule.verified.dismissed == sum(
        one.decision is HumanDecision.DISMISSED for one in hits
    )


def test_the_numbers_are_of_tasks_that_the_rule_was_not_found_on() -> None:
    """A habit that people gave up is not proposed, however clear it once was."""
    settled = past(is_newsletter)
    given_up = [
        one if number < 600 else replace(one, decision=word(dismissed=number % 20 == 0))
        for number, one in enumerate(settled)
    ]
    found = propose(History.of(given_up), is_covered=lambda _: False)

    assert found.rules == ()
    assert found.unconfirmed >= 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_chance_proposes_nothing(seed: int, share: float) -> None:
    """Decisions by the toss of a coin, fair or not, give no rule."""
    dice = random.Random(seed)  # noqa: S311
    settled = [
        SettledTask(
            task=a_past_task(dice, number),
            decision=word(dismissed=dice.random() < share),
        )
        for number in range(500)
    ]

    assert proposed(settled) == ()


@pytest.mark.parametrize("count", [0, 1, 20])
def test_little_evidence_is_none(count: int) -> None:
    """A few tasks, all dismissed or all approved, give no rule."""
    assert proposed(past(is_newsletter, count=count)) == ()
    assert proposed(past(lambda _: True, count=count)) == ()


@pytest.mark.parametrize(
    ("known", "count"),
    [
        ((DescriptionIs(Words(("webinar", "Newsletter"))),), 0),
        (NEWSLETTERS, 0),
        ((*NEWSLETTERS, MetadataMatches("source", Missing(expected=False))), 1),
    ],
)
def test_a_rule_that_an_existing_one_covers_is_not_proposed(
    known: Parts, count: int
) -> None:
    """An existing rule that is as wide or wider covers it, a narrower one does not."""
    assert len(proposed(past(is_newsletter), known)) == count


def test_what_existing_rules_explain_is_no_evidence() -> None:
    """Dismissals that a rule in force would have made do not speak for a new one."""
    settled = [
        replace(one, explained=one.decision is HumanDecision.DISMISSED)
        for one in past(is_newsletter)
    ]

    assert proposed(settled) == ()


def test_a_bound_is_round_and_right() -> None:
    """A number that people draw the line at is found, and written as they would."""
    settled = past(
        lambda task: (
            (task.metadata or {}).get("source") == "api"
            and int(str((task.metadata or {}).get("limit", 0))) > 2_000
        )
    )
    (rule,) = proposed(settled)
    bounds = [p.test for p in rule.parts if isinstance(p, MetadataMatches)]
    (bound,) = [test.bound for test in bounds if isinstance(test, GreaterThan)]

    assert abs(bound - 2_000) <= 50
    assert bound % 10 == 0


def test_a_missing_value_is_found() -> None:
    """The absence of a key can be what people go by."""
    (rule,) = proposed(past(lambda task: "limit" not in (task.metadata or {})))

    assert rule.parts == (MetadataMatches("limit", Missing(expected=True)),)


def test_repeated_requests_are_found() -> None:
    """People who dismiss the second of two equal requests follow the duplicate rule."""
    dice = random.Random(3)  # noqa: S311
    settled = []
    for number in range(600):
        repeated = number % 5 == 4
        text = f"Find {number - 1 if repeated else number} lawyers"
        task = a_past_task(dice, number, description=text, type="prospect_search")
        settled.append(SettledTask(task=task, decision=word(dismissed=repeated)))
    (rule,) = proposed(settled)

    assert rule.parts == (DuplicateOf(("type", "description")),)


def test_age_counts_only_where_it_is_known() -> None:
    """Ages are those at which triaged saw the tasks, and no age is made up."""
    dice = random.Random(4)  # noqa: S311
    known, unknown = [], []
    for number in range(800):
        task = a_past_task(dice, number)
        age = timedelta(days=dice.randint(0, 40), hours=1)
        assert task.created_at is not None
        one = SettledTask(
            task=task,
            decision=word(dismissed=age > timedelta(days=30)),
            seen_at=task.created_at + age,
        )
        known.append(one)
        unknown.append(replace(one, seen_at=None))
    (rule,) = proposed(known)

    assert rule.parts == (AgeBetween(over=timedelta(days=31)),) or rule.parts == (
        AgeBetween(over=timedelta(days=30)),
    )
    assert proposed(unknown) == ()


def test_candidates_agree_with_the_rules_engine() -> None:
    """Each condition holds for the very rows that it is indexed under."""
    history = History.of(past(is_newsletter, count=300))
    candidates = find_candidates(history)

    assert 20 < len(candidates) <= MAX_CANDIDATES
    for candidate in candidates:
        assert history.matching(candidate.condition) == candidate.rows, candidate


@pytest.mark.parametrize(
    "text",
    ["", " ", "a\u0301\u200b x", "[[[", "\\", "/x/ y", "%a%", "$ ^", "\ufffd", "é" * 9],
)
def test_odd_texts_are_no_obstacle(text: str) -> None:
    """Whatever descriptions and metadata hold, conditions that can be written come."""
    dice = random.Random(5)  # noqa: S311
    odd: dict[str, Json] = {"a b": 1, "k": text, "n": 1e300, "l": [text], "d": {"k": 1}}
    settled = [
        SettledTask(
            task=a_past_task(
                dice, number, description=f"{text} {number}", metadata=odd, type=text
            )
            if number % 3 == 0
            else a_past_task(dice, number),
            decision=word(dismissed=number % 3 == 0),
        )
        for number in range(300)
    ]

    assert len(proposed(settled)) >= 1


def test_undated_tasks_are_counted_and_left_out() -> None:
    """Without a time of creation a task is in neither part of the history."""
    dice = random.Random(6)  # noqa: S311
    task = a_past_task(dice, 1, created_at=None)
    history = History.of([SettledTask(task=task, decision=word(dismissed=True))])

    assert (history.undated, history.rows) == (1, ())


def test_examples_lie_at_the_edge() -> None:
    """A near miss lacks one condition alone; for a bound it is the nearest value."""
    settled = past(
        lambda task: (
            task.type == "contact_update"
            and int(str((task.metadata or {}).get("limit", 0))) > 1_000
        )
    )
    history = History.of(settled)
    (rule,) = propose(history, is_covered=lambda _: False).rules
    examples = list(wanted_examples(history, rule))
    misses = [wanted for wanted in examples if wanted.kind is Kind.NEAR_MISS]

    assert {wanted.without for wanted in misses} == set(rule.parts)
    for wanted in misses:
        others = tuple(part for part in rule.parts if part != wanted.without)
        for row in wanted.rows:
            assert history.holds(AllOf(others), row)
            assert wanted.without is not None
            assert not history.holds(wanted.without, row)
    (hits,) = [wanted for wanted in examples if wanted.kind is Kind.HIT]
    limit = (history.rows[hits.rows[0]].task.metadata or {})["limit"]
    assert isinstance(limit, int)
    assert 1_000 < limit < 1_150


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((DuplicateOf(("type",)),), "duplicate"),
        ((DescriptionIs(Words(("lorem ipsum",))),), "testing"),
        ((DescriptionIs(Words(("contest",))),), "not_relevant"),
        ((MetadataMatches("limit", LessThan(1)),), "incorrect_params"),
        ((MetadataMatches("query", Missing(expected=True)),), "incorrect_params"),
        ((MetadataMatches("query", Missing(expected=False)),), "not_relevant"),
        ((TypeIn(("contact_update",)),), "not_relevant"),
    ],
)
def test_reasons_are_guessed_by_their_documented_meaning(
    parts: Parts, code: str
) -> None:
    """The guess follows from the conditions."""
    assert guess(parts) == code


def test_a_reason_that_people_gave_is_no_guess() -> None:
    """The ledger's reasons count before any guess, where most are one."""
    settled = [
        replace(one, reason="manual_execution" if number % 2 else None)
        for number, one in enumerate(past(is_newsletter))
    ]
    history = History.of(settled)
    (rule,) = propose(history, is_covered=lambda _: False).rules
    code, source = reason_for(rule, history)

    assert code == "manual_execution"
    assert "given by people" in source


@pytest.mark.parametrize(
    ("hits", "trials", "share", "chance"),
    [(0, 5, 0.5, 1.0), (5, 5, 0.5, 0.03125), (1, 2, 0.5, 0.75), (3, 3, 0.0, 0.0)],
)
def test_the_tail_of_the_binomial(
    hits: int, trials: int, share: float, chance: float
) -> None:
    """It is the exact sum."""
    assert binomial_tail(hits, trials, share) == pytest.approx(chance)
    assert LEVEL < 0.01


def test_rows_come_back_as_they_went_in() -> None:
    """A set of rows gives its rows in order."""
    assert list(iter_rows(0b1010_0001)) == [0, 5, 7]
