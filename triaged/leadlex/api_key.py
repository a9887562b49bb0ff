"""The API key: where it comes from, and how it is kept out of everything we write."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from triaged.errors import ConfigError, Problem

CREDENTIAL_NAME: Final = "api-key"

_NO_KEY: Final = (
    "no API key; set TRIAGED_API_KEY_FILE to a file that holds it, or TRIAGED_API_KEY"
    " (triaged sandbox needs none)"
)
_NO_FILE: Final = (
    "this is a key, not the name of a file; put it into a file, or set TRIAGED_API_KEY"
)
_QUOTES: Final = frozenset("\"'`")
KEY_PREFIX: Final = "wbk_"
_MAX_KEY_BYTES: Final = 4096

# As ssh does: a file of our own is for us alone.  Another user's file may be read by a
# group: systemd (an ACL) and Kubernetes (fsGroup) give the key to a service like that.
_FORBIDDEN_BITS_OWN: Final = 0o077
_FORBIDDEN_BITS_FOREIGN: Final = 0o027


class ApiKey:
    """The API key; neither its repr nor its text ever shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the key itself, for the Authorization header alone."""
        return self._value

    def __repr__(self) -> str:
        return "ApiKey(…)"


def parse_key(text: str) -> ApiKey:
    """Take a text for a key if it can be one; the message never shows it.

    Raises:
        ValueError: it is empty, or not one word of printable ASCII.
    """
    key = text.strip()
    if not key:
        message = "the API key is empty"
        raise ValueError(message)
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        message = "the API key is in quotation marks; write it without them"
        raise ValueError(message)
    # Anything else would end up in an HTTP library's complaint, key included.
    if not re.fullmatch(r"[!-~]+", key) or len(key) > _MAX_KEY_BYTES:
        message = "the API key must be one word of printable ASCII"
        raise ValueError(message)
    return ApiKey(key)


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the key comes from; a file is read at each use, for rotated keys."""

    value: ApiKey | None = None
    file: Path | None = None

    def read(self) -> ApiKey:
        """Return the key.

        Raises:
            ConfigError: there is none, or what is there cannot be a key, or others
                can get at it.
        """
        if self.value is not None:
            return self.value
        if self.file is None:
            raise _problem("TRIAGED_API_KEY", _NO_KEY)
        is_there = os.path.exists(self.file)  # noqa: PTH110 - it never raises
        if str(self.file).startswith(KEY_PREFIX) and not is_there:
            # The key in the wrong variable; to name this file would show it.
            raise _problem("TRIAGED_API_KEY_FILE", _NO_FILE)
        try:
            return parse_key(_read_private(self.file).decode("ascii", "replace"))
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise _problem("TRIAGED_API_KEY_FILE", f"{self.file}: {why}") from error
        except ValueError as error:
            raise _problem("TRIAGED_API_KEY_FILE", f"{self.file}: {error}") from error


class ApiKeyProvider:
    """The key as it is in its file now; the last good one while that is unusable."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._last = source.read()
        self._unusable = ""

    def reveal(self) -> str:
        """Return the key for one request; say once what keeps the file from use."""
        try:
            self._last = self._source.read()
        except ConfigError as error:
            if self._unusable != str(error):
                self._unusable = str(error)
                # Imported here: commands that never ask the API start without it.
                import structlog  # noqa: PLC0415

                structlog.get_logger().warning("api_key.unreadable", problem=str(error))
        else:
            self._unusable = ""
        return self._last.reveal()


def _read_private(path: Path) -> bytes:
    """Read a regular file that no other user can read or change.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or others can get at it.
    """
    # Opened first, judged then: what was judged is what is read.  A pipe would block.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags)
    try:
        _check_private(path, os.fstat(descriptor))
        return os.read(descriptor, _MAX_KEY_BYTES + 2)
    finally:
        os.close(descriptor)


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise ValueError(f"is {kind}; the key is looked for in a file, again and again")
    mode, us = stat.S_IMODE(status.st_mode), os.geteuid()
    is_ours = status.st_uid == us
    if not mode & (_FORBIDDEN_BITS_OWN if is_ours else _FORBIDDEN_BITS_FOREIGN):
        return
    remedy = (
        f"chmod 600 {path}"
        if is_ours
        else f"chown {us} {path} and chmod 600, or chmod 440 with a group of ours"
    )
    raise ValueError(
        f"its mode {mode:04o} lets others than user {us} at the key; {remedy}"
    )


def _problem(variable: str, message: str) -> ConfigError:
    return ConfigError([Problem("settings", 0, 0, variable, message)])
