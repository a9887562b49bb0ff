"""Every condition can be written, explained, said as a sentence and loosened."""

import json
from typing import Final, get_args

import pytest

from tests.builders import T0, a_task
from triaged.rules.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DescriptionIs,
    In,
    Leaf,
    ListFile,
    MetadataMatches,
    MetadataTest,
    Not,
    TextTest,
    TypeIn,
    Words,
    iter_leaves,
    with_lists,
)
from triaged.rules.context import build_context
from triaged.rules.describe import condition_to_json, rule_to_sentence
from triaged.rules.evaluate import evaluate
from triaged.rules.explain import describe_condition, explain_condition
from triaged.rules.rule import Rule, Ruleset
from triaged.rules.task import Task
from triaged.rulesfile.lint.mutation import mutants
from triaged.rulesfile.loader import parse

# A match for each condition and each test of a value, as the rules file writes it.
MATCHES: Final = (
    "{type: [prospect_search, contact_update]}",
    "{description: ['^TEST', '(?i)lorem']}",
    "{description: {words: [board, 'Miller & Sons']}}",
    "{description: {equals: 'x'}}",
    "{description: {blank: true}}",
    "{age: {over: 1d12h, under: 365d}}",
    "{created: {weekday: [sat, sun], hours: '18:00-08:00', timezone: Europe/Berlin}}",
    "{metadata: {limit: 20}}",
    "{metadata: {filters.country: {in: [DE, 1, true]}}}",
    "{metadata: {query: {regex: 'ceos?'}}}",
    "{metadata: {query: {words: [ceo]}}}",
    "{metadata: {query: {blank: false}}}",
    "{metadata: {limit: {over: 1000}}}",
    "{metadata: {limit: {under: 1.5}}}",
    "{metadata: {list_id: {missing: true}}}",
    "{duplicate: {of: [type, description], keep: newest}}",
    "{duplicate: {of: [description], ignore: [numbers, punctuation], similarity: 0.9}}",
    "{all: [{type: prospect_search}, {any: [{age: {over: 1d}}, {description: x}]}]}",
    "{type: prospect_search, not: {age: {over: 1d}}}",
)
TASKS: Final = (
    a_task(id="1", metadata={"limit": 20, "query": "ceo"}),
    a_task(id="2", description="TEST the board", metadata={"query": " "}),
    a_task(id="3", description=None, type=None, created_at=None, metadata=None),
)


def _rule(match: str) -> Rule:
    text = f"version: 1\nrules:\n- name: a\n  match: {match}\n  dismiss: testing\n"
    return parse(text.encode(), "rules.yaml").ruleset.rules[0]


LEAVES: Final = [leaf for text in MATCHES for leaf in iter_leaves(_rule(text).match)]


def test_every_condition_has_a_key() -> None:
    """A class without a key in the rules file is one that no rule can use."""
    tests = {
        type(leaf.test)
        for leaf in LEAVES
        if isinstance(leaf, MetadataMatches | DescriptionIs)
    }

    assert {type(leaf) for leaf in LEAVES} == set(get_args(Leaf))
    assert tests == set(get_args(MetadataTest)) | set(get_args(TextTest))


@pytest.mark.parametrize("text", MATCHES)
def test_the_canonical_form_is_a_match_again(text: str) -> None:
    """What is written of a rule reads back as the same rule."""
    form = condition_to_json(_rule(text).match)

    assert condition_to_json(_rule(json.dumps(form)).match) == form


@pytest.mark.parametrize("text", MATCHES)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task.id))
def test_explanations_answer_as_the_evaluator(text: str, task: Task) -> None:
    """Explained or not, a condition has the same result; and it says what it saw."""
    match: Condition = _rule(text).match
    context = build_context([match], TASKS, now=T0)

    result = explain_condition(match, task, context)

    assert result.result is evaluate(match, task, context)
    assert result.expected
    assert result.actual
    assert describe_condition(match)


@pytest.mark.parametrize("text", MATCHES)
def test_every_condition_can_be_loosened(text: str) -> None:
    """Each condition can be dropped, to see whether a test notices."""
    rule = _rule(text)

    found = list(mutants(Ruleset(rules=(rule,))))

    assert found
    assert all(mutant.loose != rule.match for mutant in found)
    assert all(mutant.dropped for mutant in found)


def _sentences() -> list[str]:
    joined = SENTENCES.strip().replace("\n  ", " ")
    return joined.splitlines()


SENTENCES: Final = """
Dismiss as testing a prospect_search or contact_update.
Dismiss as testing a task whose description matches /^TEST/ or /(?i)lorem/.
Dismiss as testing a task whose description contains "board" or "Miller & Sons".
Dismiss as testing a task whose description is "x".
Dismiss as testing a task whose description is blank.
Dismiss as testing a task older than 1 day and 12 hours but younger than 365
  days.
Dismiss as testing a task created on Saturday or Sunday from 18:00 until before
  08:00 by the clock of Europe/Berlin.
Dismiss as testing a task whose metadata.limit is 20.
Dismiss as testing a task whose metadata.filters.country is "DE", 1 or true.
Dismiss as testing a task whose metadata.query matches /ceos?/.
Dismiss as testing a task whose metadata.query contains "ceo".
Dismiss as testing a task whose metadata.query is not blank.
Dismiss as testing a task whose metadata.limit is over 1000.
Dismiss as testing a task whose metadata.limit is under 1.5.
Dismiss as testing a task whose metadata.list_id is missing.
Dismiss as testing a task that has the same type and description as a newer
  pending task.
Dismiss as testing a task that has the same description as an older pending task
  (descriptions at least 90% alike), not counting numbers and punctuation.
Dismiss as testing a prospect_search that is either one older than 1 day or one
  whose description matches /x/.
Dismiss as testing a prospect_search, except one older than 1 day.
"""


@pytest.mark.parametrize(
    ("text", "sentence"), list(zip(MATCHES, _sentences(), strict=True))
)
def test_every_condition_can_be_said(text: str, sentence: str) -> None:
    """A rule is an English sentence that needs no knowledge of the rules file."""
    assert rule_to_sentence(_rule(text)) == sentence


def test_a_list_is_exchanged_wherever_it_is_read() -> None:
    """Other entries take a file's place in every group; all else stays as it is."""
    file, entries = ListFile("clients.txt", "5ha", (1, 3)), ("acme", "globex")
    inline = ListFile("clients.txt", "", (1, 2))
    own_words = DescriptionIs(Words(("lorem",)))
    others = (TypeIn(("list_update",)), own_words, MetadataMatches("a", In((1,))))
    with_file = (
        DescriptionIs(Words(("old",), file)),
        MetadataMatches("client", Words(("old",), file)),
        MetadataMatches("client", In(("old",), file)),
    )
    with_entries = (
        DescriptionIs(Words(entries, inline)),
        MetadataMatches("client", Words(entries, inline)),
        MetadataMatches("client", In(entries, inline)),
    )

    def grouped(leaves: tuple[Leaf, ...]) -> Condition:
        groups = (AnyOf((*leaves, others[0])), Not(leaves[0]), Not(AllOf(leaves)))
        return AllOf((*groups, *others))

    assert with_lists(grouped(with_file), {file.id: entries}) == grouped(with_entries)
    assert with_lists(grouped(with_file), {inline.id: ()}) == grouped(with_file)
