"""Decodes a list response task by task while it is received, within limits.

The list is split into entries by brackets and quotes, and ``json`` decodes each entry
separately, so that an invalid entry affects only one task. msgspec cannot do that: a
lone surrogate, NaN or deep nesting in one entry makes it reject the whole response.
"""

import json
import re
from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Generator
from sys import getsizeof
from typing import Final, NoReturn, TypeAlias

from triaged.leadlex.entries import UNREADABLE, find_end, integer, task_size
from triaged.leadlex.redaction import Redactor
from triaged.rules.task import Json, Task, parse_task

# A workspace of 100,000 tasks fits; anything larger is not a plausible response.
MAX_TASKS: Final = 200_000
# Limit of the memory used by the tasks of one list, whatever the response size.
MAX_HELD_BYTES: Final = 256 * 1024 * 1024
# Longer entries are not decoded: three bytes of [{},{},{}] take seventy in memory.
MAX_DECODED_CHARS: Final = 1024 * 1024
# Entries longer than this abort the response.
MAX_ENTRY_CHARS: Final = 4 * 1024 * 1024
# Limits of the other members (pagination, errors) that are kept.
_MAX_MEMBERS: Final = 100
_MAX_MEMBER_CHARS: Final = 65_536
_MAX_SHARED_KEYS: Final = 1_000

_FEED_BYTES: Final = 64 * 1024
_BLANKS: Final = re.compile(r"[ \t\n\r]*")


# A parser step: a generator that yields when it needs more text and returns its result.
_Text: TypeAlias = Generator[None, None, str]
_Bool: TypeAlias = Generator[None, None, bool]
_Json: TypeAlias = Generator[None, None, Json]
# A value, and its length in characters.
_Read: TypeAlias = tuple[Json, int]
_Value: TypeAlias = Generator[None, None, _Read]
_Nothing: TypeAlias = Generator[None, None, None]


def reject_constant(name: str) -> NoReturn:
    """Reject NaN and Infinity, which Python accepts as JSON but RFC 8259 does not."""
    raise ValueError(f"{name} is not JSON")


class ListDecoder:
    """Decodes ``{"data": {"tasks": [...]}}``, given in pieces, into tasks.

    ``members`` holds the other members of the response, by path; ``broken`` counts the
    entries that are not valid JSON, whose end can only be guessed.
    """

    def __init__(self, redactor: Redactor | None = None) -> None:
        self._redactor = redactor or Redactor()
        self.members: dict[tuple[str, ...], Json] = {}
        self.broken = 0
        # An invalid byte becomes a lone surrogate, which affects only the string it is
        # in.
        self._utf8 = getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._keys: dict[str, str] = {}
        self._json = json.JSONDecoder(
            object_pairs_hook=self._object_of,
            parse_constant=lambda _: UNREADABLE,
            parse_int=integer,
            strict=False,
        )
        self._tasks: list[Task] = []
        self._held = 0
        # The text being parsed, the offset in it, and the text received since it ran
        # out.
        self._text, self._at = "", 0
        self._fresh: list[str] = []
        self._waiting = 0
        self._ended = self._whole = False
        self._reading = self._answer()

    def feed(self, piece: bytes) -> None:
        """Decode the next bytes; ``ValueError`` if they are no list, or too many."""
        for start in range(0, len(piece), _FEED_BYTES):
            self._push(self._utf8.decode(piece[start : start + _FEED_BYTES]))

    def close(self) -> list[Task]:
        """Return the tasks of all bytes; ``ValueError`` if the list is not complete."""
        self._ended = True
        self._push(self._utf8.decode(b"", final=True))
        if not self._whole:
            raise ValueError("no list: it was given up before")
        return self._tasks

    def discard(self) -> None:
        """Free all data; the frames of a traceback keep this decoder alive."""
        self._tasks, self._text, self._fresh = [], "", []
        self._keys.clear()
        self.members.clear()

    def _push(self, text: str) -> None:
        self._fresh.append(text)
        self._waiting += len(text)
        left = len(self._text) - self._at
        if left + self._waiting > MAX_ENTRY_CHARS:
            raise ValueError(f"an entry of more than {MAX_ENTRY_CHARS:,} characters")
        # A truncated value is parsed again once the text has doubled, so the work stays
        # linear.
        if self._waiting < left and not self._ended:
            return
        self._text = self._text[self._at :] + "".join(self._fresh)
        self._at = self._waiting = 0
        self._fresh.clear()
        next(self._reading, None)

    def _answer(self) -> _Nothing:
        yield from self._object(("data", "tasks"), ())
        if found := (yield from self._peek()):
            raise ValueError(f"{found!r} behind the end")
        self._whole = True

    def _object(self, path: tuple[str, ...], inside: tuple[str, ...]) -> _Nothing:
        """Parse an object that contains the tasks at this path."""
        wanted, rest = path[0], path[1:]
        found = False
        more = yield from self._opens("{}", f"an object that has {wanted!r}")
        while more:
            if (yield from self._peek()) != '"':
                raise ValueError("a key that is no text")
            key = str((yield from self._value(":"))[0])
            yield from self._take(":")
            if key != wanted:
                yield from self._member((*inside, key))
            elif found:
                raise ValueError(f"{wanted!r} twice")
            else:
                found = True
                inner = (*inside, key)
                yield from self._object(rest, inner) if rest else self._entries()
            more = (yield from self._take(",}")) == ","
        if not found:
            raise ValueError(f"no {wanted!r} where it should be")

    def _member(self, path: tuple[str, ...]) -> _Nothing:
        value, chars = yield from self._value(",}")
        if chars > _MAX_MEMBER_CHARS:
            value = "..."
        if len(self.members) == _MAX_MEMBERS:
            raise ValueError(f"more than {_MAX_MEMBERS} members beside the tasks")
        # Of duplicate keys, a value that is not empty takes precedence; if two differ,
        # neither can be relied on.
        earlier = self.members.get(path)
        is_clear = not earlier or not value or earlier == value
        self.members[path] = (earlier or value) if is_clear else UNREADABLE

    def _entries(self) -> _Nothing:
        if (yield from self._peek()) == "n":
            if (yield from self._value(",}"))[0] is None:
                return
            raise ValueError("something else where a list of tasks should be")
        more = yield from self._opens("[]", "a list of tasks")
        while more:
            entry = yield from self._entry()
            if len(self._tasks) == MAX_TASKS:
                raise ValueError(f"more than {MAX_TASKS:,} tasks")
            task = parse_task(entry)
            self._held += task_size(task)
            if self._held > MAX_HELD_BYTES:
                mib = MAX_HELD_BYTES // 1024**2
                raise ValueError(f"tasks that take more than {mib} MiB of memory")
            self._tasks.append(task)
            # Inlined for speed.
            if self._skip() == ",":
                self._at += 1
            else:
                more = (yield from self._take(",]")) == ","

    def _entry(self) -> _Json:
        """Parse one entry; an invalid one is skipped up to its end."""
        while True:
            self._skip()
            is_short = len(self._text) - self._at <= MAX_DECODED_CHARS
            if is_short and (read := self._scan(",]")):
                return read[0]
            end, is_deep = find_end(self._text, self._at)
            if end is not None:
                break
            if self._ended:
                raise ValueError(f"cut short behind {len(self._tasks)} tasks")
            yield
        is_long = end - self._at > MAX_DECODED_CHARS
        if not is_long and (read := self._scan(",]")):
            return read[0]
        # If only the size or depth is exceeded, the end is certain; otherwise it is a
        # guess.
        self.broken += not (is_long or is_deep)
        self._at = end
        return UNREADABLE

    def _opens(self, brackets: str, wanted: str) -> _Bool:
        """Consume an opening bracket; return whether the container is not empty."""
        opening, closing = tuple(brackets)
        found = yield from self._peek()
        if found != opening:
            raise ValueError(f"{found!r} where {wanted} should be")
        self._at += 1
        if (yield from self._peek()) != closing:
            return True
        self._at += 1
        return False

    def _take(self, known: str) -> _Text:
        found = yield from self._peek()
        if not found or found not in known:
            raise ValueError(f"{found!r} where one of {known!r} should be")
        self._at += 1
        return found

    def _peek(self) -> _Text:
        """Return the next non-blank character, not consuming it; empty at the end."""
        while not (found := self._skip()) and not self._ended:
            yield
        return found

    def _value(self, ends: str) -> _Value:
        """Parse a value other than an entry, up to one of these delimiters."""
        while True:
            self._skip()
            if read := self._scan(ends):
                return read
            if self._ended:
                raise ValueError(f"no JSON behind {len(self._tasks)} tasks")
            yield

    def _skip(self) -> str:
        """Skip blanks, and return the next available character."""
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at
        return self._text[self._at : self._at + 1]

    def _scan(self, ends: str) -> _Read | None:
        start = self._at
        try:
            value, self._at = self._json.raw_decode(self._text, start)
        except (ValueError, RecursionError):
            return None
        if self._redactor.may_hold_key(self._text[start : self._at]):
            value = self._redactor.redact_value(value)
        read, end = (value, self._at - start), self._at
        # A number at the end of the text may continue in the next piece.
        if (following := self._skip()) and following in ends:
            return read
        if not following:
            # Drop all blanks but one, since there may be any number.
            self._text = self._text[: end + 1]
        self._at = start
        return None

    def _object_of(self, pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        """Build an object; the values of duplicate keys become unreadable."""
        known = self._keys.get
        made = {known(key) or self._share(key): value for key, value in pairs}
        if len(made) < len(pairs):
            times = Counter(key for key, _ in pairs)
            made |= {key: UNREADABLE for key in made if times[key] > 1}
        return made

    def _share(self, key: str) -> str:
        """Return one shared object for equal keys; saves a third of the memory."""
        self._held += getsizeof(key)
        if len(self._keys) < _MAX_SHARED_KEYS:
            self._keys[key] = key
        return key
