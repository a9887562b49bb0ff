"""Example tasks: never wrong, and found wherever a person would find one at once."""

from datetime import timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import T0
from tests.strategies import conditions, listings, rulesets
from triaged.rules.conditions import Condition
from triaged.rules.context import build_context, duplicate_conditions
from triaged.rules.decide import decide
from triaged.rules.evaluate import evaluate
from triaged.rules.rule import Ruleset
from triaged.rules.task import Task
from triaged.rulesfile.lint.candidate_values import Goal
from triaged.rulesfile.lint.example import Example, decide_first, example_of
from triaged.rulesfile.lint.example_search import Effort, examples
from triaged.rulesfile.lint.sample_tasks import NOW
from triaged.rulesfile.loader import LoadedRules, parse

TYPES = ("prospect_search", "campaign_start", "contact_update", "list_operation")
DESCRIPTION = "description: Find 20 lawyers in Munich"
COPIED = f"type: prospect_search, {DESCRIPTION}"


def loaded(match: str, tests: str = "") -> LoadedRules:
    rules = f"rules: [{{name: one, match: {match}, leave: true}}]\n"
    return parse(
        f"version: 1\ntask_types: [audit]\n{rules}{tests}".encode(), "rules.yaml"
    )


def condition_of(match: str) -> Condition:
    return loaded(match).ruleset.rules[0].match


def found(
    goals: list[Goal], *, effort: int = 200, like: tuple[Example, ...] = ()
) -> list[Example]:
    return list(islice(examples(goals, TYPES, effort=Effort(effort), like=like), 20))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(conditions(), st.booleans()), min_size=1, max_size=3))
def test_an_example_is_never_wrong(goals: list[Goal]) -> None:
    """Whatever is asked for: the engine says of each example what was asked for."""
    for example in found(goals, effort=30):
        tasks = example.tasks()
        context = build_context([what for what, _ in goals], tasks, now=NOW)
        assert [evaluate(what, tasks[0], context) for what, _ in goals] == [
            wanted for _, wanted in goals
        ]


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(
    "match",
    [
        "{type: campaign_start}",
        "{type: [campaign_start, contact_update]}",
        r"{description: '^\s*\[TEST\]'}",
        r"{description: ['Q\d board', foo]}",
        "{age: {over: 14d}}",
        "{age: {under: 1m}}",
        "{age: {over: 14d, under: 15d}}",
        "{metadata: {vip: true}}",
        "{metadata: {filters.country: DE}}",
        "{metadata: {limit: {over: 10000}}}",
        "{metadata: {limit: {over: 1, under: 2}}}",
        "{metadata: {share: {under: 0.5}}}",
        "{metadata: {source: {in: [api, 3]}}}",
        "{metadata: {query: {regex: 'ceos?$'}}}",
        "{metadata: {list_id: {missing: true}}}",
        "{metadata: {list_id: {missing: false}}}",
        "{metadata: {tags: {equals: [a, b]}}}",
        "{duplicate: {of: [type, description]}}",
        "{duplicate: {of: [metadata.campaign_id], keep: newest}}",
        "{not: {description: lawyers}}",
        "{any: [{type: campaign_start}, {metadata: {limit: {under: 1}}}]}",
        "{all: [{description: foo}, {not: {description: '(?i)bar'}}]}",
        "{description: lorem, type: contact_update, not: {metadata: {vip: true}}}",
        "{all: [{description: lorem}, {description: ipsum}, {age: {over: 1d}}]}",
    ],
)
def test_what_rules_ask_for_is_found(match: str, wanted: bool) -> None:
    """For each key and operator a task meets it, and another does not."""
    assert found([(condition_of(match), wanted)])


@pytest.mark.parametrize(
    ("match", "shown"),
    [
        (
            r"{description: '\[TEST\]'}",
            "{type: prospect_search, description: '[TEST]'}",
        ),
        (
            "{type: audit, metadata: {filters.a: DE}}",
            f"{{type: audit, {DESCRIPTION}, metadata: {{filters: {{a: DE}}}}}}",
        ),
        (
            "{age: {over: 14d}}",
            f"{{type: prospect_search, {DESCRIPTION}, age: 15d}}",
        ),
        (
            "{duplicate: {of: [type]}}",
            f"{{{COPIED}, age: 30d}} listed beside {{{COPIED}, age: 30d1h}}",
        ),
    ],
)
def test_an_example_can_be_pasted(match: str, shown: str) -> None:
    """It is shown as a test in a rules file says it, with no more than it needs."""
    first = found([(condition_of(match), True)])[0]

    assert str(first) == shown


def test_where_a_condition_just_fails_comes_first() -> None:
    """Over is strict, so the bound itself is the nearest miss."""
    match = condition_of("{age: {over: 14d}}")
    limit = condition_of("{metadata: {limit: {over: 100}}}")

    assert found([(match, False)])[0].task.age == timedelta(days=14)
    assert found([(limit, False)])[0].task.fields["metadata"] == {"limit": 100}


def test_what_cannot_be_is_not_found() -> None:
    """Two wishes at odds have no example, and the search for it ends."""
    match = condition_of("{description: foo}")

    assert found([(match, True), (match, False)]) == []


def test_an_example_is_like_the_one_given() -> None:
    """Only what must be otherwise differs from the task that it is made after."""
    test = (
        "tests:\n  - name: one\n    task: {type: contact_update, description: foo,"
        " age: 3d, metadata: {source: api}}\n    expect: {decision: leave}\n"
    )
    like = example_of(loaded("{description: foo}", test).tests[0])
    assert like is not None
    match = condition_of("{metadata: {limit: {over: 5}}}")

    first = found([(match, True)], like=(like,))[0]

    assert str(first) == (
        "{type: contact_update, description: foo, age: 3d,"
        " metadata: {source: api, limit: 6}}"
    )


@settings(max_examples=100, deadline=None)
@given(rulesets(), listings().filter(bool))
def test_deciding_on_the_first_is_deciding(
    ruleset: Ruleset, listed: list[Task]
) -> None:
    """The short cut says of the first task what the plain way says of it."""
    duplicates = duplicate_conditions(ruleset.conditions())

    first = decide_first(ruleset, listed, duplicates, now=T0)

    assert first == decide(ruleset, listed, now=T0)[0]


@pytest.mark.parametrize(
    ("task", "now", "age"),
    [
        ("{age: 3d}", "", timedelta(days=3)),
        ("{created_at: 2026-01-01T00:00:00Z}", "2026-01-03T00:00:00Z", timedelta(2)),
        ("{created_at: 2026-01-01T00:00:00Z}", "", None),
        ("{created_at: 2026-01-01T00:00:00Z}", "2025-01-03T00:00:00Z", None),
    ],
)
def test_a_test_with_a_date_has_an_age(
    task: str, now: str, age: timedelta | None
) -> None:
    """Examples have ages; a date without a moment, or after it, gives none."""
    at = f"now: {now}, " if now else ""
    test = f"tests: [{{name: one, {at}task: {task}, expect: {{decision: leave}}}}]\n"

    example = example_of(loaded("{description: foo}", test).tests[0])

    assert (None if example is None else example.task.age) == age


def test_the_search_is_bounded() -> None:
    """A match with millions of ways to be met is given up in time."""
    options = ", ".join(f"{{metadata: {{k{n}: v}}}}" for n in range(9))
    many = ", ".join(f"{{any: [{options}]}}" for _ in range(9))
    match = condition_of(f"{{all: [{many}], not: {{any: [{options}]}}}}")
    effort = Effort(50)

    assert list(examples([(match, True)], TYPES, effort=effort)) == []
    assert effort.left == 0
