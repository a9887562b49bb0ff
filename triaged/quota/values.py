"""What goes into the quota's state machine and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, NamedTuple, TypeAlias

WindowName: TypeAlias = Literal["minute", "day"]


class Plan(NamedTuple):
    """What one LeadLex plan allows."""

    per_minute: int
    per_day: int


PLANS: Final[Mapping[str, Plan]] = {
    "starter": Plan(10, 100),
    "pro": Plan(50, 1_000),
    "org": Plan(200, 10_000),
}


class Purpose(StrEnum):
    """What a call is for; dismissals go before polls."""

    DISMISS = "dismiss"
    POLL = "poll"
    SETTLE = "settle"
    HAND = "hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerWord:
    """What one answer's headers say of the quota; None where they say nothing.

    ``limit``, ``remaining`` and ``reset`` describe the daily window
    (``X-RateLimit-*``); ``retry_after`` is absolute; ``date`` is the server's clock.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: datetime | None = None
    retry_after: datetime | None = None
    date: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSettings:
    """What is known beforehand; a limit of None is to be learned.

    ``minute_window`` is in seconds; ``reserve`` is the share of the daily quota that
    is left to people and other tools.
    """

    minute_limit: int | None = None
    minute_window: float = 60.0
    daily_limit: int | None = None
    reserve: float = 0.2

    @classmethod
    def for_plan(
        cls,
        plan: str | None,
        *,
        minute_limit: int | None = None,
        minute_window: float = 60.0,
        daily_limit: int | None = None,
        reserve: float = 0.2,
    ) -> "QuotaSettings":
        """Fill from a plan what is not given; no plan leaves it to be learned."""
        known = PLANS[plan] if plan is not None else None
        if known is not None and minute_limit is None:
            minute_limit, minute_window = known.per_minute, 60.0
        if known is not None and daily_limit is None:
            daily_limit = known.per_day
        return cls(
            minute_limit=minute_limit,
            minute_window=minute_window,
            daily_limit=daily_limit,
            reserve=reserve,
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """The calls that may leave at this moment, each under its ticket.

    With fewer than wanted, ``until`` says when to ask again and ``window`` which
    window is full; no window means that enough calls are in flight, so that it also
    pays to ask as soon as one of them is answered.
    """

    tickets: tuple[int, ...]
    until: float | None = None
    window: WindowName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaView:
    """The quota at one moment, for people and metrics; ``remaining`` has the reserve.

    ``plan_known`` says whether the minute's limit is given or learned, so that nothing
    is tried out any more.
    """

    daily_limit: int
    remaining: int
    reserved: int
    reset_at: float
    closed_until: float | None
    closed_window: WindowName | None
    minute_limit: int
    spent_today: int
    spent_by_others: int
    plan_known: bool
    poll_interval: float
