"""The API key: where it is read from, and how it is kept out of all output."""

import hashlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from triaged.errors import ConfigError, os_reason

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

# As ssh does: a file owned by this user must be accessible to this user only. A file
# owned by another user may be group-readable, because systemd (by an ACL) and
# Kubernetes (by fsGroup) provide secrets to a service that way.
_FORBIDDEN_BITS_OWN: Final = 0o077
_FORBIDDEN_BITS_FOREIGN: Final = 0o027


class ApiKey:
    """The API key; neither ``repr`` nor ``str`` shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the key itself; for use in the Authorization header only."""
        return self._value

    def sha256(self) -> str:
        """Return a hash (hex), to compare keys without holding them."""
        return hashlib.sha256(self._value.encode()).hexdigest()

    def __repr__(self) -> str:
        return "ApiKey(…)"


def parse_key(text: str) -> ApiKey:
    """Parse an API key; no message of a ``ValueError`` contains the text."""
    key = text.strip()
    if not key:
        raise ValueError("the API key is empty")
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        raise ValueError("the API key is in quotation marks; write it without them")
    # The HTTP library would put any other character, with the key, into its error
    # message.
    if not re.fullmatch(r"[!-~]+", key) or len(key) > _MAX_KEY_BYTES:
        raise ValueError("the API key must be one word of printable ASCII")
    return ApiKey(key)


@dataclass(frozen=True, slots=True)
class KeySource:
    """The source of the key; a file is read at each use, so the key can be rotated."""

    value: ApiKey | None = None
    file: Path | None = None

    def read(self) -> ApiKey:
        """Return the key; raise ``ConfigError`` if it is invalid or not private."""
        if self.value is not None:
            return self.value
        if self.file is None:
            raise ConfigError.of_setting("TRIAGED_API_KEY", _NO_KEY)
        is_there = os.path.exists(self.file)  # noqa: PTH110 - Path.exists raises
        if str(self.file).startswith(KEY_PREFIX) and not is_there:
            # Probably the key itself in the wrong variable: naming the "file" would
            # show the key.
            raise ConfigError.of_setting("TRIAGED_API_KEY_FILE", _NO_FILE)
        try:
            text = read_private(self.file, what="the key", limit=_MAX_KEY_BYTES + 2)
            return parse_key(text.decode("ascii", "replace"))
        except OSError as error:
            why = os_reason(error)
            raise ConfigError.of_setting(
                "TRIAGED_API_KEY_FILE", f"{self.file}: {why}"
            ) from error
        except ValueError as error:
            raise ConfigError.of_setting(
                "TRIAGED_API_KEY_FILE", f"{self.file}: {error}"
            ) from error


class ApiKeyProvider:
    """The current key of the file, or the last valid one while it is unusable.

    ``check`` raises ``ConfigError`` if a key must not be used here.
    """

    def __init__(
        self, source: KeySource, *, check: Callable[[ApiKey], None] = lambda _: None
    ) -> None:
        self._source = source
        self._check = check
        self._last = source.read()
        check(self._last)
        self._unusable = ""

    def reveal(self) -> str:
        """Return the key for one request; log once if the file becomes unusable."""
        try:
            key = self._source.read()
            if key.reveal() != self._last.reveal():
                self._check(key)
                self._last = key
        except ConfigError as error:
            if self._unusable != str(error):
                self._unusable = str(error)
                # Imported here: commands that do not call the API start faster without
                # it.
                import structlog  # noqa: PLC0415

                structlog.get_logger().warning("api_key.unreadable", problem=str(error))
        else:
            self._unusable = ""
        return self._last.reveal()


def read_private(path: Path, *, what: str, limit: int) -> bytes:
    """Read at most ``limit`` bytes of a file that others can neither read nor change.

    ``what`` names its content in the messages.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a regular file, or not private.
    """
    # Opened first and checked then, so that the checked file is the one that is read.
    # Non-blocking, because opening a pipe would block.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags)
    try:
        _check_private(path, os.fstat(descriptor), what)
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def _check_private(path: Path, status: os.stat_result, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise ValueError(f"is {kind}; {what} is read from a file, again and again")
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
        f"its mode {mode:04o} lets others than user {us} at {what}; {remedy}"
    )
