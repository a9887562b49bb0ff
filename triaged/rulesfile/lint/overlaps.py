"""Which rules mean the same tasks but disagree on them: the order of the file decides.

That is legal, and often meant.  Named with a task, it can be seen whether it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from triaged.rules.conditions import AllOf, Condition, TypeIn
from triaged.rules.context import duplicate_conditions
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rulesfile.document import RuleTest
from triaged.rulesfile.lint.example import Example, decide_first, example_of, truth_in
from triaged.rulesfile.lint.example_search import Effort, examples
from triaged.rulesfile.lint.sample_tasks import NOW

# A file of a thousand rules has half a million pairs: this is about a second's work.
_EFFORT: Final = 1000
MAX_NAMED: Final = 100
_MAX_JUDGED: Final = 20_000
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Overlap:
    """A task that ``rule`` means as well, but ``earlier`` decides on.

    ``tested`` says that the file has it in a test, so its author knows.
    """

    rule: str
    earlier: str
    example: Example
    tested: bool


@dataclass(frozen=True, slots=True)
class Overlaps:
    """The overlaps that were found; ``cut`` when there was too much to look at."""

    found: tuple[Overlap, ...]
    cut: bool


def find_overlaps(
    ruleset: Ruleset, tests: Sequence[RuleTest], types: Sequence[str]
) -> Overlaps:
    """Find pairs of rules with different effects on a task that both mean."""
    tried = _Tried(ruleset, tests)
    found: list[Overlap] = []
    effort = Effort(_EFFORT)
    for earlier, later in _doubtful_pairs(ruleset.rules):
        if not effort.left or len(found) == MAX_NAMED:
            return Overlaps(tuple(found), cut=True)
        overlap = _overlap(earlier, later, tried, types, effort)
        if overlap is not None:
            found.append(overlap)
    return Overlaps(tuple(found), cut=False)


def _doubtful_pairs(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Give the pairs that disagree and are not about different types anyway."""
    earlier: list[tuple[Rule, frozenset[str] | None]] = []
    for rule in rules:
        if rule.mode is Mode.OFF:
            continue
        types = _types_of(rule.match)
        for other, others in earlier:
            apart = types is not None and others is not None and not types & others
            if other.reason != rule.reason and not apart:
                yield other, rule
        if rule.mode is Mode.ENFORCE:
            earlier.append((rule, types))


def _types_of(condition: Condition) -> frozenset[str] | None:
    """Return the types that a match cannot hold outside of; None for any."""
    if isinstance(condition, TypeIn):
        return frozenset(condition.types)
    if not isinstance(condition, AllOf):
        return None
    asked = [t for part in condition.parts if (t := _types_of(part)) is not None]
    return frozenset.intersection(*asked) if asked else None


class _Tried:
    """The tasks in the tests of the file, and which rules hold for which."""

    def __init__(self, ruleset: Ruleset, tests: Sequence[RuleTest]) -> None:
        self._ruleset = ruleset
        self._duplicates = duplicate_conditions(ruleset.conditions())
        made = (e for test in tests if (e := example_of(test)) is not None)
        most = _MAX_JUDGED // max(len(ruleset.rules), 1)
        self._examples = list(islice(made, most))
        self._held: dict[str, frozenset[int]] = {}

    def on_both(self, one: Rule, other: Rule) -> Iterator[Example]:
        """Give the tasks that both rules hold for."""
        for index in sorted(self._where(one) & self._where(other)):
            yield self._examples[index]

    def deciding_rule(self, example: Example) -> str | None:
        """Return the rule that decides on a task."""
        decision = decide_first(
            self._ruleset, example.tasks(), self._duplicates, now=NOW
        )
        return decision.rule

    def _where(self, rule: Rule) -> frozenset[int]:
        if rule.name not in self._held:
            self._held[rule.name] = frozenset(
                index
                for index, example in enumerate(self._examples)
                if truth_in(example, rule.match) is True
            )
        return self._held[rule.name]


def _overlap(
    earlier: Rule, later: Rule, tried: _Tried, types: Sequence[str], effort: Effort
) -> Overlap | None:
    """Find a task that the earlier rule decides on and the later would."""
    goals = [(earlier.match, True), (later.match, True)]
    made = islice(examples(goals, types, effort=effort), _TRIES)
    for tested, found in ((True, tried.on_both(earlier, later)), (False, made)):
        for example in found:
            if tried.deciding_rule(example) == earlier.name:
                return Overlap(later.name, earlier.name, example, tested)
    return None
