"""Scripted faults: what fails, for which operation, and how often.

It only selects the fault for a call; ``api`` and ``fault_responses`` apply it.
"""

import difflib
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

LIST: Final = "list"
ANY: Final = "any"
OPERATIONS: Final = (LIST, "dismiss", "approve", ANY)
_SYNTAX: Final = "OPERATION:FAULT[:COUNT[@SKIP]] or OPERATION:FAULT:p=PROBABILITY"
_PARTS: Final = (2, 3)


class FaultKind(StrEnum):
    """The kind of a fault; ``DESCRIPTIONS`` has one line for each."""

    MINUTE_LIMIT = "429"
    DAY_LIMIT = "daily-429"
    ERROR_500 = "500"
    ERROR_502 = "502"
    ERROR_503 = "503"
    RETRY_AFTER = "503-retry-after"
    ERROR_AFTER_EFFECT = "500-after-effect"
    DROP_BEFORE_EFFECT = "drop-before-effect"
    DROP_AFTER_EFFECT = "drop-after-effect"
    SLOW = "slow"
    DELAY_AFTER_EFFECT = "delay-after-effect"
    HTML = "html"
    TRUNCATED = "truncated"
    BAD_SCHEMA = "bad-schema"
    REDIRECT = "redirect"
    HUGE = "huge"
    KEY_REJECTED = "401"
    FORBIDDEN = "403"
    HTML_404 = "html-404"
    NOT_PENDING = "not-pending"
    REJECTED = "422"
    NO_FILTER = "no-filter"
    PAGED = "paged"
    NULL_TASKS = "null-tasks"
    PARTIAL_ERROR = "partial-error"
    AGE = "age"


DESCRIPTIONS: Final[dict[FaultKind, str]] = {
    FaultKind.MINUTE_LIMIT: "429 as if the minute's limit were reached",
    FaultKind.DAY_LIMIT: "429 as if the day's limit were reached",
    FaultKind.ERROR_500: "500 from the API",
    FaultKind.ERROR_502: "502 with an HTML page, from a proxy",
    FaultKind.ERROR_503: "503 from the platform",
    FaultKind.RETRY_AFTER: "503 with Retry-After (=SECONDS, else 120)",
    FaultKind.ERROR_AFTER_EFFECT: "500, although the task has changed",
    FaultKind.DROP_BEFORE_EFFECT: "connection dropped, nothing has changed",
    FaultKind.DROP_AFTER_EFFECT: "connection dropped after the task has changed",
    FaultKind.SLOW: "a delay before the task changes (=SECONDS, else 45)",
    FaultKind.DELAY_AFTER_EFFECT: "a delay afterwards (=SECONDS, else 45)",
    FaultKind.HTML: "200 with an HTML page",
    FaultKind.TRUNCATED: "half of the response, then the connection is dropped",
    FaultKind.BAD_SCHEMA: "200 with JSON of another schema; the task has changed",
    FaultKind.REDIRECT: "307 to another server",
    FaultKind.HUGE: "a response without end",
    FaultKind.KEY_REJECTED: "401: the key is not accepted",
    FaultKind.FORBIDDEN: "403: the key lacks a permission",
    FaultKind.HTML_404: "404 with an HTML page",
    FaultKind.NOT_PENDING: "400: the task is no longer pending",
    FaultKind.REJECTED: "422: the request is rejected",
    FaultKind.NO_FILTER: "lists only: the status filter is ignored",
    FaultKind.PAGED: "lists only: one page (=TASKS, else 20), meta.total and Link",
    FaultKind.NULL_TASKS: "lists only: null in place of the tasks",
    FaultKind.PARTIAL_ERROR: "an error beside the data",
    FaultKind.AGE: "an Age header, as a cache sends (=SECONDS, else 600)",
}

# The task changes although the response is faulty.
KINDS_WITH_EFFECT: Final = frozenset(
    {
        FaultKind.ERROR_AFTER_EFFECT,
        FaultKind.DROP_AFTER_EFFECT,
        FaultKind.SLOW,
        FaultKind.DELAY_AFTER_EFFECT,
        FaultKind.TRUNCATED,
        FaultKind.BAD_SCHEMA,
        FaultKind.PARTIAL_ERROR,
        FaultKind.AGE,
    }
)
LIST_KINDS: Final = frozenset(
    {FaultKind.NO_FILTER, FaultKind.PAGED, FaultKind.NULL_TASKS}
)
# Responses with a success status but misleading content.
MISLEADING_KINDS: Final = LIST_KINDS | {FaultKind.PARTIAL_ERROR, FaultKind.AGE}
DEFAULT_VALUES: Final[dict[FaultKind, float]] = {
    FaultKind.SLOW: 45.0,
    FaultKind.DELAY_AFTER_EFFECT: 45.0,
    FaultKind.RETRY_AFTER: 120.0,
    FaultKind.PAGED: 20.0,
    FaultKind.AGE: 600.0,
}
_MAX_VALUE: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One line of the script.

    After ``skip`` matching calls it affects the next ``count`` of them, or, with a
    probability, each one at random until it is removed. ``value`` is the number of
    seconds or tasks for kinds that take one.
    """

    operation: str
    kind: FaultKind
    count: int = 1
    skip: int = 0
    probability: float | None = None
    value: float | None = None

    @property
    def amount(self) -> float:
        return DEFAULT_VALUES[self.kind] if self.value is None else self.value

    def matches(self, operation: str) -> bool:
        if self.kind in LIST_KINDS and operation != LIST:
            return False
        return self.operation in {operation, ANY}

    def __str__(self) -> str:
        """Format as ``parse_fault`` reads it."""
        kind = str(self.kind) if self.value is None else f"{self.kind}={self.value:g}"
        frequency = f"{self.count}@{self.skip}" if self.skip else f"{self.count}"
        if self.probability is not None:
            frequency = f"p={self.probability:g}"
        return f"{self.operation}:{kind}:{frequency}"


def parse_fault(text: str) -> Fault:
    """Parse ``OPERATION:FAULT[:COUNT[@SKIP]]`` or ``OPERATION:FAULT:p=PROBABILITY``.

    Some faults take a value: ``list:slow=5``, ``list:paged=10``.

    Raises:
        ValueError: it has another form; the message gives the expected one.
    """
    parts = text.strip().split(":")
    if len(parts) not in _PARTS:
        raise ValueError(f"fault {text!r}: expected {_SYNTAX}")
    operation = _known("operation", parts[0], OPERATIONS)
    name, has_value, value = parts[1].partition("=")
    kind = FaultKind(_known("fault", name, tuple(FaultKind)))
    if has_value and kind not in DEFAULT_VALUES:
        takers = ", ".join(DEFAULT_VALUES)
        raise ValueError(f"fault {text!r}: only these take a value: {takers}")
    if kind in LIST_KINDS and operation not in {LIST, ANY}:
        raise ValueError(f"fault {text!r}: {kind} is for lists")
    frequency = parts[2] if len(parts) > _PARTS[0] else "1"
    count, skip, probability = _parse_frequency(frequency)
    return Fault(
        operation=operation,
        kind=kind,
        count=count,
        skip=skip,
        probability=probability,
        value=_number("value", value, most=_MAX_VALUE) if has_value else None,
    )


class FaultScript:
    """The active faults; queried once per call."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._active = list(faults)

    def add(self, fault: Fault) -> None:
        self._active.append(fault)

    def clear(self) -> None:
        self._active.clear()

    def active(self) -> list[Fault]:
        """Return the active faults, with their remaining counts."""
        return list(self._active)

    def next_fault(self, operation: str) -> Fault | None:
        """Return the first fault that matches this call and is due, or None."""
        for place, fault in enumerate(self._active):
            if not fault.matches(operation):
                continue
            if fault.probability is not None:
                if self._random.random() < fault.probability:
                    return fault
            elif fault.skip > 0:
                self._active[place] = replace(fault, skip=fault.skip - 1)
            else:
                self._active[place] = replace(fault, count=fault.count - 1)
                if fault.count <= 1:
                    del self._active[place]
                return fault
        return None


def _known(what: str, name: str, names: tuple[str, ...]) -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {str(near[0])!r}?" if near else ""
    listed = ", ".join(str(known) for known in names)
    raise ValueError(f"unknown {what} {name!r}{hint} (known: {listed})")


def _parse_frequency(text: str) -> tuple[int, int, float | None]:
    if text.startswith("p="):
        return 1, 0, _number("probability", text.removeprefix("p="), most=1)
    count, has_skip, skip = text.partition("@")
    calls = _integer("count", count)
    if calls < 1:
        raise ValueError("a fault's count is at least 1")
    return calls, _integer("skip", skip) if has_skip else 0, None


def _integer(what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < len("1000000000")):
        raise ValueError(f"a fault's {what} is an integer, not {text!r}")
    return int(text)


def _number(what: str, text: str, *, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise ValueError(f"a fault's {what} is from 0 to {most:g}, not {text!r}")
    return number
