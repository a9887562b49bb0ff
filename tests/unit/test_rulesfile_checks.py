"""What is found wrong, or doubtful, in a rules file as a whole."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0, a_task
from triaged.errors import ConfigError, Severity
from triaged.rules.conditions import (
    AllOf,
    AnyOf,
    Condition,
    Equals,
    GreaterThan,
    In,
    LessThan,
    MetadataMatches,
    TypeIn,
)
from triaged.rules.context import build_context
from triaged.rules.evaluate import evaluate
from triaged.rules.rule import Mode, Rule
from triaged.rules.task import Json
from triaged.rulesfile.document import LocatedRule
from triaged.rulesfile.lint.unreachable import find_unreachable
from triaged.rulesfile.loader import LoadedRules, parse
from triaged.rulesfile.problems import Location

FOUR = "[prospect_search, campaign_start, contact_update, list_operation]"


def load_text(text: str) -> LoadedRules:
    return parse(f"version: 1\n{text}".encode(), "rules.yaml")


def a_rule(match: str, *, name: str = "one", then: str = "dismiss: testing") -> str:
    return f"  - {{name: {name}, match: {match}, {then}}}\n"


def problems(*rules: str, head: str = "") -> list[str]:
    try:
        load_text(f"{head}rules:\n{''.join(rules)}")
    except ConfigError as error:
        return [problem.message for problem in error.problems]
    return []


def warnings(text: str) -> list[str]:
    found = load_text(text).warnings
    assert all(warning.severity is Severity.WARNING for warning in found)
    assert all(warning.line and warning.column and warning.path for warning in found)
    return [warning.message for warning in found]


# --- a match-everything dismissal ---------------------------------------------------


@pytest.mark.parametrize(
    "match",
    [
        f"{{type: {FOUR}}}",
        "{description: '.'}",
        "{description: '.+'}",
        r"{description: '\S'}",
        r"{description: '\w'}",
        "{description: '(?i)[a-z]'}",
        "{description: '^.'}",
        "{age: {over: 1s}}",
        "{age: {over: 10m}}",
        "{age: {under: 36500d}}",
        "{not: {description: zzz}}",
        "{not: {metadata: {vip: {missing: false, equals: odd}}}}",
        f"{{any: [{{description: zzz}}, {{type: {FOUR}, age: {{over: 1s}}}}]}}",
        "{any: [{metadata: {x: {missing: true}}}, {not: {metadata: {x: zzz}}}]}",
    ],
)
@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_a_dismissal_of_everything_is_refused(match: str, mode: str) -> None:
    """Whatever way it is written, and even when it only looks."""
    (message,) = problems(a_rule(match, then=f"mode: {mode}, dismiss: testing"))

    assert "dismiss everything" in message


@pytest.mark.parametrize(
    "match",
    [
        "{age: {over: 14d}}",
        "{age: {under: 365d}}",
        "{type: [prospect_search, contact_update, list_operation]}",
        "{duplicate: {of: [type]}}",
        "{metadata: {x: {missing: true}}}",
        "{metadata: {x: {missing: false}}}",
        "{description: e-mail}",
        "{not: {description: LinkedIn}}",
    ],
)
def test_a_dismissal_of_much_is_not_refused(match: str) -> None:
    """Broad is the author's business; the breaker and the caps look after that."""
    assert problems(a_rule(match)) == []


def test_everything_depends_on_the_minimum_age() -> None:
    """What is younger never comes to a rule, so older than that is everything."""
    rule = a_rule("{age: {over: 14d}}")

    assert problems(rule, head="safety: {min_age: 2w}\n")
    assert not problems(rule, head="safety: {min_age: 13d}\n")


def test_everything_includes_the_files_own_types() -> None:
    """With a fifth type declared, the documented four are a choice."""
    assert not problems(a_rule(f"{{type: {FOUR}}}"), head="task_types: [audit]\n")


def test_leaving_everything_is_nobodys_harm() -> None:
    """A leave rule may hold for every task."""
    assert not problems(a_rule("{description: '.'}", then="leave: true"))


# --- unreachable rules --------------------------------------------------------------


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("{description: foo}", "{description: foo}"),
        ("{description: [foo, bar]}", "{description: bar}"),
        ("{type: [list_operation, campaign_start]}", "{type: campaign_start}"),
        ("{age: {over: 14d}}", "{age: {over: 14d, under: 20d}}"),
        ("{age: {under: 20d}}", "{age: {under: 19d}, description: x}"),
        ("{metadata: {num: {over: 5}}}", "{metadata: {num: {over: 5.5}}}"),
        ("{metadata: {num: {under: 5}}}", "{metadata: {num: {under: 5}, max: x}}"),
        ("{metadata: {num: {in: [1, 2]}}}", "{metadata: {num: 2.0}}"),
        ("{metadata: {num: {in: [1, 2]}}}", "{metadata: {num: {in: [2, 1]}}}"),
        ("{metadata: {num: {regex: [a, b]}}}", "{metadata: {num: {regex: a}}}"),
        (
            "{metadata: {num: {missing: true}}}",
            "{all: [{metadata: {num: {missing: true}}}]}",
        ),
        ("{duplicate: {of: [type]}}", "{duplicate: {of: [type]}, description: x}"),
        (
            "{description: {words: [Board, court]}}",
            "{description: {words: [COURT]}, type: campaign_start}",
        ),
        (
            "{metadata: {num: {words: [a, b]}}}",
            "{metadata: {num: {words: [b, a], missing: false}}}",
        ),
        (
            "{description: {blank: true}}",
            "{description: {blank: true}, age: {over: 1d}}",
        ),
        ("{any: [{description: a}, {description: b}]}", "{description: b}"),
        (
            "{all: [{description: a}, {age: {over: 1d}}]}",
            "{description: a, age: {over: 2d}}",
        ),
        (
            "{not: {description: LinkedIn}}",
            "{type: campaign_start, not: {description: LinkedIn}}",
        ),
    ],
)
def test_a_rule_within_an_earlier_one_is_refused(wide: str, narrow: str) -> None:
    """It could never act; the other way round it could."""
    (message,) = problems(a_rule(wide), a_rule(narrow, name="two"))

    assert message.startswith("rule two is unreachable: one in line 3 acts")


def test_an_unreachable_rule_is_shown_a_task() -> None:
    """It is one from the tests that both rules match, where there is one."""
    rules = a_rule("{description: foo}") + a_rule("{description: foo}", name="two")
    test = (
        "tests:\n  - name: one\n    expect: {decision: dismiss}\n"
        "    task: {type: contact_update, description: 'a foo: here', age: 3h}\n"
    )

    (without,) = problems(rules)
    (shown,) = problems(rules, test)

    assert "acts on all of its tasks before; put it" in without
    assert "{type: contact_update, description: 'a foo: here', age: 3h};" in shown


def test_a_rule_that_nothing_meets_has_no_example() -> None:
    """Where none is found, the message does without."""
    never = "{all: [{description: foo}, {not: {description: foo}}]}"

    (message,) = problems(a_rule(never), a_rule(never, name="two"))

    assert "acts on all of its tasks before; put it above" in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{description: bar}", "{description: [foo, bar]}"),
        ("{type: campaign_start}", "{type: [list_operation, campaign_start]}"),
        ("{age: {over: 14d, under: 20d}}", "{age: {over: 14d}}"),
        ("{age: {over: 14d}}", "{age: {under: 20d}}"),
        ("{metadata: {num: {over: 5}}}", "{metadata: {num: {over: 4}}}"),
        ("{metadata: {num: {over: 5}}}", "{metadata: {m: {over: 6}}}"),
        ("{metadata: {num: 1}}", "{metadata: {num: true}}"),
        ("{not: {metadata: {num: 1}}}", "{not: {metadata: {num: true}}}"),
        ("{metadata: {num: 1}}", "{metadata: {num: {over: 0}}}"),
        ("{description: a, age: {over: 1d}}", "{description: a}"),
        ("{any: [{description: a}, {description: b}]}", "{description: c}"),
    ],
)
def test_a_rule_beyond_an_earlier_one_is_not(first: str, second: str) -> None:
    """There may be tasks that come to it."""
    assert problems(a_rule(first), a_rule(second, name="two")) == []


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ("dismiss: testing", "dismiss: duplicate", True),
        ("leave: true", "dismiss: testing", True),
        ("leave: true", "leave: true", True),
        ("dismiss: testing", "leave: true", False),
        ("mode: observe, dismiss: testing", "dismiss: testing", False),
        ("mode: 'off', dismiss: testing", "dismiss: testing", False),
        ("dismiss: testing", "mode: observe, dismiss: testing", True),
        ("dismiss: testing", "mode: 'off', dismiss: testing", False),
        ("hold: 1h, dismiss: testing", "dismiss: testing", True),
    ],
)
def test_what_counts_is_who_acts_on_what(
    first: str,
    second: str,
    refused: bool,
) -> None:
    """A leave rule acts on unknown too; who only observes stops nobody."""
    match = "{metadata: {num: x}}"
    found = problems(a_rule(match, then=first), a_rule(match, name="two", then=second))

    assert bool(found) is refused


_VALUES: st.SearchStrategy[Json] = st.sampled_from([None, 0, 1, 2, True, "a", 1.5])
_LEAVES: st.SearchStrategy[Condition] = st.one_of(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2).map(
        lambda types: TypeIn(tuple(types))
    ),
    st.builds(
        MetadataMatches,
        st.sampled_from(["m", "n"]),
        st.one_of(
            st.builds(GreaterThan, st.sampled_from([0.0, 1.0])),
            st.builds(LessThan, st.sampled_from([1.0, 2.0])),
            st.builds(Equals, _VALUES.filter(lambda value: value is not None)),
            st.builds(
                In,
                st.lists(st.sampled_from([1, 2, "a"]), min_size=1).map(tuple),
            ),
        ),
    ),
)
_CONDITIONS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=4,
)


def placed(conditions: Sequence[Condition]) -> list[LocatedRule]:
    return [
        LocatedRule(
            Rule(name=str(i), match=condition, reason="testing", mode=Mode.ENFORCE),
            Location(i, 1),
            Location(i, 1),
        )
        for i, condition in enumerate(conditions)
    ]


@given(st.lists(_CONDITIONS, min_size=2, max_size=6), _VALUES, _VALUES)
def test_an_unreachable_rule_never_acts(
    conditions: list[Condition], m: Json, n: Json
) -> None:
    """Whatever the task: where the narrower one acts, the wider one acts too."""
    for narrower, wider in find_unreachable(placed(conditions)):
        for kind in ("a", "b", "c", None):
            task = a_task(type=kind, metadata={"m": m, "n": n})
            context = build_context([], [task], now=T0)
            inner = evaluate(narrower.rule.match, task, context)
            outer = evaluate(wider.rule.match, task, context)
            assert outer is True or inner is not True
            assert outer is not False or inner is False


@given(_CONDITIONS, st.lists(_CONDITIONS, max_size=4))
def test_a_rule_is_always_within_itself(
    condition: Condition, others: list[Condition]
) -> None:
    """However the rules are filed, the same match is found again."""
    found = {
        narrower.rule.name
        for narrower, _ in find_unreachable(placed([condition, *others, condition]))
    }

    assert str(len(others) + 1) in found


# --- warnings -----------------------------------------------------------------------

RULE = "rules:\n" + a_rule("{description: foo}")
HIT = "  - {name: hit, task: {description: foo}, expect: {decision: dismiss}}\n"
MISS = "  - {name: miss, task: {description: fo}, expect: {decision: leave}}\n"


def test_an_untested_rule_is_warned_of() -> None:
    """The warning says which tests are missing, and how to write them."""
    (message,) = warnings(RULE)

    assert message.startswith("rule one lacks a test")
    assert "expect: {decision: dismiss, rule: one}" in message
    assert "must be left" in message


def test_half_a_test_is_warned_of() -> None:
    """A hit without a near miss, or the other way round, is not enough."""
    (no_miss,) = warnings(f"{RULE}tests:\n{HIT}")
    (no_hit,) = warnings(f"{RULE}tests:\n{MISS}")

    assert "meant for" not in no_miss
    assert "must be left" in no_miss
    assert "meant for" in no_hit
    assert "must be left" not in no_hit


def test_a_tested_rule_is_not_warned_of() -> None:
    """One hit and one near miss are enough, whether the hit names the rule or not."""
    named = HIT.replace("decision: dismiss", "decision: dismiss, rule: one")

    assert warnings(f"{RULE}tests:\n{HIT}{MISS}") == []
    assert warnings(f"{RULE}tests:\n{named}{MISS}") == []


def test_a_hit_for_another_rule_is_none_for_this_one() -> None:
    """A test that does not name a rule counts for those whose match holds."""
    two = a_rule("{description: bar}", name="two")

    (message,) = warnings(f"{RULE}{two}tests:\n{HIT}{MISS}")

    assert message.startswith("rule two lacks")


def test_an_observing_rule_is_tested_by_what_it_observes() -> None:
    """It decides nothing, so its tests list it as observing."""
    rule = "rules:\n" + a_rule(
        "{description: foo}", then="mode: observe, dismiss: testing"
    )
    hit = (
        "  - {name: hit, task: {description: foo},"
        " expect: {decision: leave, observed: [one]}}\n"
    )

    assert "observed: [one]" in warnings(rule)[0]
    assert warnings(f"{rule}tests:\n{hit}{MISS}") == []


@pytest.mark.parametrize("then", ["leave: true", "mode: 'off', dismiss: testing"])
def test_a_rule_that_dismisses_nothing_needs_no_test(then: str) -> None:
    """Neither leaving nor being off can do harm."""
    assert warnings("rules:\n" + a_rule("{description: foo}", then=then)) == []


def test_a_test_with_a_moment_is_judged_by_its_ages() -> None:
    """A created_at in a test counts, with the test's moment or without one."""
    rule = "rules:\n" + a_rule("{age: {over: 14d}}")
    task = "task: {created_at: 2030-01-01T00:00:00Z}"
    later = (
        f"  - {{name: hit, now: 2030-02-01T00:00:00Z, {task},"
        " expect: {decision: dismiss}}\n"
    )
    young = f"  - {{name: miss, {task}, expect: {{decision: leave}}}}\n"

    assert warnings(f"{rule}tests:\n{later}{young}") == []


def test_a_type_nobody_declared_is_warned_of_in_tests() -> None:
    """Tests may use any type, but a misspelled one would make them worthless."""
    test = (
        "  - {name: other, task: {type: prospect_serach, description: fo},"
        " expect: {decision: leave}}\n"
    )

    (message,) = warnings(f"{RULE}tests:\n{HIT}{test}")

    assert "did you mean 'prospect_search'?" in message


@pytest.mark.parametrize(
    "match",
    [
        "{metadata: {vip: true}}",
        "{type: campaign_start, metadata: {vip: true}}",
        "{metadata: {budget: {over: 100}}}",
        "{not: {metadata: {vip: true}}}",
        "{duplicate: {of: [metadata.vip]}}",
        "{any: [{description: zzz}, {metadata: {vip: {in: [a]}}}]}",
    ],
)
@pytest.mark.parametrize("shield", [True, False])
def test_leaving_in_doubt_is_warned_of(match: str, shield: bool) -> None:
    """Every task without the key would be left, which is hardly what is meant."""
    rule = "rules:\n" + a_rule("{description: zzz}", name="last", then="leave: true")
    text = (
        f"protect: [{match}]\n{rule}"
        if shield
        else f"rules:\n{a_rule(match, then='leave: true')}"
    )

    (message,) = (
        m for m in warnings(text) if "lacks a test" not in m and "in this case" not in m
    )

    assert "cannot be judged by this" in message
    assert "{missing: false}" in message


@pytest.mark.parametrize(
    "match",
    [
        "{description: foo}",
        "{metadata: {vip: {missing: false}}}",
        "{metadata: {vip: {missing: false, equals: true}}}",
        "{all: [{metadata: {vip: {missing: false}}}, {metadata: {vip: true}}]}",
        "{any: [{metadata: {vip: {missing: true}}}, {metadata: {vip: true}}]}",
        "{all: [{metadata: {vip: {missing: false}}}, {not: {metadata: {vip: true}}}]}",
        "{all: [{metadata: {v: {missing: false}}}, {duplicate: {of: [metadata.v]}}]}",
    ],
)
def test_leaving_on_purpose_is_not(match: str) -> None:
    """What the warning says to write is not warned of."""
    text = f"protect: [{match}]\nrules:\n" + a_rule(match, then="leave: true")

    assert not [m for m in warnings(text) if "cannot be judged" in m]


# --- protection ---------------------------------------------------------------------

PROTECTED = (
    "  - {name: kept, task: {description: the Board},"
    " expect: {decision: leave, cause: protected}}\n"
)


@pytest.mark.parametrize(
    ("shield", "tests", "warned"),
    [
        ("{description: '(?i)board'}", PROTECTED, False),
        ("{description: '(?i)board'}", MISS, True),
        ("{description: '(?i)court'}", PROTECTED, True),
        (
            "{any: [{description: '(?i)court'}, {description: '(?i)board'}]}",
            PROTECTED,
            False,
        ),
        ("{type: campaign_start}", PROTECTED, False),
    ],
)
def test_untested_protection_is_warned_of(
    shield: str, tests: str, warned: bool
) -> None:
    """A test that expects protected must be about the entry, or in doubt of it."""
    found = warnings(f"protect: [{shield}]\n{RULE}tests:\n{HIT}{tests}")

    assert any("this protect entry lacks a test" in m for m in found) is warned


@pytest.mark.parametrize(
    ("shield", "word"),
    [
        ("{description: '\\bBoard\\b'}", "'Board'"),
        ("{metadata: {query: {regex: [x, ceo]}}}", "'ceo'"),
        ("{any: [{description: '(?i)court'}, {all: [{description: law}]}]}", "'law'"),
        ("{description: '(?i)board'}", None),
        ("{type: campaign_start}", None),
    ],
)
def test_protection_in_one_case_is_warned_of(shield: str, word: str | None) -> None:
    """A protected word is written in any case, so the pattern should find them all."""
    found = [m for m in warnings(f"protect: [{shield}]\n{RULE}") if "in this case" in m]

    assert len(found) == (word is not None)
    assert all(str(word) in message and "(?i)" in message for message in found)


# --- a rule that comes too late -----------------------------------------------------

LATE = a_rule("{type: campaign_start}", name="people", then="leave: true")
DISMISSED = (
    "  - {name: gone, task: {type: campaign_start, description: foo},"
    " expect: {decision: dismiss}}\n"
)


def test_a_rule_that_leaves_too_late_is_warned_of() -> None:
    """A test shows a task of it that a rule above it dismisses."""
    found = warnings(f"{RULE}{LATE}tests:\n{DISMISSED}{MISS}")

    (message,) = (m for m in found if "too late" in m)
    assert message == (
        "rule people comes too late for the task of test 'gone': one in line 3"
        " dismisses it first; put the rule that leaves above it, or exclude such tasks"
        " from its match"
    )


def test_a_rule_that_leaves_in_time_is_not() -> None:
    """Above the rule that dismisses, or for other tasks than those tested."""
    above = "rules:\n" + LATE + a_rule("{description: foo}")

    assert not [m for m in warnings(f"{RULE}{LATE}tests:\n{HIT}{MISS}") if "late" in m]
    assert not [m for m in warnings(f"{above}tests:\n{HIT}{MISS}") if "late" in m]


# --- metadata keys in two spellings -------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "warned"),
    [
        ("campaign_id", "campain_id", True),
        ("campaign_id", "campaignId", True),
        ("campaign_id", "campagin_id", True),
        ("source", "Source", True),
        ("filters.country", "filters.county", True),
        ("list_id", "lists_id", True),
        ("min_age", "max_age", False),
        ("phone1", "phone2", False),
        ("url_a", "url_b", False),
        ("lat", "lot", False),
        ("source", "target", False),
    ],
)
def test_two_spellings_of_a_key_are_warned_of(
    one: str, other: str, warned: bool
) -> None:
    """Keys that differ in one letter, in case or in a separator are hardly two keys."""
    rule = a_rule(f"{{metadata: {{{one}: x}}}}") + a_rule(
        f"{{metadata: {{{other}: z}}}}", name="two"
    )
    found = [m for m in warnings(f"rules:\n{rule}") if "is spelled" in m]

    assert bool(found) is warned
    assert all(f"'{other}' is spelled '{one}' in line 3" in m for m in found)


def test_a_key_of_a_test_counts_as_well() -> None:
    """A test with another spelling tests nothing."""
    rule = "rules:\n" + a_rule("{metadata: {filters.country: x}}")
    task = "{description: a, metadata: {filters: {county: x}}}"
    test = f"  - {{name: t, task: {task}, expect: {{decision: leave}}}}\n"

    assert any(
        "'filters.county' is spelled" in m for m in warnings(f"{rule}tests:\n{test}")
    )


# --- patterns -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "match",
    [
        "{description: '[TEST]'}",
        "{description: [x, '[TEST]']}",
        "{metadata: {query: {regex: '[TEST]'}}}",
        "{type: campaign_start, not: {any: [{description: '[TEST]'}]}}",
    ],
)
def test_a_doubtful_pattern_is_warned_of_where_it_stands(match: str) -> None:
    """It loads, and the warning says what was probably meant."""
    for text in (f"rules:\n{a_rule(match)}", f"protect: [{match}]\n{RULE}"):
        found = [m for m in warnings(text) if r"write \[TEST\]" in m]
        assert len(found) == 1


@pytest.mark.parametrize(
    "text",
    [
        *(r"\bboard\b", "test*", "(?i)board", "^board", "board$", "api|test", ".*"),
        *("/board/i", r"\d+", "[a-z]+", "x.*y", "*", '"Acme"', "Acme,"),
    ],
)
def test_a_text_that_looks_like_a_pattern_is_warned_of(text: str) -> None:
    """It would be compared as it stands, and so protect or dismiss nothing."""
    matches = [
        f"{{description: {{words: [plain, '{text}', x]}}}}",
        f"{{description: {{equals: '{text}'}}}}",
        f"{{metadata: {{source: '{text}'}}}}",
        f"{{metadata: {{source: {{in: [plain, '{text}']}}}}}}",
    ]
    if not any(map(str.isalnum, text)):
        del matches[0]  # words need a letter
    for match in matches:
        for rules in (f"rules:\n{a_rule(match)}", f"protect: [{match}]\n{RULE}"):
            found = [m for m in warnings(rules) if "part of the text" in m]
            found += [m for m in warnings(rules) if "looks like a pattern" in m]
            assert len(found) == 1


@pytest.mark.parametrize(
    "text",
    [
        *(
            r"ACME\bob",
            r"C:\dir",
            "C++",
            "Acme, Inc.",
            "50%",
            "/v1/",
            "...",
            "US$",
            "$5",
        ),
        *(
            "A | B",
            "1|2",
            "(draft)",
            "[TEST]",
            "O''Brien",
            '"x" and "y"',
            "x^2",
            ".NET",
        ),
    ],
)
def test_a_text_that_may_stand_in_a_task_is_not_warned_of(text: str) -> None:
    """Names, paths, prices and signs are ordinary texts."""
    match = f"{{description: {{equals: '{text}'}}}}"

    assert not [m for m in warnings(f"protect: [{match}]\n{RULE}") if "text" in m]


@pytest.mark.parametrize(
    ("mode", "agreement", "expected"),
    [
        ("observe", 0.9, None),
        ("enforce", 0.9, "acts already"),
        ("observe", 1, "never promoted"),
        ("observe", 0.4, "although most people may disagree"),
    ],
)
def test_a_promotion_that_cannot_be_meant_is_warned_of(
    mode: str, agreement: float, expected: str | None
) -> None:
    """One that has no effect, never comes, or comes against most people."""
    promote = f"promote: {{agreement: {agreement}, tasks: 9}}"
    rule = f"  - {{name: a, mode: {mode}, {promote}, match: {{description: ^TEST}},"
    found = warnings(f"rules:\n{rule} dismiss: testing}}\n")
    about = [message for message in found if "promot" in message]

    assert len(about) == (expected is not None)
    assert all(expected in message for message in about if expected)
