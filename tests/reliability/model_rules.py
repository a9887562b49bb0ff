"""The rules files of the model: few words, and all that a rule can do about them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeAlias

Act: TypeAlias = Literal["enforce", "observe", "off", "leave"]

WORDS: Final = ("clutter", "stale", "import", "watch", "campaign")
COPIES: Final = "copies"  # not a word: all but the oldest of equal texts
PROTECTED: Final = "board"
REASONS: Final = {
    "clutter": "testing",
    "stale": "not_relevant",
    "import": "incorrect_params",
    "watch": "not_relevant",
    "campaign": "manual_execution",
    COPIES: "duplicate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """One rule: what it looks for, and what it does about it."""

    on: str
    act: Act = "enforce"
    hold_hours: int = 0
    cap: int | None = None

    @property
    def name(self) -> str:
        return f"on-{self.on}"

    @property
    def hold(self) -> timedelta:
        return timedelta(hours=self.hold_hours)

    def lines(self) -> Iterable[str]:
        """Write the rule as a rules file has it."""
        copies = "duplicate: {of: [description], keep: oldest}"
        word = rf"description: '\b{self.on}\b'"
        yield f"  - name: {self.name}"
        yield f"    match: {{{copies if self.on == COPIES else word}}}"
        if self.act == "leave":
            yield "    leave: true"
            return
        yield f"    dismiss: {REASONS[self.on]}"
        yield f"    mode: {'off' if self.act == 'off' else self.act}"
        if self.hold_hours:
            yield f"    hold: {self.hold_hours}h"
        if self.cap is not None:
            yield f"    max_per_day: {self.cap}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A rules file."""

    rules: tuple[RuleSpec, ...]
    per_cycle: int = 25
    per_day: int = 200
    share: str = "1.0"
    min_age_minutes: int = 10

    def text(self) -> str:
        """Write the rules file."""
        head = [
            "version: 1",
            "safety:",
            f"  max_dismissals_per_cycle: {self.per_cycle}",
            f"  max_dismissals_per_day: {self.per_day}",
            f"  max_share_of_pending: {self.share}",
            f"  min_age: {self.min_age_minutes}m",
            "protect:",
            rf"  - description: '\b{PROTECTED}\b'",
            "rules:",
        ]
        return "\n".join([*head, *(x for rule in self.rules for x in rule.lines())])
