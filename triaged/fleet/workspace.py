"""The workspaces of a fleet as values: the settings of each, and what has changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from triaged.errors import Problem, Severity
from triaged.leadlex.api_key import KeySource
from triaged.quota import QuotaSettings
from triaged.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetWorkspace:
    """One workspace as its file and the defaults there describe it.

    A setting that is None is taken from the environment. ``rate_limit`` is calls and
    the seconds that they are for. ``key_name`` is the source of the key, ``key_hash``
    identifies its value. Workspaces are equal if their settings are, wherever they
    stand in the files and whatever value the key has now.
    """

    name: str
    rules: tuple[Path, ...]
    key_name: str
    key: KeySource = field(compare=False)
    key_hash: str = field(compare=False, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    api_url: str | None = None
    api_plan: str | None = None
    daily_limit: int | None = None
    rate_limit: tuple[int, float] | None = None
    poll_interval: timedelta | None = None
    reserve: float | None = None
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """What cannot be used, and why; everything else of the fleet can.

    It is the workspace ``name`` of ``file``; without a name, any workspace of the file
    may be meant, and without a file, any of the fleet. ``labels`` are None if they
    cannot be told.
    """

    file: str | None
    name: str | None
    problems: tuple[Problem, ...]
    labels: Mapping[str, str] | None = field(default=None, hash=False)

    def may_concern(self, workspace: FleetWorkspace) -> bool:
        if self.name is not None:
            return self.name == workspace.name
        return self.file is None or self.file == workspace.file


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFleet:
    """The workspaces that can be used, and what was rejected, in the order of files.

    ``fingerprint`` changes with the content of the fleet files. ``rules`` are the rules
    files that are used together, each combination once, also those of rejected
    workspaces. ``awaited`` are the other files that rejected workspaces need: they may
    be usable once one changes.
    """

    workspaces: tuple[FleetWorkspace, ...]
    rejections: tuple[Rejection, ...]
    warnings: tuple[Problem, ...]
    fingerprint: str
    rules: tuple[tuple[Path, ...], ...] = ()
    awaited: tuple[Path, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, each once: errors in the order of the files, then warnings."""
        errors = (p for rejection in self.rejections for p in rejection.problems)
        return tuple(dict.fromkeys((*errors, *self.warnings)))

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems for which something was rejected, each once."""
        return tuple(p for p in self.problems if p.severity is Severity.ERROR)


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


def settings_of(workspace: FleetWorkspace, base: Settings) -> Settings:
    """Return the settings of one workspace, from ``base`` where its files set none."""
    return replace(
        base,
        workspace=workspace.name,
        key=workspace.key,
        rules=workspace.rules,
        fleet=None,
        is_of_fleet=True,
        labels=workspace.labels,
        page_url=base.page_url and f"{base.page_url}/workspaces/{workspace.name}",
        api_url=base.api_url if workspace.api_url is None else workspace.api_url,
        poll_interval=(
            base.poll_interval
            if workspace.poll_interval is None
            else workspace.poll_interval
        ),
        quota=_quota(workspace, base.quota),
    )


def _quota(workspace: FleetWorkspace, base: QuotaSettings) -> QuotaSettings:
    """Return the limits; a plan in the file replaces all limits of the environment."""
    reserve = base.reserve if workspace.reserve is None else workspace.reserve
    limit, window = workspace.rate_limit or (None, base.minute_window)
    if workspace.api_plan is not None:
        return QuotaSettings.for_plan(
            workspace.api_plan,
            minute_limit=limit,
            minute_window=window,
            daily_limit=workspace.daily_limit,
            reserve=reserve,
        )
    return QuotaSettings(
        minute_limit=base.minute_limit if limit is None else limit,
        minute_window=window,
        daily_limit=(
            base.daily_limit if workspace.daily_limit is None else workspace.daily_limit
        ),
        reserve=reserve,
    )
