"""Rules with one condition loosened: the tests in the file must notice each.

A condition that can be dropped while all tests stay green is one that nobody tested.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from triaged.engine.conditions import Aged, All, AnyOf, Condition, Not
from triaged.engine.explain import name_of
from triaged.engine.rules import Mode, Rule, Ruleset


@dataclass(frozen=True, slots=True)
class Mutant:
    """A ruleset in which one rule asks for less; ``dropped`` says for what."""

    rule: str
    dropped: str
    ruleset: Ruleset


def mutants(ruleset: Ruleset) -> Iterator[Mutant]:
    """Loosen each condition of each dismissing rule in turn."""
    for index, rule in enumerate(ruleset.rules):
        if rule.reason is None or rule.mode is Mode.OFF:
            continue
        for dropped, match in _looser(rule.match):
            rules = list(ruleset.rules)
            rules[index] = _with(rule, match)
            yield Mutant(rule.name, dropped, replace(ruleset, rules=tuple(rules)))


def _with(rule: Rule, match: Condition) -> Rule:
    return replace(rule, match=match)


def _looser(condition: Condition) -> Iterator[tuple[str, Condition]]:
    """Give every way to ask for one thing less, and what that thing is."""
    match condition:
        case All(parts):
            for index, part in enumerate(parts):
                rest = parts[:index] + parts[index + 1 :]
                yield name_of(part), All(rest)
                for dropped, looser in _looser(part):
                    if looser != All(()):
                        changed = (*parts[:index], looser, *parts[index + 1 :])
                        yield dropped, All(changed)
        case AnyOf(parts):
            for index, part in enumerate(parts):
                for dropped, looser in _looser(part):
                    changed = (*parts[:index], looser, *parts[index + 1 :])
                    yield dropped, AnyOf(changed)
        case Aged(over, under) if over is not None and under is not None:
            yield f"{name_of(condition)}: over", Aged(under=under)
            yield f"{name_of(condition)}: under", Aged(over=over)
        case Not():
            yield name_of(condition), All(())
        case _:
            yield name_of(condition), All(())
