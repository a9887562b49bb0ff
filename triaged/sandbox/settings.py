"""Settings of a sandbox."""

from dataclasses import dataclass
from typing import Final

from triaged.sandbox.faults import Fault
from triaged.sandbox.limits import DAY_SECONDS, MINUTE_SECONDS
from triaged.sandbox.people import PeopleSettings

DEFAULT_KEY: Final = "wbk_sandbox"

# Calls a minute and calls a day, as documented.
PLANS: Final = {
    "starter": (10, 100),
    "pro": (50, 1_000),
    "org": (200, 10_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """A workspace, its quota, and the faults of the service.

    ``minute_limit`` and ``day_limit`` of None are unlimited; windows and ``latency``
    are in seconds; ``settled_ratio`` is the number of tasks with a final status per
    pending task; ``key`` of None accepts any that starts with ``wbk_``;
    ``people`` settle tasks and let new ones arrive, or no one does (None);
    ``workspaces`` above 1 makes that many, each with tasks, quota and key of its own;
    ``lists_reason`` adds the reason to the listed dismissed tasks, which the documented
    API may not do.
    """

    seed: int = 1
    task_count: int = 60
    settled_ratio: float = 0.0
    minute_limit: int | None = PLANS["pro"][0]
    minute_window: float = MINUTE_SECONDS
    minute_phase: float = 0.0
    day_limit: int | None = PLANS["pro"][1]
    day_window: float = DAY_SECONDS
    day_phase: float = 0.0
    refused_count: bool = False
    retry_after: bool = False
    latency: float = 0.0
    faults: tuple[Fault, ...] = ()
    key: str | None = None
    row_cap: int | None = None
    list_order: str = "newest"
    lists_reason: bool = False
    people: PeopleSettings | None = None
    workspaces: int = 1

    def keys(self) -> list[str | None]:
        """Return the key of each workspace; one of several has no other."""
        if self.workspaces == 1:
            return [self.key]
        first = self.key or DEFAULT_KEY
        return [f"{first}_{number}" for number in range(1, self.workspaces + 1)]
