"""Reads list files (clients, campaigns, ids), with one entry per line."""

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
# Emoji and some scripts need joiners.
_JOINERS: Final = "\u200c\u200d"
_MAX_BYTES: Final = 4 << 20


class ListFileError(ValueError):
    """A list file cannot be used; the message gives the file and the cause."""


@dataclass(frozen=True, slots=True)
class ListContent:
    """The entries of a list in NFC, their line numbers from 1, and the file's SHA-256.

    ``wordless`` is the first entry without a letter or digit, or None.
    """

    entries: tuple[str, ...]
    lines: tuple[int, ...]
    sha256: str
    wordless: int | None


def read_list(directory: Path, name: str) -> bytes | ListFileError:
    """Read a list file in or below the directory, or return why it cannot be read."""
    try:
        _check_name(name)
        root = directory.resolve(strict=True)
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root):
            return ListFileError(
                f"{name} leads outside the directory of the rules file"
            )
        return _read(path, name)
    except ListFileError as error:
        return error
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return ListFileError(f"{name} cannot be read: {why}")


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
    # A named pipe would block, and a symlink may have been created after the check.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ListFileError(f"{name} is larger than {_MAX_BYTES >> 20} MiB")
    return data


def parse_list(data: bytes, name: str) -> ListContent:
    """Parse a list: one entry per line; blank lines and ``#`` comments are skipped.

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
    """Return what is wrong with an entry; empty if it is valid."""
    if len(entry) > MAX_ENTRY:
        return f"an entry of {len(entry)} characters; at most {MAX_ENTRY}"
    return find_hidden(entry, allowed="\t")


def find_hidden(text: str, *, allowed: str = "\t\n\r") -> str:
    """Return what is wrong with a character that cannot be seen; empty if none is.

    YAML makes them of escapes in double quotes, editors leave byte-order marks, and web
    pages have soft hyphens; with one, a comparison finds nothing.
    """
    if text.isprintable():
        return ""
    for char in text:
        category = unicodedata.category(char)
        if category == "Cc" and char not in allowed:
            yaml = (
                r" (in double quotes YAML makes it of \b; use single quotes)"
                if char == "\b"
                else ""
            )
            return (
                f"it contains the control character U+{ord(char):04X}; remove it{yaml}"
            )
        if category in {"Cf", "Zl", "Zp"} and char not in _JOINERS:
            return (
                f"it contains U+{ord(char):04X}, which cannot be seen; remove it, or"
                f" use regex with \\x{{{ord(char):04X}}} if it is meant"
            )
    return ""
