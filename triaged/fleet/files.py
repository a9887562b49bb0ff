"""Finds and reads the fleet files of a directory; knows nothing of their content."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from triaged.errors import Problem, Severity, os_reason

_FLEET_FILE: Final = re.compile(r"fleet\.yaml|[^.].*\.fleet\.yaml")
_LIKE_A_FLEET_FILE: Final = re.compile(
    r"(?:[^.].*[._-])?fleet\.ya?ml(?:\.ya?ml)?", re.IGNORECASE
)
# About 50,000 workspaces.
MAX_BYTES: Final = 8 << 20
_NONE: Final = "there is neither a fleet.yaml nor a NAME.fleet.yaml in it"


@dataclass(frozen=True, slots=True)
class FleetFile:
    """A fleet file as read, or why it could not be."""

    path: Path
    data: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True)
class FleetFiles:
    """The fleet files of a directory by name, or why there are none.

    ``warnings`` are of files that look like fleet files but are not read.
    """

    files: tuple[FleetFile, ...] = ()
    error: str = ""
    warnings: tuple[Problem, ...] = ()

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.error.encode())
        for file in self.files:
            digest.update(b"\0" + os.fsencode(file.path.name) + b"\0")
            digest.update(hashlib.sha256(file.data or file.error.encode()).digest())
        return digest.hexdigest()


def read_fleet_files(directory: Path) -> FleetFiles:
    """Read ``fleet.yaml`` and all ``*.fleet.yaml`` of a directory."""
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names, not paths
    except (OSError, ValueError) as error:
        return FleetFiles(error=_why(error))
    files = tuple(_read(directory / name) for name in names if is_fleet_file(name))
    why = "" if files else _NONE
    return FleetFiles(files, why, _warnings(directory, names))


def is_fleet_file(name: str) -> bool:
    """Return whether a file of this name describes workspaces."""
    return _FLEET_FILE.fullmatch(name) is not None


def _read(path: Path) -> FleetFile:
    try:
        with path.open("rb") as file:
            return FleetFile(path, file.read(MAX_BYTES + 1))
    except (OSError, ValueError) as error:
        return FleetFile(path, error=_why(error))


def _why(error: Exception) -> str:
    return os_reason(error) if isinstance(error, OSError) else str(error)


def _warnings(directory: Path, names: Sequence[str]) -> tuple[Problem, ...]:
    return tuple(
        Problem(
            str(directory / name),
            0,
            0,
            "",
            "this file is not read; name it fleet.yaml or NAME.fleet.yaml",
            Severity.WARNING,
        )
        for name in names
        if _LIKE_A_FLEET_FILE.fullmatch(name) and not is_fleet_file(name)
    )
