"""The reason code of a proposed rule: what people gave, or a guess by its meaning."""

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from triaged.rules.conditions import (
    Blank,
    Condition,
    DescriptionIs,
    DuplicateOf,
    Equals,
    GreaterThan,
    LessThan,
    MetadataMatches,
    Missing,
    Regex,
    Words,
)
from triaged.rules.words import WordIndex
from triaged.triage.suggest.history import History, iter_rows
from triaged.triage.suggest.proposals import Parts, Proposal

# A code that people gave is taken from this many dismissals on, if it is the usual one.
_ENOUGH: Final = 3
_USUAL: Final = 0.5

_TESTING: Final = WordIndex(
    ("test", "tests", "testing", "lorem", "ipsum", "dummy", "sandbox", "demo", "asdf")
)


class Reason(NamedTuple):
    """A reason code, and where it comes from."""

    code: str
    source: str


def reason_for(proposal: Proposal, history: History) -> Reason:
    """Return the code that people gave for most of its tasks, or else a guess."""
    rows = proposal.rows & history.dismissed
    codes = Counter(
        code for row in iter_rows(rows) if (code := history.rows[row].reason)
    )
    total = codes.total()
    for code, count in codes.most_common(1):
        if count >= _ENOUGH and count >= _USUAL * total:
            return Reason(code, f"given by people for {count} of {total} of its tasks")
    return Reason(guess(proposal.parts), "a guess: change it if it is wrong")


def guess(parts: Parts) -> str:
    """Guess a code from the documented meanings of the codes."""
    if any(isinstance(part, DuplicateOf) for part in parts):
        return "duplicate"
    if any(_TESTING.find(text) is not None for p in parts for text in _texts(p)):
        return "testing"
    if any(map(_is_about_parameters, parts)):
        return "incorrect_params"
    return "not_relevant"


def _texts(part: Condition) -> Iterator[str]:
    match part:
        case DescriptionIs(Words(phrases)):
            yield from phrases
        case DescriptionIs(Regex(patterns)):
            yield from (p.source.replace("\\s", " ") for p in patterns)
        case MetadataMatches(_, Equals(str(value))):
            yield value
        case _:
            pass


def _is_about_parameters(part: Condition) -> bool:
    match part:
        case MetadataMatches(_, GreaterThan() | LessThan() | Blank(expected=True)):
            return True
        case MetadataMatches(_, Missing(expected=missing)):
            return missing
        case _:
            return False
