"""Scripted faults: what goes wrong, for which operation, and how often.

Decides only which fault a call meets; ``gateway`` makes it happen.
"""

import difflib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

OPERATIONS: Final = ("list", "dismiss", "approve", "any")
SLOW_SECONDS: Final = 45.0
_SYNTAX: Final = "OPERATION:FAULT[:COUNT[@SKIP]] or OPERATION:FAULT:p=PROBABILITY"
_PARTS: Final = (2, 3)


class FaultKind(StrEnum):
    """What goes wrong; ``KINDS_WITH_EFFECT`` says where the task changes all the same.

    ``429`` looks like the minute's limit, ``429-day`` like the day's.
    """

    MINUTE_LIMIT = "429"
    DAY_LIMIT = "429-day"
    ERROR_500 = "500"
    ERROR_502 = "502"
    ERROR_503 = "503"
    ERROR_AFTER = "5xx-after"
    CUT_BEFORE = "cut-before"
    CUT_AFTER = "cut-after"
    SLOW = "slow"
    SLOW_AFTER = "slow-after"
    HTML = "html"
    TRUNCATED = "truncated"
    WRONG_SHAPE = "wrong-shape"
    REDIRECT = "redirect"
    HUGE = "huge"
    KEY_REFUSED = "401"
    FORBIDDEN = "403"
    NOT_FOUND_HTML = "404-html"
    NOT_PENDING = "not-pending"


KINDS_WITH_EFFECT: Final = frozenset(
    {
        FaultKind.ERROR_AFTER,
        FaultKind.CUT_AFTER,
        FaultKind.SLOW,
        FaultKind.SLOW_AFTER,
        FaultKind.TRUNCATED,
        FaultKind.WRONG_SHAPE,
    }
)
_TIMED: Final = frozenset({FaultKind.SLOW, FaultKind.SLOW_AFTER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One line of the script.

    After ``skip`` matching calls it meets the next ``count`` of them, or, with a
    probability, each one by chance for as long as it stays.
    """

    operation: str
    kind: FaultKind
    count: int = 1
    skip: int = 0
    probability: float | None = None
    seconds: float = SLOW_SECONDS

    def __str__(self) -> str:
        """Render as ``parse_fault`` reads it."""
        kind = f"{self.kind}={self.seconds:g}" if self.kind in _TIMED else self.kind
        often = f"{self.count}@{self.skip}" if self.skip else f"{self.count}"
        if self.probability is not None:
            often = f"p={self.probability:g}"
        return f"{self.operation}:{kind}:{often}"


def parse_fault(text: str) -> Fault:
    """Read ``OPERATION:FAULT[:COUNT[@SKIP]]`` or ``OPERATION:FAULT:p=PROBABILITY``.

    A slow fault may say for how long: ``list:slow=5``.

    Raises:
        ValueError: it is not of that form; the message says what would be.
    """
    parts = text.strip().split(":")
    if len(parts) not in _PARTS:
        raise ValueError(f"fault {text!r}: expected {_SYNTAX}")
    operation = _known("operation", parts[0], OPERATIONS)
    name, has_seconds, seconds = parts[1].partition("=")
    kind = FaultKind(_known("fault", name, tuple(FaultKind)))
    if has_seconds and kind not in _TIMED:
        raise ValueError(f"fault {text!r}: only slow faults take seconds")
    count, skip, probability = _read_often(parts[2] if len(parts) > _PARTS[0] else "1")
    return Fault(
        operation=operation,
        kind=kind,
        count=count,
        skip=skip,
        probability=probability,
        seconds=_number("seconds", seconds, most=3600) if has_seconds else SLOW_SECONDS,
    )


class FaultScript:
    """The faults still to come, asked once a call."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._pending: list[_Pending] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Put one more fault at the end of the script."""
        self._pending.append(_Pending(fault, skip=fault.skip, count=fault.count))

    def clear(self) -> None:
        """Forget all faults."""
        self._pending.clear()

    def active(self) -> list[Fault]:
        """List what is still to come, with the counts that are left."""
        return [pending.rest() for pending in self._pending]

    def draw(self, operation: str) -> Fault | None:
        """Return the fault that this call meets: the first that matches and is due."""
        for pending in self._pending:
            if pending.fault.operation not in {operation, "any"}:
                continue
            if pending.is_due(self._random):
                self._pending = [each for each in self._pending if not each.is_over]
                return pending.fault
        return None


@dataclass(slots=True)
class _Pending:
    fault: Fault
    skip: int
    count: int

    @property
    def is_over(self) -> bool:
        return self.fault.probability is None and self.count <= 0

    def is_due(self, chance: random.Random) -> bool:
        if self.fault.probability is not None:
            return chance.random() < self.fault.probability
        if self.skip > 0:
            self.skip -= 1
            return False
        self.count -= 1
        return True

    def rest(self) -> Fault:
        return Fault(
            operation=self.fault.operation,
            kind=self.fault.kind,
            count=self.count,
            skip=self.skip,
            probability=self.fault.probability,
            seconds=self.fault.seconds,
        )


def _known(what: str, name: str, names: tuple[str, ...]) -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {str(near[0])!r}?" if near else ""
    listed = ", ".join(str(known) for known in names)
    raise ValueError(f"unknown {what} {name!r}{hint} (known: {listed})")


def _read_often(text: str) -> tuple[int, int, float | None]:
    if text.startswith("p="):
        return 1, 0, _number("probability", text.removeprefix("p="), most=1)
    count, has_skip, skip = text.partition("@")
    calls = _whole("count", count)
    if calls < 1:
        raise ValueError("a fault's count is at least 1")
    return calls, _whole("skip", skip) if has_skip else 0, None


def _whole(what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < len("1000000000")):
        raise ValueError(f"a fault's {what} is a whole number, not {text!r}")
    return int(text)


def _number(what: str, text: str, *, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise ValueError(f"a fault's {what} is from 0 to {most:g}, not {text!r}")
    return number
