"""Decides when the next API call may be sent: a pure rate limiter without a clock."""

from typing import TYPE_CHECKING

from triaged.quota.types import (
    PLANS,
    BlockReason,
    Grant,
    Purpose,
    QuotaSettings,
    QuotaSnapshot,
    RateLimitHeaders,
    WindowName,
)

if TYPE_CHECKING:
    from triaged.quota.limiter import QuotaLimiter

__all__ = [
    "PLANS",
    "BlockReason",
    "Grant",
    "Purpose",
    "QuotaLimiter",
    "QuotaSettings",
    "QuotaSnapshot",
    "RateLimitHeaders",
    "WindowName",
]


def __getattr__(name: str) -> object:
    """Import the limiter on first access, because settings need the types only."""
    if name != "QuotaLimiter":
        raise AttributeError(name)
    from triaged.quota import limiter  # noqa: PLC0415 - see above

    return limiter.QuotaLimiter
