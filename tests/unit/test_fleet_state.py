"""The state of a workspace in one word: the most important one counts."""

import pytest

from triaged.triage.fleet_state import WorkspaceFacts, WorkspaceState, state_of

WELL = {
    "is_served": True,
    "problem": None,
    "has_run": True,
    "key_accepted": True,
    "is_ready": True,
    "is_waiting": False,
    "is_paused": False,
    "has_breaker": False,
}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "working"),
        ({"is_elsewhere": True, "is_paused": True}, "elsewhere"),
        ({"is_elsewhere": True, "problem": "bad rules"}, "unusable"),
        ({"is_paused": True}, "paused"),
        ({"is_waiting": True, "is_ready": False}, "waiting"),
        ({"is_ready": False, "is_paused": True}, "failing"),
        ({"has_run": False, "is_ready": False, "is_paused": True}, "starting"),
        ({"has_breaker": True, "is_ready": False, "is_paused": True}, "breaker"),
        ({"key_accepted": False, "has_breaker": True}, "key_refused"),
        ({"problem": "", "key_accepted": False}, "unusable"),
        ({"is_served": False, "key_accepted": False}, "stopped"),
        ({"is_served": False, "problem": "no key"}, "unusable"),
    ],
)
def test_the_most_important_state(changes: dict[str, object], state: str) -> None:
    """Whatever else holds, what a person has to look at first is told."""
    assert state_of(WorkspaceFacts(**{**WELL, **changes})) == state  # type: ignore[arg-type]


def test_what_needs_attention_comes_first() -> None:
    """The order of the states is the order of tables and page."""
    needed = [state.needs_attention for state in WorkspaceState]

    assert needed == sorted(needed, reverse=True)
    assert not WorkspaceState.PAUSED.needs_attention
