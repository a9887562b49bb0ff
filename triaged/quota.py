"""When the next API call may leave: a state machine over times and answers, no clock.

All times are seconds since the epoch on the server's clock, as floats.
"""

from dataclasses import dataclass
from datetime import datetime


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
