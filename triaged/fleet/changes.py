"""What a newly loaded fleet changes; pure, so that it can be tested as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass

from triaged.fleet.workspace import FleetWorkspace, LoadedFleet


@dataclass(frozen=True, slots=True)
class FleetChanges:
    """The workspaces to start, those to run with other settings, and those to stop."""

    added: tuple[FleetWorkspace, ...] = ()
    changed: tuple[FleetWorkspace, ...] = ()
    removed: tuple[FleetWorkspace, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def keep_last_good(
    in_force: Mapping[str, FleetWorkspace], loaded: LoadedFleet
) -> dict[str, FleetWorkspace]:
    """Return the workspaces by name that are to be in force now.

    One that a rejection may concern stays as it was, unless its key is another
    workspace's now: two workspaces never share a key.
    """
    after = {workspace.name: workspace for workspace in loaded.workspaces}
    keys = {workspace.key_hash for workspace in loaded.workspaces}
    for name, workspace in in_force.items():
        is_taken = name in after or workspace.key_hash in keys
        if not is_taken and any(r.may_concern(workspace) for r in loaded.rejections):
            after[name] = workspace
    return after


def changes_between(
    before: Mapping[str, FleetWorkspace], after: Mapping[str, FleetWorkspace]
) -> FleetChanges:
    """Compare the workspaces in force before and after."""
    return FleetChanges(
        added=tuple(w for name, w in after.items() if name not in before),
        changed=tuple(
            w for name, w in after.items() if name in before and before[name] != w
        ),
        removed=tuple(w for name, w in before.items() if name not in after),
    )
