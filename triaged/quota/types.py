"""The inputs and outputs of the quota limiter."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, NamedTuple, TypeAlias

WindowName: TypeAlias = Literal["minute", "day"]
BlockReason: TypeAlias = Literal["minute", "day", "retry_after"]


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
    """What a call is for.

    Only dismissals are forecast for the rest of the day, and a poll needs a second call
    to dismiss what it finds. Reconciliation and manual calls need neither.
    """

    DISMISS = "dismiss"
    POLL = "poll"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitHeaders:
    """The rate-limit headers of one response; None for a header that is absent.

    ``limit``, ``remaining`` and ``reset`` are ``X-RateLimit-*``; ``retry_after`` is
    absolute; ``date`` is the server's time.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: datetime | None = None
    retry_after: datetime | None = None
    date: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSettings:
    """The configured limits; None means that the limit is to be measured.

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
        """Fill missing limits from a plan; without a plan they remain unknown."""
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
class Grant:
    """A permit for one call, or None.

    Without a permit, ``retry_at`` is when to try again and ``reason`` is what blocks
    the call. Both are None if too many calls are in flight: try again after the next
    response.
    """

    permit: int | None
    retry_at: float | None = None
    reason: BlockReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSnapshot:
    """The quota at one time; ``remaining`` includes the reserve.

    ``limit_known`` is False while an unknown minute limit still grows without a
    refusal.

    """

    daily_limit: int
    remaining: int
    reserved: int
    reset_at: float
    blocked_until: float | None
    blocked_by: BlockReason | None
    minute_limit: int
    used_today: int
    used_by_others: int
    limit_known: bool
    poll_interval: float
