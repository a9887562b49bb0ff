"""When the next API call may be sent, from times and responses; it reads no clock."""

from triaged.quota.limiter import QuotaLimiter
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
