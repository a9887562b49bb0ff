"""Loosened rules: tests must notice each, and are written where none does."""

import json

import pytest
from hypothesis import given

from tests.builders import T0
from tests.strategies import rulesets
from triaged.rules.rule import Ruleset
from triaged.rulesfile.lint import mutation
from triaged.rulesfile.lint.missing_tests import MissingTests, NewTest
from triaged.rulesfile.lint.mutation import Mutant, find_survivors, mutants
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
tests:
  - name: a watched one
    task: {type: contact_update, description: '[TEST] tags'}
    expect: {decision: leave, observed: [watched]}
  - name: asked twice
    task: {type: contact_update, description: a, age: 2h, metadata: {campaign_id: c}}
    other_tasks:
      - {type: list_operation, description: a, age: 1h, metadata: {campaign_id: c}}
    expect: {decision: dismiss, rule: twice}
  - name: asked twice but kept
    task: {type: contact_update, description: keep, age: 2h, metadata: {campaign_id: d}}
    other_tasks:
      - {type: list_operation, description: keep, age: 1h, metadata: {campaign_id: d}}
    expect: {decision: leave}
  - name: an odd one
    task:
      {type: data_export, description: 'say "no"', age: 2m,
       metadata: {num: 1, is: 'no', tags: [1]}}
    expect: {decision: dismiss, rule: odd}
  - name: the rest
    task: {type: data_export, description: z, metadata: {num: 2.5, vip: true}}
    expect: {decision: dismiss, rule: rest}
  - name: not in Munich
    task: {type: data_export, description: In Munich, metadata: {num: 2.5}}
    expect: {decision: leave, cause: protected}
"""


def load(text: str) -> LoadedRules:
    return parse(text.encode(), "rules.yaml")


def alive(rules: LoadedRules) -> list[Mutant]:
    found = find_survivors(rules.tests, rules.ruleset, now=T0, elapsed=lambda: 0.0)
    assert found.tried == found.total
    return list(found.found)


def survivors(text: str) -> set[tuple[str, str]]:
    return {(mutant.subject, mutant.dropped) for mutant in alive(load(text))}


def wanted(text: str) -> list[tuple[Mutant, NewTest | None]]:
    rules = load(text)
    missing = MissingTests(rules.ruleset, rules.tests)
    return list(missing.propose(alive(rules), elapsed=lambda: 0.0))


def test_what_no_test_notices_is_found() -> None:
    """Every condition of a rule that may dismiss is dropped once; leaving ones not."""
    found = survivors(RULES)

    assert {subject for subject, _ in found} == {"rule old"}
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

    assert ("rule old", "type prospect_search") not in survivors(RULES + near_miss)


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
    """Pasted as printed, it passes with the rules and fails with its mutant."""
    found = wanted(text)
    proposed = [(mutant, test) for mutant, test in found if test is not None]
    assert len(proposed) >= len(found) - 1

    for mutant, test in proposed:
        pasted = load(f"{text}{test}\n")
        assert run_tests(pasted.tests, pasted.ruleset, now=T0).failures == ()
        assert (mutant.subject, mutant.dropped) not in {
            (m.subject, m.dropped) for m in alive(pasted)
        }
    complete = text + "".join(f"{test}\n" for _, test in proposed)
    assert run_tests(load(complete).tests, load(complete).ruleset, now=T0).passed
    left = {(m.subject, m.dropped) for m, test in found if test is None}
    assert survivors(complete) == left


def test_as_json_it_can_be_pasted_too() -> None:
    """JSON is YAML: the entry that JSON output has is a test as well."""
    _, test = wanted(RULES)[0]
    assert test is not None

    pasted = load(f"{RULES}\n  - {json.dumps(test.entry)}\n")

    assert pasted.tests[-1].name == test.entry["name"]


def test_its_name_is_free() -> None:
    """No other test in the file has it, however often it is asked for."""
    rules = load(RULES)
    again = [alive(rules)[0]] * 3
    missing = MissingTests(rules.ruleset, rules.tests)
    proposed = missing.propose(again, elapsed=lambda: 0.0)
    names = [test.entry["name"] for _, test in proposed if test is not None]

    assert len(set(names)) == 3


def test_where_nothing_can_notice_there_is_no_test() -> None:
    """For a condition that an earlier rule makes idle, no test is proposed."""
    text = """
version: 1
rules:
  - {name: people, match: {type: campaign_start}, leave: true}
  - name: rest
    match: {description: foo, not: {type: campaign_start}}
    dismiss: testing
tests:
  - name: a foo goes
    task: {type: contact_update, description: foo}
    expect: {decision: dismiss}
"""
    tests = {mutant.dropped: test for mutant, test in wanted(text)}

    assert tests["not: type campaign_start"] is None
    assert tests["description /foo/"] is not None


def test_without_a_task_that_is_meant_there_is_no_test() -> None:
    """A test is made of those in the file, so without any none is made up."""
    text = "version: 1\nrules: [{name: a, match: {description: x}, dismiss: testing}]\n"

    assert [test for _, test in wanted(text)] == [None]


PROTECT = r"""
version: 1
protect:
  - description: ['(?i)\bboard\b', '(?i)\bcourt\b']
  - metadata: {vip: {missing: false, equals: true}}
  - any: [{type: campaign_start}, {metadata: {query: {regex: [ceo, cto]}}}]
rules:
  - {name: clutter, match: {description: TEST}, dismiss: testing}
tests:
  - name: the board stays
    task: {type: contact_update, description: TEST of the board, metadata: {query: x}}
    expect: {decision: leave, cause: protected}
  - name: a test goes
    task: {type: contact_update, description: TEST, metadata: {query: x}}
    expect: {decision: dismiss}
  - name: a campaign stays
    task: {type: campaign_start, description: TEST, metadata: {query: x}}
    expect: {decision: leave, cause: protected}
"""


def test_protection_that_no_test_notices_is_found() -> None:
    """Each alternative of each protect entry is left out once, or the whole entry."""
    tried = [m.subject for m in mutants(load(PROTECT).ruleset)]

    assert tried.count("protect[0]") == 2
    assert tried.count("protect[1]") == 1
    assert tried.count("protect[2]") == 2
    assert {pair for pair in survivors(PROTECT) if "protect" in pair[0]} == {
        ("protect[0]", r"description /(?i)\bcourt\b/"),
        (
            "protect[1]",
            "all of [metadata.vip present; metadata.vip equals true]",
        ),
        ("protect[2]", "metadata.query /ceo/ or /cto/"),
    }


def test_patterns_of_protected_metadata_are_tried_one_by_one() -> None:
    """A list of patterns protects by each of them."""
    text = PROTECT.replace("any: [{type: campaign_start}, ", "").replace("}}}]", "}}}")
    text = text.replace("- {metadata: {query", "- metadata: {query").replace(
        "cto]}}}", "cto]}}"
    )

    dropped = [m.dropped for m in mutants(load(text).ruleset)]

    assert "metadata.query /ceo/" in dropped
    assert "metadata.query /cto/" in dropped


def test_a_test_for_protection_is_proposed() -> None:
    """It is left as protected, and would be dismissed without the entry."""
    text = PROTECT.replace(
        "description: TEST of the board", "description: TEST for board and court"
    )
    found = {m.dropped: test for m, test in wanted(text) if m.rule is None}
    test = found[r"description /(?i)\bboard\b/"]

    assert test is not None
    assert test.entry["expect"] == {"decision": "leave", "cause": "protected"}
    pasted = load(f"{text}{test}\n")
    assert run_tests(pasted.tests, pasted.ruleset, now=T0).failures == ()
    assert ("protect[0]", r"description /(?i)\bboard\b/") not in survivors(
        f"{text}{test}\n"
    )


def test_no_test_is_sought_without_time() -> None:
    """Each survivor is still named, only without a test to add."""
    rules = load(RULES)
    missing = MissingTests(rules.ruleset, rules.tests)
    found = alive(rules)

    assert list(missing.propose(found, elapsed=lambda: 99.0)) == [
        (mutant, None) for mutant in found
    ]


def test_what_there_is_no_time_for_is_counted() -> None:
    """Neither very many conditions nor slow ones keep the user waiting."""
    many = ", ".join(f"'word {n}'" for n in range(mutation.MAX_MUTANTS + 5))
    text = (
        "version: 1\nrules:\n  - {name: a, match: {description: x, not:"
        f" {{description: [{many}]}}}}, dismiss: testing}}\n"
    )
    rules = load(text)
    seconds = iter(range(1000))

    capped = find_survivors((), rules.ruleset, now=T0, elapsed=lambda: 0.0)
    slow = find_survivors((), rules.ruleset, now=T0, elapsed=lambda: next(seconds, 99))

    assert (capped.tried, capped.total) == (mutation.MAX_MUTANTS, capped.tried + 6)
    assert slow.tried == mutation.MAX_SECONDS


@given(rulesets())
def test_a_mutant_has_one_thing_changed(ruleset: Ruleset) -> None:
    """No mutant is the ruleset itself, and each has one rule or entry changed."""
    for mutant in mutants(ruleset):
        changed = [
            f"rule {new.name}"
            for old, new in zip(ruleset.rules, mutant.ruleset.rules, strict=True)
            if old != new
        ]
        shields = zip(ruleset.protect, mutant.ruleset.protect, strict=True)
        changed += [f"protect[{n}]" for n, (a, b) in enumerate(shields) if a != b]
        assert changed == [mutant.subject]


def test_trials_say_what_running_all_tests_says() -> None:
    """The short cut for many mutants is the plain way, only quicker."""
    rules = load(HARD)

    assert {m.dropped for m in alive(rules)} == {
        m.dropped
        for m in mutants(rules.ruleset)
        if not run_tests(rules.tests, m.ruleset, now=T0).failures
    }
