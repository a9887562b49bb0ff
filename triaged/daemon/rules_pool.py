"""The rules of a fleet: loaded at their first use, shared by those who use the same."""

import asyncio
from collections import deque
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from triaged.clock import Clock
from triaged.daemon.metrics import Metrics
from triaged.daemon.rules_watcher import RulesWatcher
from triaged.rulesfile.loader import CompiledRules, LoadedRules, load_rules
from triaged.rulesfile.sources import Fingerprints, fingerprint

# A change is in force after two looks that agree: within 15 seconds.
LOOK_SECONDS: Final = 5.0

Paths: TypeAlias = tuple[Path, ...]


@dataclass(slots=True, eq=False)
class _Shared:
    """The rules of some files, and the metrics of the workspaces that use them."""

    watcher: RulesWatcher
    users: dict[str, Metrics]
    is_loaded: bool = False


class RulesPool:
    """All rules that a process uses; a file is looked at once for all its users."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shared: dict[Paths, _Shared] = {}
        self._compiled: dict[str, tuple[CompiledRules, LoadedRules]] = {}
        self._fingerprints = Fingerprints()
        self._to_look: deque[_Shared] = deque()

    def use(self, paths: Paths, name: str, metrics: Metrics) -> RulesWatcher:
        """Return the rules of files; the first use loads them, and may raise."""
        shared = self._shared.get(paths) or self._watch(paths)
        if not shared.is_loaded:
            # Logged without the workspace whose cycle this is: others share the rules.
            load = shared.watcher.load_initial
            Context().run(load, now=self._clock.now())
            shared.is_loaded = True
        self._shared[paths] = shared
        shared.users[name] = metrics
        metrics.rules_loaded(self._clock.now())
        return shared.watcher

    def release(self, paths: Paths, name: str) -> None:
        """Forget that a workspace uses a file, and a file that none uses."""
        shared = self._shared.get(paths)
        if shared is not None:
            shared.users.pop(name, None)
            if not shared.users:
                del self._shared[paths]

    def poll(self) -> None:
        """Look at some files; called every second, at each one every five seconds."""
        if not self._to_look:
            self._forget_unused()
            self._to_look.extend(self._shared.values())
        now = self._clock.now()
        for _ in range(-(-len(self._shared) // int(LOOK_SECONDS))):
            if not self._to_look:
                return
            shared = self._to_look.popleft()
            if shared.users:
                shared.watcher.poll(now=now)

    async def reload(self) -> None:
        now = self._clock.now()
        async with asyncio.TaskGroup() as group:
            for shared in self._shared.values():
                group.create_task(
                    shared.watcher.reload(now=now, pause=self._clock.sleep)
                )

    def _watch(self, paths: Paths) -> _Shared:
        users: dict[str, Metrics] = {}

        def loaded() -> None:
            now = self._clock.now()
            for metrics in users.values():
                metrics.rules_loaded(now)

        watcher = RulesWatcher(
            paths,
            on_loaded=loaded,
            load=self._load,
            fingerprint=self._fingerprint,
        )
        return _Shared(watcher, users)

    def _load(self, *paths: Path, now: datetime) -> tuple[CompiledRules, LoadedRules]:
        """Load files, unless others with the same content were loaded before."""
        known = self._compiled.get(fingerprint(*paths))
        if known is None:
            rules, loaded = load_rules(*paths, now=now)
            # The tests have run, and take more memory than the rules.
            known = rules, replace(loaded, tests=(), source="")
            self._compiled[rules.ruleset.sha256] = known
        return known

    def _fingerprint(self, *paths: Path) -> str:
        return self._fingerprints(*paths, now=self._clock.now().timestamp())

    def _forget_unused(self) -> None:
        self._fingerprints.forget({path for paths in self._shared for path in paths})
        used = {each.watcher.rules.ruleset.sha256 for each in self._shared.values()}
        for sha256 in self._compiled.keys() - used:
            del self._compiled[sha256]
