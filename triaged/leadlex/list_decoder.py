"""A list answer read while it comes in, task by task, and within limits.

Neither the bytes nor the raw tree of the whole answer ever exist: what a broken or
hostile server can make us hold is bounded by the limits below, whatever it sends.
"""

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Generator
from typing import Final, NoReturn, TypeAlias

from triaged.rules.task import Json, Task, parse_task

# A workspace of 100,000 long tasks fits; anything beyond is not a list answer.
MAX_TASKS: Final = 200_000
# In [[],[],[]] a value takes two bytes of theirs and eighty of ours.
MAX_VALUES: Final = 3_000_000
# An entry is held as text until it is whole, at up to four bytes a character.
MAX_ENTRY_CHARS: Final = 16 * 1024 * 1024

_FEED_BYTES: Final = 64 * 1024
_NUMBER_CONTINUATION: Final = ("", ".", "e", "E")
_BLANKS: Final = re.compile(r"[ \t\n\r]*")

# A step of the reading: it yields when it needs more text, and returns what it read.
_Text: TypeAlias = Generator[None, None, str]
_Bool: TypeAlias = Generator[None, None, bool]
_Json: TypeAlias = Generator[None, None, Json]
_Nothing: TypeAlias = Generator[None, None, None]


def reject_constant(name: str) -> NoReturn:
    """Refuse what Python takes for JSON and RFC 8259 does not: NaN and Infinity."""
    message = f"{name} is not JSON"
    raise ValueError(message)


class ListDecoder:
    """Reads ``{"data": {"tasks": [...]}}``, given in pieces, into tasks.

    A broken entry becomes a malformed task.  Other members are read and dropped.
    """

    def __init__(self) -> None:
        self._utf8 = getincrementaldecoder("utf-8")()
        self._keys: dict[str, str] = {}
        self._json = json.JSONDecoder(
            object_pairs_hook=self._object_of, parse_constant=reject_constant
        )
        self._tasks: list[Task] = []
        self._values = 0
        # What is being read, from where on, and what has come since it was cut short.
        self._text, self._at = "", 0
        self._fresh: list[str] = []
        self._waiting = 0
        self._ended = self._whole = False
        self._reading = self._answer()

    def feed(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            ValueError: this cannot become a list of tasks any more.
        """
        for start in range(0, len(piece), _FEED_BYTES):
            step = piece[start : start + _FEED_BYTES]
            self._values += step.count(b",") + step.count(b"[") + step.count(b"{")
            if self._values > MAX_VALUES:
                raise ValueError(f"more than {MAX_VALUES:,} values")
            self._push(self._utf8.decode(step))

    def close(self) -> list[Task]:
        """Return the tasks, now that all bytes have come.

        Raises:
            ValueError: they are no list of tasks, or not a whole one.
        """
        self._ended = True
        self._push(self._utf8.decode(b"", final=True))
        if not self._whole:
            raise ValueError("no list: it was given up before")
        return self._tasks

    def discard(self) -> None:
        """Let go of all that was read; an error keeps its frames, and they us."""
        self._tasks, self._text, self._fresh = [], "", []
        self._keys.clear()

    def _push(self, text: str) -> None:
        self._fresh.append(text)
        self._waiting += len(text)
        left = len(self._text) - self._at
        if left + self._waiting > MAX_ENTRY_CHARS:
            raise ValueError(f"an entry of more than {MAX_ENTRY_CHARS:,} characters")
        # What was cut is read again once it has doubled: the work stays linear.
        if self._waiting < left and not self._ended:
            return
        self._text = self._text[self._at :] + "".join(self._fresh)
        self._at = self._waiting = 0
        self._fresh.clear()
        next(self._reading, None)

    def _answer(self) -> _Nothing:
        yield from self._object(("data", "tasks"))
        if found := (yield from self._peek()):
            raise ValueError(f"{found!r} behind the end")
        self._whole = True

    def _object(self, path: tuple[str, ...]) -> _Nothing:
        """Read an object that holds the tasks at this path."""
        wanted, rest = path[0], path[1:]
        found = False
        more = yield from self._opens("{}", f"an object that has {wanted!r}")
        while more:
            if (yield from self._peek()) != '"':
                raise ValueError("a key that is no text")
            key = yield from self._value()
            yield from self._take(":")
            if key != wanted:
                yield from self._value()
            elif found:
                raise ValueError(f"{wanted!r} twice")
            else:
                found = True
                yield from self._object(rest) if rest else self._entries()
            more = (yield from self._take(",}")) == ","
        if not found:
            raise ValueError(f"no {wanted!r} where it should be")

    def _entries(self) -> _Nothing:
        more = yield from self._opens("[]", "a list of tasks")
        while more:
            while (found := self._scan()) is None:
                yield
            if len(self._tasks) == MAX_TASKS:
                raise ValueError(f"more than {MAX_TASKS:,} tasks")
            self._tasks.append(parse_task(found[0]))
            # As _take, which costs more.
            if self._skip() == ",":
                self._at += 1
            else:
                more = (yield from self._take(",]")) == ","

    def _opens(self, brackets: str, wanted: str) -> _Bool:
        """Take an opening bracket; say whether anything is between it and the other."""
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
        """Look at the next character that is not blank; empty at the end."""
        while not (found := self._skip()) and not self._ended:
            yield
        return found

    def _value(self) -> _Json:
        while (found := self._scan()) is None:
            yield
        return found[0]

    def _skip(self) -> str:
        """Skip blanks, and return what is next in the text that is there."""
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at
        return self._text[self._at : self._at + 1]

    def _scan(self) -> tuple[Json] | None:
        """Read one value; None while it is not there as a whole."""
        self._skip()
        problem = "cut short"
        try:
            value, end = self._json.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            problem = error.msg
        except RecursionError:
            problem, self._ended = "nested too deeply", True
        else:
            # A number at the end of the text may go on in what comes next.
            if self._text[end : end + 1] not in _NUMBER_CONTINUATION:
                self._at = end
                return (value,)
        # Out of the handler: an error of json's holds all of the text.
        if self._ended:
            raise ValueError(f"no JSON behind {len(self._tasks)} tasks: {problem}")
        return None

    def _object_of(self, pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        """Make an object; all tasks share its keys, a third of their memory."""
        shared = self._keys.setdefault
        return {shared(key, key): value for key, value in pairs}
