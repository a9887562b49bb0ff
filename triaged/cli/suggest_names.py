"""What proposed rules are called: by their conditions, and by no name twice."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from triaged.rules.conditions import (
    AgeBetween,
    Condition,
    DescriptionIs,
    DuplicateOf,
    Equals,
    GreaterThan,
    LessThan,
    MetadataMatches,
    Missing,
    Regex,
    TypeIn,
    Words,
)
from triaged.rules.describe import test_to_json
from triaged.rules.rule import Mode, Rule
from triaged.triage.suggest.history import History
from triaged.triage.suggest.proposals import Parts, Proposal
from triaged.triage.suggest.reasons import Reason, reason_for

_MAX_NAME: Final = 50


@dataclass(frozen=True, slots=True)
class NamedProposal:
    """A proposal with the name and the reason code that it gets in the file."""

    name: str
    reason: Reason
    proposal: Proposal

    @property
    def rule(self) -> Rule:
        return Rule(
            name=self.name,
            match=self.proposal.match,
            reason=self.reason.code,
            mode=Mode.OBSERVE,
        )


def name_proposals(
    proposals: Iterable[Proposal],
    history: History,
    *,
    taken: Collection[str],
    reason: str | None,
) -> list[NamedProposal]:
    """Name the rules by their conditions; ``reason`` is a code that a person chose."""
    used = set(taken)
    named = []
    for proposal in proposals:
        name = free_name(_slug(proposal.parts), used)
        used.add(name)
        why = (
            Reason(reason, "chosen with --reason")
            if reason is not None
            else reason_for(proposal, history)
        )
        named.append(NamedProposal(name, why, proposal))
    return named


def _slug(parts: Parts) -> str:
    words = " ".join(filter(None, (name_of(part) for part in parts)))
    slug = "-".join(re.findall(r"[a-z0-9]+", words.lower()))
    return slug[:_MAX_NAME].strip("-") or "proposed"


def name_of(part: Condition) -> str:
    """Name a condition in a few words, for the name of a rule."""
    match part:
        case TypeIn(types):
            return " ".join(types)
        case DescriptionIs(Words(phrases)):
            return " ".join(phrases)
        case DescriptionIs(Regex(patterns)):
            plain = re.sub(r"\\s|\(\?:.*?\)", " ", patterns[0].source)
            return f"begins {plain}"
        case DescriptionIs():
            return "no description"
        case MetadataMatches(path, Equals(value)):
            return f"{path} {value}"
        case MetadataMatches(path, test):
            ((word, value),) = test_to_json(test).items()
            return f"{path} {word}" if value is True else f"{path} {word} {value}"
        case AgeBetween(over, _):
            return "old" if over is not None else "young"
        case DuplicateOf():
            return "duplicate"
        case _:
            return ""


def describe_near_miss(part: Condition) -> str:
    """Say what a task is that meets every condition of a rule but this one."""
    match part:
        case TypeIn():
            return "of another type"
        case DescriptionIs(Words(phrases)):
            return f"without the words {phrases[0]}"
        case DescriptionIs(Regex()):
            return "with another beginning"
        case DescriptionIs():
            return "with a description"
        case MetadataMatches(path, GreaterThan(bound)):
            return f"whose {path} is not over {bound}"
        case MetadataMatches(path, LessThan(bound)):
            return f"whose {path} is not under {bound}"
        case MetadataMatches(path, Missing(expected)):
            return f"{'with' if expected else 'without'} {path}"
        case MetadataMatches(path):
            return f"with another {path}"
        case AgeBetween(over, _):
            return "not as old" if over is not None else "older"
        case _:
            return "that is no duplicate"


def free_name(name: str, taken: Collection[str], form: str = "{}-{}") -> str:
    """Return a name, with a number where it is taken."""
    numbers = (form.format(name, number) for number in range(2, len(taken) + 3))
    return next(one for one in (name, *numbers) if one not in taken)
