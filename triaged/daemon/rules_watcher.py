"""Holds the rules in force and reloads them; invalid rules never replace valid ones."""

import stat
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias

import structlog

from triaged.daemon.file_looks import REJECTION_LOG_INTERVAL, Looks
from triaged.errors import ConfigError, RuleTestsFailed
from triaged.rulesfile.being_written import wait_until_written
from triaged.rulesfile.loader import CompiledRules, LoadedRules, load_rules
from triaged.rulesfile.sources import fingerprint

# Loads rules files and runs their tests, as ``load_rules`` does.
LoadRules: TypeAlias = Callable[..., tuple[CompiledRules, LoadedRules]]

log = structlog.get_logger()


class _Look(NamedTuple):
    """Hash, sizes and times of the files; or why one could not be read."""

    content: str = ""
    states: tuple[tuple[int, int], ...] = ()


class RulesWatcher:
    """Holds the rules in force and watches their files.

    Looks compare time, size and content, because a ConfigMap changes behind a symbolic
    link. Anything but a regular file, such as a pipe, can be read only once; then none
    is watched.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        on_loaded: Callable[[], None],
        load: LoadRules = load_rules,
        fingerprint: Callable[..., str] = fingerprint,
    ) -> None:
        self._paths = tuple(paths)
        self._on_loaded = on_loaded
        self._load_rules = load
        self._fingerprint = fingerprint
        self._rules: CompiledRules | None = None
        self._is_watched = True
        self._looks = Looks(self._look)
        self._in_force = ""
        self._last_tried = ""
        self._rejection_logged_at: datetime | None = None
        self.rejected: str | None = None

    @property
    def rules(self) -> CompiledRules:
        """The rules in force; requires ``load_initial``."""
        if self._rules is None:
            raise RuntimeError("no rules have been loaded yet")
        return self._rules

    def load_initial(self, *, now: datetime) -> None:
        """Load the rules, or raise ``ConfigError`` or ``RuleTestsFailed``."""
        self._is_watched = not any(map(_is_pipe, self._paths))
        wait_until_written(self._paths, now=now)
        look = self._look()
        rules, loaded = self._load_rules(*self._paths, now=now)
        # If the file was written meanwhile, the next looks will detect the change.
        self._activate(rules, look)
        for warning in loaded.warnings:
            log.warning("rules.warning", file=self._names, problem=str(warning))
        if not self._is_watched:
            log.warning("rules.not_watched", file=self._names)

    def poll(self, *, now: datetime) -> None:
        """Reload if the file has changed and two consecutive looks agree."""
        if not self._is_watched:
            return
        look, is_stable = self._looks.again()
        if is_stable and look.content not in {self._in_force, self._last_tried}:
            self._load(look, now)
        elif is_stable and look.content == self._in_force and self.rejected:
            # The file was restored, so it is identical to the rules in force again.
            self._activate(self.rules, look)
            sha256 = self.rules.ruleset.sha256
            log.info("rules.restored", file=self._names, sha256=sha256)
        elif self._is_log_due(now):
            self._log_rejection(now)

    async def reload(
        self, *, now: datetime, pause: Callable[[float], Awaitable[None]]
    ) -> None:
        """Load once two looks agree; what keeps changing is left to ``poll``."""
        if not self._is_watched:
            log.warning("rules.not_watched", file=self._names)
            return
        await self._looks.until_loaded(lambda look: self._load(look, now), pause)

    def _load(self, look: _Look, now: datetime) -> bool | None:
        """Load the files, or reject them; None if they changed meanwhile."""
        try:
            rules, _ = self._load_rules(*self._paths, now=now)
        except (ConfigError, RuleTestsFailed) as error:
            if self._looks.again()[0] != look:
                return None
            self._last_tried = look.content
            self.rejected = str(error)
            self._log_rejection(now)
            return False
        if self._looks.again()[0] != look:
            return None
        # Activated before logging, so that readers of the log can rely on it.
        self._activate(rules, look)
        log.info("rules.reloaded", file=self._names, sha256=rules.ruleset.sha256)
        return True

    def _activate(self, rules: CompiledRules, look: _Look) -> None:
        self._rules = rules
        self._in_force = self._last_tried = look.content
        self.rejected = None
        self._rejection_logged_at = None
        self._on_loaded()

    def _is_log_due(self, now: datetime) -> bool:
        since = self._rejection_logged_at
        return since is not None and abs(now - since) >= REJECTION_LOG_INTERVAL

    def _log_rejection(self, now: datetime) -> None:
        self._rejection_logged_at = now
        problems = (self.rejected or "").splitlines()
        log.error("rules.rejected", file=self._names, problems=problems)

    @property
    def _names(self) -> str:
        return ", ".join(map(str, self._paths))

    def _look(self) -> _Look:
        try:
            if any(map(_is_pipe, self._paths)):
                return _Look("not a regular file")
            seen = [path.stat() for path in self._paths]
        except OSError as error:
            return _Look(f"unreadable: {error.strerror}")
        states = tuple((each.st_size, each.st_mtime_ns) for each in seen)
        return _Look(self._fingerprint(*self._paths), states)


def _is_pipe(path: Path) -> bool:
    """Return whether a path exists and is not a regular file."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
