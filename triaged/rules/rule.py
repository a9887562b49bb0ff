"""Rules as values: the content of a loaded rules file, in the order of the file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from triaged.rules.conditions import Condition

# The audited share of a rule that acts by evidence, unless the rule says otherwise.
DEFAULT_AUDIT: Final = 0.05


class Mode(StrEnum):
    """Whether a rule dismisses, only observes, or is off."""

    ENFORCE = "enforce"
    OBSERVE = "observe"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """How many tasks people must settle, and agree on, before the rule may act."""

    agreement: float
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: a match, and what to do with the tasks that match.

    ``reason`` is the reason code to dismiss with, or None for a leave rule; ``audit``
    is the share (0 to 1) of its matches that is left to people, or None if the rule
    does not say.
    """

    name: str
    match: Condition
    reason: str | None
    mode: Mode = Mode.ENFORCE
    hold: timedelta = timedelta(0)
    max_per_day: int | None = None
    promote: Promotion | None = None
    audit: float | None = None
    note: str = ""

    @property
    def audited_share(self) -> float:
        """The share (0 to 1) of its matches that is left to people once it acts."""
        if self.audit is not None:
            return self.audit
        return 0.0 if self.promote is None else DEFAULT_AUDIT


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyLimits:
    """Safety limits, on by default; they can be changed but not disabled."""

    max_dismissals_per_cycle: int = 25
    max_dismissals_per_day: int = 200
    max_share_of_pending: float = 0.5
    min_age: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """The rules, protect matches and safety limits of a file, and its SHA-256."""

    rules: tuple[Rule, ...] = ()
    protect: tuple[Condition, ...] = ()
    safety: SafetyLimits = field(default_factory=SafetyLimits)
    sha256: str = ""

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)

    def conditions(self) -> Iterator[Condition]:
        """Yield every condition that may be evaluated: protect matches, then rules."""
        yield from self.protect
        yield from (rule.match for rule in self.rules)
