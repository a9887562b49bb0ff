"""Hypothesis strategies for tasks, conditions and rulesets.

The values are few on purpose: what rules ask for must meet what tasks have.
"""

from datetime import time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tests.builders import T0
from triaged.rules.conditions import (
    AgeBetween,
    AllOf,
    AnyOf,
    Blank,
    Condition,
    CreatedAt,
    DescriptionIs,
    DuplicateOf,
    Equals,
    GreaterThan,
    Hours,
    Ignore,
    In,
    Keep,
    LessThan,
    MetadataMatches,
    MetadataTest,
    Missing,
    Not,
    Regex,
    TypeIn,
    Weekday,
    Words,
)
from triaged.rules.patterns.re2_pattern import Re2Pattern, compile_pattern
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import Json, Task, parse_task

TYPES: Final = ("prospect_search", "campaign_start", "house_cleaning")
PATHS: Final = ("limit", "source", "filters.country", "filters")
_PATTERNS: Final = tuple(
    compile_pattern(source)
    for source in ("(?i)test", r"^board\b", "ceos?", "a.*b", r"\d{2}", "\u00e9", "x$")
)
_WORDS: Final = ("TEST", "test", "board", "CEO", "ceos", "a", "b", "42", "\u00e9", "x")
_SCALARS: Final[tuple[Json, ...]] = (
    *(20, 20.0, 21, 0, True, False, "api", "test", "20"),
    *(" ", "\u00e9", float("inf")),
)
_PHRASES: Final = ("test", "BOARD", "ceo ceos", "b x", "42", "e\u0301", "a")
_ZONES: Final = ("UTC", "Europe/Berlin", "Pacific/Kiritimati")

_moments = st.one_of(
    st.sampled_from((-1, 0, 1, 2, 7, 30)).map(
        lambda days: (T0 - timedelta(days=days)).isoformat()
    ),
    st.just((T0 - timedelta(days=3)).replace(tzinfo=None).isoformat()),
    st.sampled_from(("yesterday", "", 20)),
)
_texts = st.lists(st.sampled_from(_WORDS), max_size=4).map(" ".join)
_scalars = st.sampled_from(_SCALARS)
_values: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    _scalars,
    st.lists(_scalars, max_size=2),
    st.fixed_dictionaries({}, optional={"country": st.none() | _scalars}),
)
_metadata = st.dictionaries(st.sampled_from(("limit", "source", "filters")), _values)


def entries() -> st.SearchStrategy[dict[str, Json]]:
    """Give entries of a list answer: most can be judged, any field may be odd."""
    rarely_odd = st.sampled_from(("pending",) * 8 + ("approved", None, 3))
    always: dict[str, st.SearchStrategy[Json]] = {
        "id": st.sampled_from(("1", "2", "3", "4", "", None)),
        "status": rarely_odd,
    }
    sometimes: dict[str, st.SearchStrategy[Json]] = {
        "type": st.sampled_from((*TYPES, "unheard_of", None, 7)),
        "description": st.one_of(_texts, st.none(), st.just(["a"])),
        "created_at": st.one_of(_moments, st.none()),
        "metadata": st.one_of(_metadata, st.none(), st.just("none")),
    }
    return st.fixed_dictionaries(always, optional=sometimes)


def listings() -> st.SearchStrategy[list[Task]]:
    """Give lists of tasks, in which an id may be missing or come up again."""

    def told_apart(listed: list[dict[str, Json]]) -> list[Task]:
        # Two in three get an id of their own: repeated ones are all malformed.
        return [
            parse_task(entry | {"id": f"own-{number}"} if number % 3 else entry)
            for number, entry in enumerate(listed)
        ]

    return st.lists(entries(), max_size=8).map(told_apart)


def tasks() -> st.SearchStrategy[Task]:
    """Give tasks."""
    return entries().map(parse_task)


def patterns() -> st.SearchStrategy[tuple[Re2Pattern, ...]]:
    """Give one to three patterns."""
    some = st.lists(st.sampled_from(_PATTERNS), min_size=1, max_size=3)
    return some.map(tuple)


def value_tests(*, missing: bool = True) -> st.SearchStrategy[MetadataTest]:
    """Give tests on a metadata value."""
    bounds = st.sampled_from((0, 19.5, 20, 20.0, 21))
    plain: st.SearchStrategy[MetadataTest] = st.one_of(
        st.builds(Equals, _values.filter(lambda value: value is not None)),
        st.builds(In, st.lists(_scalars, min_size=1, max_size=3).map(tuple)),
        st.builds(Regex, patterns()),
        st.builds(GreaterThan, bounds),
        st.builds(LessThan, bounds),
        text_tests(),
    )
    return plain | st.builds(Missing, st.booleans()) if missing else plain


def text_tests() -> st.SearchStrategy[Words | Blank]:
    """Give tests on a text."""
    phrases = st.lists(st.sampled_from(_PHRASES), min_size=1, max_size=3).map(tuple)
    return st.builds(Words, phrases) | st.builds(Blank, st.booleans())


def created() -> st.SearchStrategy[CreatedAt]:
    """Give conditions on the local time of creation."""
    days = st.lists(st.sampled_from(Weekday), max_size=3, unique=True).map(tuple)
    times = st.sampled_from((time(0), time(8), time(18, 30)))
    hours = st.none() | st.builds(Hours, times, times)
    return st.tuples(st.sampled_from(_ZONES), days, hours).map(
        lambda drawn: CreatedAt(ZoneInfo(drawn[0]), *drawn)
    )


def duplicates_of() -> st.SearchStrategy[DuplicateOf]:
    """Give conditions on other tasks."""
    fields = st.sampled_from(("type", "description", "metadata.source"))
    of = st.lists(fields, min_size=1, max_size=2, unique=True).map(tuple)
    exact = st.builds(DuplicateOf, of, st.sampled_from(Keep))
    ignore = st.lists(st.sampled_from(Ignore), max_size=2, unique=True).map(tuple)
    similar = st.builds(
        DuplicateOf,
        st.just(("type", "description")),
        st.sampled_from(Keep),
        ignore,
        st.none() | st.sampled_from((0.7, 0.9, 1.0)),
    )
    return exact | similar


def conditions(
    *, missing: bool = True, duplicates: bool = True
) -> st.SearchStrategy[Condition]:
    """Give conditions, nested a few levels."""
    days = st.none() | st.sampled_from((0, 1, 7)).map(lambda n: timedelta(days=n))
    kinds = st.lists(st.sampled_from(TYPES), min_size=1, max_size=2).map(tuple)
    leaves: st.SearchStrategy[Condition] = st.one_of(
        st.builds(TypeIn, kinds),
        st.builds(DescriptionIs, st.builds(Regex, patterns())),
        st.builds(DescriptionIs, text_tests()),
        st.builds(AgeBetween, days, days),
        created(),
        st.builds(
            MetadataMatches, st.sampled_from(PATHS), value_tests(missing=missing)
        ),
    )
    if duplicates:
        leaves |= duplicates_of()
    return st.recursive(leaves, _combinations, max_leaves=6)


def _combinations(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    some = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return st.builds(AllOf, some) | st.builds(AnyOf, some) | st.builds(Not, parts)


def rulesets(
    *, missing: bool = True, duplicates: bool = True
) -> st.SearchStrategy[Ruleset]:
    """Give rulesets of every mode and kind of rule, mostly enforced."""
    wanted = conditions(missing=missing, duplicates=duplicates)
    reasons = st.sampled_from(("testing", "duplicate", "not_relevant", None))
    modes = st.sampled_from((Mode.ENFORCE, Mode.ENFORCE, Mode.OBSERVE, Mode.OFF))
    rules = st.lists(st.tuples(wanted, reasons, modes), max_size=6).map(_named)
    protect = st.lists(wanted, max_size=2).map(tuple)
    return st.builds(Ruleset, rules=rules, protect=st.just(()) | protect)


def _named(drawn: list[tuple[Condition, str | None, Mode]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(name=f"rule-{number}", match=match, reason=reason, mode=mode)
        for number, (match, reason, mode) in enumerate(drawn)
    )
