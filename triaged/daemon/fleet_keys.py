"""Which workspace of a fleet has which API key: two of them never share one.

The fleet files are checked for that when they are loaded; this holds it afterwards,
when the content of a key file changes.
"""

from collections.abc import Mapping

from triaged.errors import ConfigError
from triaged.fleet.workspace import FleetWorkspace
from triaged.leadlex.api_key import ApiKey, KeySource


class FleetKeys:
    """The sources of all keys, and the hash of the key that each workspace uses."""

    def __init__(self) -> None:
        self._sources: dict[str, KeySource] = {}
        self._used: dict[str, str] = {}

    def follow(self, workspaces: Mapping[str, FleetWorkspace]) -> None:
        """Know the keys of these workspaces, as they were when their files were read.

        One that is known already keeps the key that it uses now.
        """
        self._sources = {name: each.key for name, each in workspaces.items()}
        self._used = {
            name: self._used.get(name, each.key_hash)
            for name, each in workspaces.items()
        }

    def check(self, workspace: str, key: ApiKey) -> None:
        """Check the key that a workspace is going to use, and remember it.

        Key files are rarely replaced, so then those of all others are read.

        Raises:
            ConfigError: another workspace uses it, or has it in its file by now.
        """
        found = key.sha256()
        if found == self._used.get(workspace):
            return
        for other, source in self._sources.items():
            if other != workspace and found in {self._used[other], _now(source)}:
                raise ConfigError.of_setting(
                    "TRIAGED_API_KEY_FILE",
                    f"it holds the key of workspace {other}; two never share one",
                )
        self._used[workspace] = found


def _now(source: KeySource) -> str | None:
    """Return the hash of the key in a source, or None while it cannot be used."""
    try:
        return source.read().sha256()
    except ConfigError:
        return None
