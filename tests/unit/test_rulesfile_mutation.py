"""Loosened rules: tests must notice each, and are written where none does."""

import json

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.builders import T0
from tests.strategies import TYPES, rulesets
from triaged.rules.rule import Ruleset
from triaged.rulesfile.lint.missing_tests import Killers, NewTest
from triaged.rulesfile.lint.mutation import Mutant, MutationRunner, mutants
from triaged.rulesfile.loader import LoadedRules, parse
from triaged.rulesfile.test_runner import run_tests

RULES = """
version: 1
rules:
  - name: old
    match:
      type: prospect_search
      age: {over: 14d, under: 365d}
      any: [{metadata: {source: api}}, {not: {description: keep}}]
    dismiss: not_relevant
  - name: switched-off
    mode: off
    match: {type: list_operation}
    dismiss: not_relevant
  - name: people
    match: {type: campaign_start}
    leave: true
tests:
  - name: an old one goes
    task: {type: prospect_search, age: 20d, description: x, metadata: {source: api}}
    expect: {decision: dismiss, rule: old}
  - name: a young one stays
    task: {type: prospect_search, age: 2d, description: x, metadata: {source: api}}
    expect: {decision: leave}
"""
HARD = r"""
version: 1
task_types: [data_export]
protect:
  - description: '(?i)\bmunich\b'
rules:
  - name: for-people
    match: {type: [campaign_start, prospect_search]}
    leave: true
  - name: watched
    mode: observe
    match: {type: contact_update, description: ['^\[TEST\]', lorem]}
    dismiss: testing
  - name: twice
    match:
      type: [contact_update, list_operation]
      duplicate: {of: [description, metadata.campaign_id], keep: newest}
      not: {any: [{description: 'keep\b'}, {metadata: {vip: {missing: false}}}]}
    dismiss: duplicate
  - name: odd
    match:
      all:
        - description: 'say "no"'
        - metadata: {num: {over: 0.5, under: 3}, is: {in: ['no', '1.10']}}
        - metadata: {tags: {equals: [1]}}
      age: {over: 90s}
    dismiss: incorrect_params
  - name: rest
    match: {metadata: {num: {missing: false, over: 2}}}
    dismiss: not_relevant
"""


def load(text: str) -> LoadedRules:
    return parse(text.encode(), "rules.yaml")


def alive(rules: LoadedRules) -> list[Mutant]:
    trials = MutationRunner(rules.tests, rules.ruleset, now=T0)
    return [m for m in mutants(rules.ruleset) if trials.survives(m)]


def survivors(text: str) -> set[tuple[str, str]]:
    return {(mutant.rule, mutant.dropped) for mutant in alive(load(text))}


def wanted(text: str) -> list[tuple[Mutant, NewTest | None]]:
    rules = load(text)
    killers = Killers(rules.ruleset, rules.tests, rules.task_types)
    return [(mutant, killers.find(mutant)) for mutant in alive(rules)]


def test_what_no_test_notices_is_found() -> None:
    """Every condition of a rule that may dismiss is dropped once; leaving ones not."""
    found = survivors(RULES)

    assert {rule for rule, _ in found} == {"old"}
    dropped = {what for _, what in found}
    assert "type prospect_search" in dropped
    assert "age over 14d and under 365d: under" in dropped
    assert "age over 14d and under 365d: over" not in dropped


def test_a_test_that_notices_kills_the_mutant() -> None:
    """With a near miss for a condition, dropping it turns a test red."""
    near_miss = """
  - name: another type stays
    task: {type: list_operation, age: 20d, description: x, metadata: {source: api}}
    expect: {decision: leave, cause: no_rule}
"""

    assert ("old", "type prospect_search") not in survivors(RULES + near_miss)


@pytest.mark.parametrize(
    ("match", "dropped"),
    [
        ("{description: foo}", ["description /foo/"]),
        ("{any: [{description: a}, {type: campaign_start}]}", ["any of"]),
        ("{all: [{all: [{description: a}, {age: {over: 1d}}]}]}", ["desc", "age"]),
        ("{age: {over: 1d, under: 2d}}", ["age over 1d and under 2d: over", "under"]),
        (
            "{description: x, not: {description: [a, b]}}",
            ["description /x/", "not: description /a/", "not: description /b/"],
        ),
        (
            "{description: x, not: {type: [campaign_start, contact_update]}}",
            ["description /x/", "not: type campaign_start", "not: type contact"],
        ),
        (
            "{any: [{all: [{description: a}, {age: {over: 1d}}]}, {description: c}]}",
            ["description /a/", "age over 1d"],
        ),
        (
            "{metadata: {vip: {missing: false, equals: true}}}",
            ["metadata.vip equals true"],
        ),
        (
            "{metadata: {vip: {missing: false}}, description: x}",
            ["metadata.vip present", "description"],
        ),
    ],
)
def test_each_condition_is_dropped_once(match: str, dropped: list[str]) -> None:
    """Not a whole besides its parts, nor what changes nothing."""
    rules = f"rules: [{{name: one, match: {match}, dismiss: testing}}]\n"
    found = sorted(m.dropped for m in mutants(load(f"version: 1\n{rules}").ruleset))

    assert len(found) == len(dropped)
    assert all(any(part in what for what in found) for part in dropped)


def test_the_test_to_add_reads_like_the_others() -> None:
    """It is made after the file's own task, with the one condition not met."""
    tests = {mutant.dropped: test for mutant, test in wanted(RULES)}

    assert str(tests["type prospect_search"]) == (
        "  - name: 'old: not without type prospect_search'\n"
        "    task: {type: contact_update, description: x, age: 20d,"
        " metadata: {source: api}}\n"
        "    expect: {decision: leave, cause: no_rule}"
    )


@pytest.mark.parametrize("text", [RULES, HARD], ids=["plain", "hard"])
def test_the_test_to_add_kills_its_mutant(text: str) -> None:
    """Pasted as printed, it passes with the rules, and nothing survives any more."""
    found = wanted(text)
    assert found
    assert all(test is not None for _, test in found)
    base = text.removesuffix("tests: []\n")
    head = base if "tests:" in base else base + "tests:\n"

    for mutant, test in found:
        pasted = load(f"{head}{test}\n")
        assert run_tests(pasted.tests, pasted.ruleset, now=T0).failures == ()
        assert (mutant.rule, mutant.dropped) not in {
            (m.rule, m.dropped) for m in alive(pasted)
        }
    complete = head + "".join(f"{test}\n" for _, test in found)
    assert run_tests(load(complete).tests, load(complete).ruleset, now=T0).passed
    assert survivors(complete) == set()


def test_as_json_it_can_be_pasted_too() -> None:
    """JSON is YAML: the entry that JSON output has is a test as well."""
    _, test = wanted(RULES)[0]
    assert test is not None

    pasted = load(f"{RULES}\n  - {json.dumps(test.entry)}\n")

    assert pasted.tests[-1].name == test.entry["name"]


def test_its_name_is_free() -> None:
    """No other test in the file has it, however often it is asked for."""
    rules = load(RULES)
    mutant = next(mutants(rules.ruleset))
    killers = Killers(rules.ruleset, rules.tests, rules.task_types)

    names = [test.entry["name"] for _ in range(3) if (test := killers.find(mutant))]

    assert len(set(names)) == 3


def test_where_nothing_can_notice_there_is_no_test() -> None:
    """A condition that an earlier rule makes idle is not worth a made-up test."""
    text = """
version: 1
rules:
  - {name: people, match: {type: campaign_start}, leave: true}
  - name: rest
    match: {description: foo, not: {type: campaign_start}}
    dismiss: testing
"""
    tests = {mutant.dropped: test for mutant, test in wanted(text)}

    assert tests["not: type campaign_start"] is None
    assert tests["description /foo/"] is not None


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(rulesets())
def test_a_test_to_add_is_never_wrong(ruleset: Ruleset) -> None:
    """Whatever the rules: it passes with them, and fails with the mutant."""
    killers = Killers(ruleset, (), TYPES)
    rules = [
        f"{{name: {rule.name}, match: {{type: a{n}}}, leave: true}}"
        for n, rule in enumerate(ruleset.rules)
    ]
    types = [*TYPES, *(f"a{n}" for n in range(len(rules)))]
    head = (
        f"version: 1\ntask_types: [{', '.join(types)}]\nrules: [{', '.join(rules)}]\n"
    )
    assume(rules)

    for mutant in list(mutants(ruleset))[:6]:
        test = killers.find(mutant)
        if test is not None:
            # The text, as read again: only its own rules are those that were drawn.
            tests = load(f"{head}tests:\n{test}\n").tests
            assert run_tests(tests, ruleset, now=T0).failures == ()
            assert run_tests(tests, mutant.ruleset, now=T0).failures


@settings(max_examples=60, deadline=None)
@given(rulesets())
def test_a_looser_rule_is_looser(ruleset: Ruleset) -> None:
    """No mutant is the rule itself, and each has one rule changed."""
    for mutant in mutants(ruleset):
        changed = [
            new.name
            for old, new in zip(ruleset.rules, mutant.ruleset.rules, strict=True)
            if old != new
        ]
        assert changed == [mutant.rule]


def test_trials_say_what_running_all_tests_says() -> None:
    """The short cut for many mutants is the plain way, only quicker."""
    tests = [test for _, test in wanted(HARD) if test is not None][::2]
    head = HARD.removesuffix("tests: []\n") + "tests:\n"
    rules = load(head + "".join(f"{test}\n" for test in tests))

    assert {m.dropped for m in alive(rules)} == {
        m.dropped
        for m in mutants(rules.ruleset)
        if not run_tests(rules.tests, m.ruleset, now=T0).failures
    }
