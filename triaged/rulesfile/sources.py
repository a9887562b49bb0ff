"""Reads and hashes the files of a ruleset: rules files in order, and their lists.

The hash covers all of them, so a change of any is a change of the rules.
"""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from triaged.errors import ConfigError
from triaged.rulesfile.lists import ListFileError, read_list
from triaged.rulesfile.parser import nodes
from triaged.rulesfile.parser.nodes import MAX_BYTES, compose
from triaged.rulesfile.problems import ProblemCollector

_LIST_KEYS: Final = frozenset({"words", "in"})
# Lists are appended to the rules as comments, which the parser ignores.
_BUNDLED: Final = re.compile(r"^#list ([0-9a-f]+) ([A-Za-z0-9+/=]*)$", re.MULTILINE)
_SEPARATOR: Final = "\n#lists of the rules above, as they were:\n"
# The first line of several bundles in one string: the name and length of each.
_SEVERAL: Final = "#files, each with its lists: "
# A time stamp older than this, in seconds, was not given twice.
_SETTLED_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A rules file as read: its name in messages, its bytes, and its lists by name."""

    name: str
    data: bytes
    lists: Mapping[str, bytes | ListFileError] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256(self.data)
        for name in sorted(self.lists):
            read = self.lists[name]
            content = str(read).encode() if isinstance(read, ListFileError) else read
            digest.update(b"\0" + name.encode() + b"\0")
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()


def read_source(path: Path) -> SourceFile:
    """Read a rules file and the lists that it names.

    Raises:
        OSError: the rules file cannot be read.
        ValueError: there can be no such path.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    lists = {name: read_list(path.parent, name) for name in list_names(data)}
    return SourceFile(str(path), data, lists)


def fingerprint(*paths: Path) -> str:
    """Return the hash that rules files and their lists would have if loaded now.

    If a file cannot be read, the hash is derived from the error instead.
    """
    return _combined([_fingerprint(path) for path in paths])


def _fingerprint(path: Path) -> str:
    try:
        return read_source(path).sha256
    except (OSError, ValueError) as error:
        return f"unreadable: {getattr(error, 'strerror', None) or error}"


def ruleset_hash(files: Sequence[SourceFile]) -> str:
    """Return the SHA-256 (hex) of rules files and their lists; the order counts."""
    return _combined([file.sha256 for file in files])


def _combined(hashes: Sequence[str]) -> str:
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\0".join(["files", *hashes]).encode()).hexdigest()


@lru_cache(maxsize=16)
def list_names(data: bytes) -> tuple[str, ...]:
    """Return the names of the lists that a rules file may read, sorted."""
    if b"file" not in data:
        return ()
    try:
        root = compose(data, ProblemCollector(""))
    except ConfigError:
        return ()
    return tuple(sorted(set(_names(root))))


def _names(node: nodes.Node) -> Iterator[str]:
    match node:
        case nodes.Sequence(items=items):
            for item in items:
                yield from _names(item)
        case nodes.Mapping(pairs=pairs):
            for key, value in pairs:
                if isinstance(key, nodes.Scalar) and key.value in _LIST_KEYS:
                    yield from _named_in(value)
                yield from _names(value)
        case _:
            return


def _named_in(node: nodes.Node) -> Iterator[str]:
    for key, value in node.pairs if isinstance(node, nodes.Mapping) else ():
        is_file = isinstance(key, nodes.Scalar) and key.value == "file"
        if is_file and isinstance(value, nodes.Scalar) and value.value.strip():
            yield value.value


def bundle(files: Sequence[SourceFile]) -> str:
    """Return rules files and their lists as one string; a lone file is its own text."""
    bundles = [_bundle(file) for file in files]
    # A file that begins like several ones must not be taken for them.
    if len(bundles) == 1 and not bundles[0].startswith(_SEVERAL):
        return bundles[0]
    pairs = zip(files, bundles, strict=True)
    header = json.dumps([[file.name, len(text)] for file, text in pairs])
    return f"{_SEVERAL}{header}\n{''.join(bundles)}"


def unbundle(source: str, name: str) -> list[SourceFile]:
    """Return what ``bundle`` was given; ``name`` is for messages about a lone file."""
    if not source.startswith(_SEVERAL):
        return [_unbundle(source, name)]
    header, _, rest = source.removeprefix(_SEVERAL).partition("\n")
    files = []
    for own_name, length in json.loads(header):
        files.append(_unbundle(rest[:length], own_name))
        rest = rest[length:]
    return files


def _bundle(file: SourceFile) -> str:
    rules = file.data.decode("utf-8-sig", "replace")
    kept = [
        f"#list {name.encode().hex()} {base64.b64encode(zlib.compress(read)).decode()}"
        for name, read in file.lists.items()
        if isinstance(read, bytes)
    ]
    return rules + _SEPARATOR + "\n".join(kept) + "\n" if kept else rules


def _unbundle(source: str, name: str) -> SourceFile:
    rules, _, kept = source.partition(_SEPARATOR)
    lists = {
        bytes.fromhex(name).decode(): zlib.decompress(base64.b64decode(content))
        for name, content in _BUNDLED.findall(kept)
    }
    return SourceFile(name, rules.encode(), lists)


class Fingerprints:
    """Fingerprints of many files, each read again only when it may have changed.

    A file whose lists would have to be looked at too is read each time.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, ...], str]] = {}

    def __call__(self, *paths: Path, now: float) -> str:
        """Return the same as ``fingerprint``; ``now`` is in seconds since the epoch."""
        return _combined([self._of(path, now) for path in paths])

    def forget(self, paths: Container[Path]) -> None:
        for path in [path for path in self._known if path not in paths]:
            del self._known[path]

    def _of(self, path: Path, now: float) -> str:
        try:
            seen = path.stat()
            state = seen.st_dev, seen.st_ino, seen.st_size, seen.st_ctime_ns
            known = self._known.get(path)
            if known is not None and known[0] == state:
                return known[1]
            source = read_source(path)
        except (OSError, ValueError) as error:
            return f"unreadable: {getattr(error, 'strerror', None) or error}"
        # A file that has just changed may change again without a new time.
        if not source.lists and now - seen.st_ctime > _SETTLED_SECONDS:
            self._known[path] = state, source.sha256
        return source.sha256
