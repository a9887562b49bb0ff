"""When the next API call may leave: a state machine over times and answers, no clock.

All times are seconds since the epoch on the server's clock, as floats.
"""

from triaged.quota.machine import Quota
from triaged.quota.values import (
    PLANS,
    Admission,
    Purpose,
    QuotaSettings,
    QuotaView,
    ServerWord,
    WindowName,
)

__all__ = [
    "PLANS",
    "Admission",
    "Purpose",
    "Quota",
    "QuotaSettings",
    "QuotaView",
    "ServerWord",
    "WindowName",
]
