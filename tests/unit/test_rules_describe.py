"""The canonical form of a rule: equal for equal meaning, and for nothing else."""

from datetime import timedelta

import pytest

from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    Condition,
    Equals,
    GreaterThan,
    MetadataMatches,
    Not,
    TypeIn,
)
from triaged.rules.describe import (
    canonical_json,
    condition_to_json,
    rule_fingerprint,
    rule_to_json,
)
from triaged.rules.rule import Mode, Rule


def _rule(match: Condition, **more: object) -> Rule:
    return Rule(name="a", match=match, **{"reason": "testing", **more})  # type: ignore[arg-type]


def test_the_form_is_the_language_s() -> None:
    """A rule is written in the keys of the rules file."""
    rule = _rule(
        AllOf((TypeIn(("a",)), Not(AgeBetween(over=timedelta(days=14))))),
        hold=timedelta(hours=36),
    )

    assert rule_to_json(rule) == {
        "name": "a",
        "note": "",
        "mode": "enforce",
        "hold": "1d12h",
        "max_per_day": None,
        "promote": None,
        "audit": None,
        "match": {"all": [{"type": ["a"]}, {"not": {"age": {"over": "14d"}}}]},
        "dismiss": "testing",
    }


def test_fingerprint_is_the_same_in_every_version() -> None:
    """The ledger compares it with what another version wrote: it never changes."""
    rule = _rule(MetadataMatches("limit", GreaterThan(1000)))

    assert canonical_json(condition_to_json(rule.match)) == (
        '{"metadata":{"limit":{"over":1000}}}'
    )
    assert rule_fingerprint(rule) == (
        "42a1fc629ec64558137e0363ee8443fdf344960cf5a4c57f77fa93a66906b72b"
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (20, 20.0, True),
        (1, True, False),
        (0, False, False),
        ("20", 20, False),
        ([1, 2.0], [1.0, 2], True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (20.5, 20, False),
    ],
)
def test_fingerprints_tell_values_apart_as_conditions_do(
    one: object, other: object, same: bool
) -> None:
    """Numbers are compared by value, and a boolean is no number."""
    prints = [
        rule_fingerprint(_rule(MetadataMatches("k", Equals(value))))  # type: ignore[arg-type]
        for value in (one, other)
    ]

    assert (prints[0] == prints[1]) is same


def test_only_match_and_action_count() -> None:
    """A note, a mode or a cap changes nothing that a hold waits for."""
    match = TypeIn(("a",))
    plain = rule_fingerprint(_rule(match))

    assert rule_fingerprint(_rule(match, note="x", mode=Mode.OBSERVE)) == plain
    assert rule_fingerprint(_rule(match, reason="duplicate")) != plain
    assert rule_fingerprint(_rule(match, reason=None)) != plain
