"""Holds the workspaces of a fleet and watches its files; bad ones replace no good ones.

The content of rules files is not watched here, but by the ``RulesWatcher`` of each
workspace. Before a workspace is given other rules files, they must load once.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias

import structlog

from triaged.daemon.file_looks import REJECTION_LOG_INTERVAL, Looks
from triaged.errors import ConfigError, Problem, RuleTestsFailed
from triaged.fleet.files import read_fleet_files
from triaged.fleet.loader import load_fleet
from triaged.fleet.workspace import (
    FleetChanges,
    FleetWorkspace,
    LoadedFleet,
    Rejection,
    changes_between,
    keep_last_good,
)
from triaged.rulesfile.loader import load_rules
from triaged.rulesfile.sources import fingerprint

log = structlog.get_logger()


# Size, and the times of the content and of the file.
_State: TypeAlias = tuple[int, int, int]


class _Look(NamedTuple):
    """The state of the files at one time.

    ``content`` is that of the fleet files and of what rejected workspaces wait for;
    ``states`` are those of the fleet files: an editor may still be writing.
    """

    content: tuple[object, ...] = ()
    states: tuple[_State | None, ...] = ()


class FleetWatcher:
    """Holds the workspaces in force, by name; ``kept`` are those in an earlier form.

    A workspace that turns out to be bad keeps its last good form; a rejection is logged
    at once and then every ten minutes, until it is resolved.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = environ
        self._looks = Looks(self._look)
        self._tried: tuple[object, ...] = ()
        self._awaited_files: tuple[Path, ...] = ()
        self._awaited_rules: tuple[tuple[Path, ...], ...] = ()
        self._logged_at: datetime | None = None
        # The hash of the fleet files that were looked at last.
        self.config_sha256 = ""
        self.workspaces: Mapping[str, FleetWorkspace] = {}
        self.kept: tuple[FleetWorkspace, ...] = ()
        self.rejections: tuple[Rejection, ...] = ()

    def load_initial(self, *, now: datetime) -> FleetChanges:
        """Load the fleet; ``ConfigError`` with all problems if nothing can be used."""
        loaded = load_fleet(self._directory, self._environ)
        if not loaded.workspaces:
            raise ConfigError(loaded.errors)
        for warning in loaded.warnings:
            log.warning("fleet.warning", problem=str(warning))
        return self._activate(loaded, now)

    def not_in_force(self) -> dict[str, str | None]:
        """Return why the files of each workspace in force are not so as they are now.

        What names no workspace concerns all of its file; of no such file, all.
        """
        found: dict[str, list[Problem]] = {name: [] for name in self.workspaces}
        by_file: dict[str, list[str]] = {}
        for name, workspace in self.workspaces.items():
            by_file.setdefault(workspace.file, []).append(name)
        for each in self.rejections:
            if each.name is None:
                concerned = by_file.get(each.file or "", list(found))
            else:
                concerned = [each.name] if each.name in found else []
            for name in concerned:
                found[name] += each.problems
        return {name: "\n".join(map(str, some)) or None for name, some in found.items()}

    def poll(self, *, now: datetime) -> FleetChanges:
        """Reload if the files have changed and two consecutive looks agree."""
        look, is_stable = self._looks.again()
        is_log_due = self._is_log_due(now)
        # What was rejected is tried again from time to time, because not all that it
        # needs can be watched.
        if is_stable and (look.content != self._tried or is_log_due):
            changes = self._load(look, now) or FleetChanges()
            if changes:
                self._log_changes(changes)
            return changes
        if is_log_due:
            self._log_rejections(self.rejections, now)
        return FleetChanges()

    async def reload(
        self, *, now: datetime, pause: Callable[[float], Awaitable[None]]
    ) -> FleetChanges:
        """Load once two looks agree; what keeps changing is left to ``poll``."""
        changes = await self._looks.until_loaded(
            lambda look: self._load(look, now), pause
        )
        if changes is not None:
            self._log_changes(changes)
        return changes or FleetChanges()

    def _load(self, look: _Look, now: datetime) -> FleetChanges | None:
        """Load the files; None if they changed meanwhile, so that nothing is known."""
        loaded = load_fleet(self._directory, self._environ)
        unloadable = self._unloadable(loaded, now)
        if self._looks.again()[0] != look:
            return None
        self._awaited_rules = tuple(dict.fromkeys(w.rules for w in unloadable))
        bad = {workspace.name for workspace in unloadable}
        rejected = [
            Rejection(
                file=w.file,
                name=w.name,
                problems=tuple(Problem(w.file, w.line, 1, "", line) for line in lines),
            )
            for w, lines in unloadable.items()
        ]
        before = self.rejections
        changes = self._activate(
            replace(
                loaded,
                workspaces=tuple(w for w in loaded.workspaces if w.name not in bad),
                rejections=(*loaded.rejections, *rejected),
            ),
            now,
        )
        if before and not self.rejections:
            log.info("fleet.restored", workspaces=len(self.workspaces))
        return changes

    def _unloadable(
        self, loaded: LoadedFleet, now: datetime
    ) -> dict[FleetWorkspace, tuple[str, ...]]:
        """Return the workspaces whose other rules files do not load, and why not."""
        problems: dict[tuple[Path, ...], tuple[str, ...]] = {}
        found = {}
        for workspace in loaded.workspaces:
            before = self.workspaces.get(workspace.name)
            if before is None or before.rules == workspace.rules:
                continue
            if workspace.rules not in problems:
                problems[workspace.rules] = _rules_problems(workspace.rules, now)
            if problems[workspace.rules]:
                found[workspace] = problems[workspace.rules]
        return found

    def _activate(self, loaded: LoadedFleet, now: datetime) -> FleetChanges:
        after = keep_last_good(self.workspaces, loaded)
        changes = changes_between(self.workspaces, after)
        known = set(self.rejections)
        # In force before it is logged, so that readers of the log can rely on it.
        self.workspaces, self.rejections = after, loaded.rejections
        good = {workspace.name for workspace in loaded.workspaces}
        self.kept = tuple(w for w in after.values() if w.name not in good)
        self._awaited_files = loaded.awaited
        self.config_sha256 = loaded.fingerprint
        # If a fleet file was written meanwhile, the next looks will detect the change.
        self._tried = (loaded.fingerprint, *self._awaited())
        is_due = self._is_log_due(now)
        new = [each for each in self.rejections if is_due or each not in known]
        self._log_rejections(new, now)
        return changes

    def _log_changes(self, changes: FleetChanges) -> None:
        log.info(
            "fleet.reloaded",
            workspaces=len(self.workspaces),
            added=len(changes.added),
            changed=len(changes.changed),
            removed=len(changes.removed),
        )

    def _is_log_due(self, now: datetime) -> bool:
        since = self._logged_at
        is_due = since is not None and abs(now - since) >= REJECTION_LOG_INTERVAL
        return is_due and bool(self.rejections)

    def _log_rejections(self, rejections: Sequence[Rejection], now: datetime) -> None:
        for rejection in rejections:
            self._logged_at = now
            log.error(
                "fleet.rejected",
                workspace=rejection.name,
                file=rejection.file or str(self._directory),
                problems=[str(problem) for problem in rejection.problems],
                kept=sum(rejection.may_concern(each) for each in self.kept),
            )

    def _look(self) -> _Look:
        read = read_fleet_files(self._directory)
        states = tuple(_state(file.path) for file in read.files)
        return _Look((read.fingerprint, *self._awaited()), states)

    def _awaited(self) -> tuple[object, ...]:
        files = tuple(_state(path) for path in self._awaited_files)
        return files, tuple(fingerprint(*paths) for paths in self._awaited_rules)


def _rules_problems(paths: tuple[Path, ...], now: datetime) -> tuple[str, ...]:
    """Return what is wrong with rules files; nothing if they can be used."""
    try:
        load_rules(*paths, now=now)
    except (ConfigError, RuleTestsFailed) as error:
        return tuple(str(error).splitlines())
    return ()


def _state(path: Path) -> _State | None:
    """Return what changes when a file is written, replaced, or given another mode."""
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return None
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
