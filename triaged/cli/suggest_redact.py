"""Tasks without the names and numbers in them, for a rules file that others will see.

Only the words of the proposed rules themselves stay: whether any other word is a name,
no program can tell.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from triaged.rules.conditions import (
    Condition,
    DescriptionIs,
    Equals,
    GreaterThan,
    LessThan,
    MetadataMatches,
    Regex,
    Words,
    iter_leaves,
)
from triaged.rules.task import Json, is_number, json_equal
from triaged.rules.words import fold

_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
_ESCAPE: Final = re.compile(r"\\[sb]|\(\?:.*?\)")
_KEY: Final = re.compile(r"[a-z_]{1,40}", re.ASCII)


class TaskRedactor:
    """Replaces what the rules do not ask for."""

    def __init__(self, matches: Iterable[Condition]) -> None:
        self._words: set[str] = set()
        self._values: dict[str, list[Json]] = defaultdict(list)
        self._bounds: dict[str, list[float]] = defaultdict(list)
        for leaf in (leaf for match in matches for leaf in iter_leaves(match)):
            match leaf:
                case DescriptionIs(Words(phrases)):
                    self._words.update(w for p in phrases for w in _words(p))
                case DescriptionIs(Regex(patterns)):
                    for pattern in patterns:
                        self._words.update(_words(_ESCAPE.sub(" ", pattern.source)))
                case MetadataMatches(path, Equals(value)):
                    self._values[path].append(value)
                case MetadataMatches(path, GreaterThan(bound) | LessThan(bound)):
                    self._bounds[path].append(bound)
                case _:
                    pass

    def redact(self, fields: Mapping[str, Json]) -> dict[str, Json]:
        redacted = dict(fields)
        description = fields.get("description")
        if isinstance(description, str):
            redacted["description"] = self._text(description)
        metadata = fields.get("metadata")
        if isinstance(metadata, dict):
            redacted["metadata"] = self._mapping(metadata, "")
        return redacted

    def _mapping(self, metadata: Mapping[str, Json], path: str) -> dict[str, Json]:
        return {
            key: self._value(value, path + key)
            for key, value in metadata.items()
            if _KEY.fullmatch(key) or path + key in self._paths()
        }

    def _paths(self) -> set[str]:
        return {*self._values, *self._bounds}

    def _value(self, value: Json, path: str) -> Json:
        if any(json_equal(value, known) for known in self._values.get(path, ())):
            return value
        if isinstance(value, str):
            return self._text(value)
        if is_number(value):
            return self._number(value, path)
        if isinstance(value, dict):
            return self._mapping(value, f"{path}.")
        if isinstance(value, list):
            return [self._value(item, path) for item in value]
        return value

    def _number(self, value: float, path: str) -> Json:
        """Return a number on the same side of every bound that a rule has there."""
        bounds = self._bounds.get(path, [])
        others = [0, *(side for b in bounds for side in (b, b + 1, b - 1))]
        for other in others:
            if all(_side(other, b) == _side(value, b) for b in bounds):
                return other
        return 0

    def _text(self, text: str) -> str:
        return _WORD.sub(lambda found: self._word(found[0]), text)

    def _word(self, word: str) -> str:
        if word[0].isdigit():
            return "0"
        if fold(word) in self._words:
            return word
        return "Name" if word[0].isupper() else "word"


def _side(value: float, bound: float) -> int:
    return (value > bound) - (value < bound)


def _words(text: str) -> Iterator[str]:
    return (fold(found[0]) for found in _WORD.finditer(text))
