"""The state of each workspace of a fleet in one word: a pure function."""

from dataclasses import dataclass
from enum import StrEnum


class WorkspaceState(StrEnum):
    """How a workspace is doing; the first ones need attention most.

    A closed set, used as a metric label.
    """

    UNUSABLE = "unusable"
    KEY_REFUSED = "key_refused"
    FAILING = "failing"
    BREAKER = "breaker"
    STOPPED = "stopped"
    PAUSED = "paused"
    WAITING = "waiting"
    STARTING = "starting"
    WORKING = "working"
    ELSEWHERE = "elsewhere"

    @property
    def needs_attention(self) -> bool:
        """Whether a person has to do something."""
        return self in _NEED_ATTENTION


_NEED_ATTENTION = frozenset(
    {
        WorkspaceState.UNUSABLE,
        WorkspaceState.KEY_REFUSED,
        WorkspaceState.FAILING,
        WorkspaceState.BREAKER,
        WorkspaceState.STOPPED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceFacts:
    """What the state depends on.

    ``is_served``: a daemon runs it; ``problem``: why its settings, key or rules cannot
    be used; ``has_run``: a cycle has ended since the start; ``is_waiting``: the day's
    quota is spent; ``is_elsewhere``: another daemon runs it now.
    """

    is_served: bool
    problem: str | None
    has_run: bool
    key_accepted: bool | None
    is_ready: bool
    is_waiting: bool
    is_paused: bool
    has_breaker: bool
    is_elsewhere: bool = False


def state_of(facts: WorkspaceFacts) -> WorkspaceState:
    """Return the most important state."""
    states = (
        (facts.problem is not None, WorkspaceState.UNUSABLE),
        (not facts.is_served, WorkspaceState.STOPPED),
        (facts.is_elsewhere, WorkspaceState.ELSEWHERE),
        (facts.key_accepted is False, WorkspaceState.KEY_REFUSED),
        (facts.has_breaker, WorkspaceState.BREAKER),
        (not facts.has_run, WorkspaceState.STARTING),
        (facts.is_waiting, WorkspaceState.WAITING),
        (not facts.is_ready, WorkspaceState.FAILING),
        (facts.is_paused, WorkspaceState.PAUSED),
    )
    held = (state for holds, state in states if holds)
    return next(held, WorkspaceState.WORKING)
