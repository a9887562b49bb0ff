"""Lists in files of their own, one entry a line: clients, campaigns, ids."""

import errno
import hashlib
import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from triaged.rules.task import nfc
from triaged.rules.words import has_word

MAX_LINES: Final = 20_000
MAX_ENTRY: Final = 256
_MAX_BYTES: Final = 4 << 20


class ListFileError(ValueError):
    """A list cannot be used; the message says why, and names the file."""


@dataclass(frozen=True, slots=True)
class ListContent:
    """The entries of a list in NFC, the line of each, and the hash of the whole.

    ``wordless`` is the first entry that has no letter or digit, if there is one.
    """

    entries: tuple[str, ...]
    lines: tuple[int, ...]
    sha256: str
    wordless: int | None


def read_list(directory: Path, name: str) -> bytes:
    """Read a list that lies in the directory of the rules file, or below it.

    Raises:
        ListFileError: there is no such file there, or it is too large.
    """
    _check_name(name)
    try:
        root = directory.resolve(strict=True)
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root):
            raise ListFileError(f"{name} leads outside the directory of the rules file")
        return _read(path, name)
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ListFileError(f"{name} cannot be read: {why}") from error


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ListFileError(
            f"{name} is no path below the directory of the rules file;"
            " put the list there and write its name"
        )
    if not name.isprintable():
        raise ListFileError("the name of a list has a character that cannot be shown")


def _read(path: Path, name: str) -> bytes:
    # A named pipe would block, and a link may have been put there since.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ListFileError(f"{name} is larger than {_MAX_BYTES >> 20} MiB")
    return data


def parse_list(data: bytes, name: str) -> ListContent:
    """Read the entries of a list: one a line; blank lines and ``#`` comments are none.

    Raises:
        ListFileError: it is empty, too long, no UTF-8 or has an entry that cannot be.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ListFileError(f"{name}:{line}: not UTF-8; save it as UTF-8") from error
    rows = text.removesuffix("\n").split("\n")
    if len(rows) > MAX_LINES:
        raise ListFileError(f"{name} has {len(rows)} lines; at most {MAX_LINES:,}")
    entries: list[str] = []
    lines: list[int] = []
    for line, row in enumerate(rows, start=1):
        entry = nfc(row.strip())
        if not entry or entry.startswith("#"):
            continue
        if problem := check_entry(entry):
            raise ListFileError(f"{name}:{line}: {problem}")
        entries.append(entry)
        lines.append(line)
    if not entries:
        raise ListFileError(f"{name} is empty; write one entry a line")
    wordless = (number for number, entry in enumerate(entries) if not has_word(entry))
    return ListContent(
        tuple(entries),
        tuple(lines),
        hashlib.sha256(data).hexdigest(),
        next(wordless, None),
    )


def check_entry(entry: str) -> str:
    """Return what is wrong with an entry; empty when it will do."""
    if len(entry) > MAX_ENTRY:
        return f"an entry of {len(entry)} characters; at most {MAX_ENTRY}"
    if any(unicodedata.category(c) == "Cc" and c != "\t" for c in entry):
        return "a control character; remove it"
    return ""
