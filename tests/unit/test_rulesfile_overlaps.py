"""Rules that disagree on a task are named with it; who decides is the earlier one."""

from datetime import timedelta

import pytest
from hypothesis import given, settings

from tests.strategies import TYPES, rulesets
from triaged.rules.context import build_context
from triaged.rules.decide import decide
from triaged.rules.evaluate import evaluate
from triaged.rules.rule import Mode, Ruleset
from triaged.rulesfile.lint.overlaps import MAX_NAMED, Overlap, Overlaps, find_overlaps
from triaged.rulesfile.lint.sample_tasks import NOW
from triaged.rulesfile.loader import LoadedRules, parse


def overlaps(text: str) -> Overlaps:
    rules: LoadedRules = parse(f"version: 1\n{text}".encode(), "rules.yaml")
    return find_overlaps(rules.ruleset, rules.tests, rules.task_types)


def two(
    first: str, second: str, *, then: tuple[str, str] = ("testing", "duplicate")
) -> str:
    one, other = (
        f"dismiss: {word}" if word != "leave" else "leave: true" for word in then
    )
    return (
        f"rules:\n  - {{name: one, match: {first}, {one}}}\n"
        f"  - {{name: two, match: {second}, {other}}}\n"
    )


def pairs(text: str) -> list[tuple[str, str]]:
    return [(one.earlier, one.rule) for one in overlaps(text).found]


@pytest.mark.parametrize(
    ("first", "second", "then"),
    [
        ("{description: foo}", "{description: bar}", ("testing", "duplicate")),
        ("{description: foo}", "{type: campaign_start}", ("leave", "testing")),
        ("{age: {over: 2d}}", "{age: {under: 3d}}", ("testing", "leave")),
        (
            "{metadata: {limit: {over: 5}}}",
            "{metadata: {limit: {under: 7}}}",
            ("testing", "not_relevant"),
        ),
        (
            "{type: [campaign_start, contact_update], description: x}",
            "{type: [contact_update, list_operation], not: {description: yes!}}",
            ("testing", "duplicate"),
        ),
    ],
)
def test_rules_that_disagree_on_a_task_are_named(
    first: str, second: str, then: tuple[str, str]
) -> None:
    """Leave against dismiss, or two reasons: a task shows that both mean it."""
    assert pairs(two(first, second, then=then)) == [("one", "two")]


@pytest.mark.parametrize(
    ("first", "second", "then"),
    [
        ("{description: foo}", "{description: bar}", ("testing", "testing")),
        ("{description: foo}", "{description: bar}", ("leave", "leave")),
        ("{type: campaign_start}", "{type: contact_update}", ("leave", "testing")),
        ("{age: {over: 3d}}", "{age: {under: 3d}}", ("testing", "leave")),
        (
            "{description: foo}",
            "{type: campaign_start, not: {description: foo}}",
            ("testing", "duplicate"),
        ),
    ],
)
def test_rules_that_agree_or_are_apart_are_not(
    first: str, second: str, then: tuple[str, str]
) -> None:
    """The same effect, or no task in common: there is nothing to say."""
    assert pairs(two(first, second, then=then)) == []


@pytest.mark.parametrize(("first", "second"), [("off", "enforce"), ("enforce", "off")])
def test_a_rule_that_is_off_overlaps_with_none(first: str, second: str) -> None:
    """It says nothing, so there is nothing to disagree with."""
    text = two("{description: foo}", "{description: bar}")
    text = text.replace("name: one", f"name: one, mode: '{first}'")

    assert pairs(text.replace("name: two", f"name: two, mode: '{second}'")) == []


def test_who_only_observes_takes_no_task_away() -> None:
    """After an observing rule the others still run; an observing one may lose tasks."""
    text = two("{description: foo}", "{description: bar}")

    assert pairs(text.replace("name: one", "name: one, mode: observe")) == []
    assert pairs(text.replace("name: two", "name: two, mode: observe"))


def test_a_task_of_the_file_is_the_first_choice() -> None:
    """An example that its author knows says more than one that we made up."""
    tests = (
        "tests:\n  - name: both\n    task: {type: list_operation, description: bar foo}"
        "\n    expect: {decision: dismiss, rule: one}\n"
    )
    text = two("{description: foo}", "{description: bar}")

    (found,) = overlaps(text + tests).found

    assert str(found.example) == "{type: list_operation, description: bar foo}"


def test_protected_tasks_are_no_example() -> None:
    """Neither rule decides on them."""
    text = two("{description: foo}", "{description: bar}")

    assert pairs("protect: [{description: foo}]\n" + text) == []


def says_what_it_means(one: Overlap, ruleset: Ruleset) -> bool:
    earlier, later = ruleset.rule(one.earlier), ruleset.rule(one.rule)
    assert earlier is not None
    assert later is not None
    tasks = one.example.tasks()
    context = build_context(ruleset.conditions(), tasks, now=NOW)
    return (
        evaluate(earlier.match, tasks[0], context) is True
        and evaluate(later.match, tasks[0], context) is True
        and decide(ruleset, tasks, now=NOW)[0].rule == earlier.name
        and earlier.reason != later.reason
        and earlier.mode is Mode.ENFORCE
        and later.mode is not Mode.OFF
    )


@settings(max_examples=60, deadline=timedelta(seconds=5))
@given(rulesets())
def test_an_overlap_is_never_wrong(ruleset: Ruleset) -> None:
    """Both rules hold for the task, they disagree, and the earlier one decides."""
    found = find_overlaps(ruleset, (), TYPES).found

    assert all(says_what_it_means(one, ruleset) for one in found)


def test_the_work_is_bounded_and_says_so() -> None:
    """A thousand rules that all overlap: some are named, and that it is not all."""
    rules = "".join(
        f"  - {{name: r{n}, match: {{description: 'w{n} '}}, dismiss: {reason}}}\n"
        for n in range(1000)
        for reason in [("testing", "duplicate", "not_relevant")[n % 3]]
    )

    found = overlaps(f"rules:\n{rules}")

    assert found.cut
    assert len(found.found) == MAX_NAMED


def test_a_thousand_rules_apart_are_given_up_in_time() -> None:
    """Pairs that look alike but are apart cost most; the search is cut, and says so."""
    rules = "".join(
        f"  - {{name: r{n}, match: {{metadata: {{src: v{n}}}}}, dismiss: {reason}}}\n"
        for n in range(1000)
        for reason in [("testing", "duplicate")[n % 2]]
    )

    found = overlaps(f"rules:\n{rules}")

    assert found == Overlaps((), cut=True)


def test_each_rule_has_its_line() -> None:
    """A rule stands where it begins, whatever of it comes first."""
    text = (
        "version: 1\nprotect: [{description: x}]\nrules:\n"
        "  - match: {description: foo}\n    name: one\n    leave: true\n"
        "  - {name: two, match: {description: bar}, leave: true}\n"
    )

    assert parse(text.encode(), "rules.yaml").lines == {"one": 4, "two": 7}
