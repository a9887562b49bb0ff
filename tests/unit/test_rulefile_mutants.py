"""Loosened rules: the tests in a file must notice each condition."""

from tests.builders import T0
from triaged.rulefile.load import parse
from triaged.rulefile.mutants import mutants
from triaged.rulefile.rule_tests import run_tests

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


def survivors(text: str) -> set[tuple[str, str]]:
    loaded = parse(text.encode(), "rules.yaml")
    return {
        (mutant.rule, mutant.dropped)
        for mutant in mutants(loaded.ruleset)
        if not run_tests(loaded.tests, mutant.ruleset, now=T0).failures
    }


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
