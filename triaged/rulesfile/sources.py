"""Reads and hashes the files of a ruleset: the rules file and its lists.

The hash covers both, so a change of either is a change of the rules.
"""

import base64
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
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


def fingerprint(path: Path) -> str:
    """Return the hash that a rules file and its lists would have if loaded now.

    If a file cannot be read, the hash is derived from the error instead.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        return f"unreadable: {getattr(error, 'strerror', None) or error}"
    return content_hash(data, read_lists(path, list_names(data)))


def content_hash(data: bytes, lists: Mapping[str, bytes | ListFileError]) -> str:
    """Return the SHA-256 (hex) of a rules file and its lists, or of the file alone."""
    digest = hashlib.sha256(data)
    for name in sorted(lists):
        read = lists[name]
        content = str(read).encode() if isinstance(read, ListFileError) else read
        digest.update(b"\0" + name.encode() + b"\0")
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def read_lists(path: Path, names: tuple[str, ...]) -> dict[str, bytes | ListFileError]:
    """Read the lists of a rules file; the value is the error if one cannot be read."""
    return {name: _read(path.parent, name) for name in names}


def _read(directory: Path, name: str) -> bytes | ListFileError:
    try:
        return read_list(directory, name)
    except ListFileError as error:
        return error


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


def bundle(data: bytes, lists: Mapping[str, bytes | ListFileError]) -> str:
    """Return a rules file and its lists as one string, which ``unbundle`` reads."""
    rules = data.decode("utf-8-sig", "replace")
    kept = [
        f"#list {name.encode().hex()} {base64.b64encode(zlib.compress(read)).decode()}"
        for name, read in lists.items()
        if isinstance(read, bytes)
    ]
    return rules + _SEPARATOR + "\n".join(kept) + "\n" if kept else rules


def unbundle(source: str) -> tuple[bytes, dict[str, bytes | ListFileError]]:
    """Return the rules file and the lists of a string made by ``bundle``."""
    rules, _, kept = source.partition(_SEPARATOR)
    return rules.encode(), {
        bytes.fromhex(name).decode(): zlib.decompress(base64.b64decode(content))
        for name, content in _BUNDLED.findall(kept)
    }
