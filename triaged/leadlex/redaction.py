"""Redacts API keys from all output: logs, ledger, status page and terminal.

An error page may echo the Authorization header and task text may quote the key, and
text from the server is written to logs, the status page and the ledger.
"""

import base64
import html
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from triaged.rules.task import Json

# A shorter key could be an ordinary word, and masking it would change task texts.
_MIN_LENGTH: Final = 8
# In a secret this long, a run this long does not occur elsewhere by chance.
_MIN_FOR_RUNS: Final = 16
_RUN: Final = 12
# The number of Base64 characters that encode a run.
_ENCODED_RUN: Final = 16

_PREFIX: Final = re.compile(r"[a-z]+_(?:[a-z]+_)?")
_MASK: Final = "[API key]"
# Escaped characters of JSON, Python, URLs and HTML, possibly nested.
_ESCAPE: Final = re.compile(
    r"\\+u(?:00|\{0*)(?P<json>[0-9a-fA-F]{2})\}?|\\+x(?P<hex>[0-9a-fA-F]{2})"
    r"|\\+(?P<octal>[01][0-7]{2})"
    r"|%(?:25)*(?P<url>[0-9a-fA-F]{2})|&(?:amp;)*(?P<html>#?[0-9a-zA-Z]{1,8};)"
    r"|\\+(?P<other>[^0-9A-Za-z\s])"
)
_MAX_ROUNDS: Final = 4
_HELD_AS_TEXT: Final = (
    "strerror",
    "filename",
    "filename2",
    "reason",
    "object",
    "msg",
    "doc",
)


class _Secret(NamedTuple):
    """A secret of which no run of this length may be shown, except in its prefix."""

    text: str
    run: int
    prefix: int = 0

    def blocks(self) -> Iterator[tuple[int, str]]:
        """Yield (offset, block) pairs such that every run contains one of them."""
        size = (self.run + 1) // 2
        for start in range(0, len(self.text) - size + 1, size):
            yield start, self.text[start : start + size]

    def runs_in(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the spans (start, end) of all maximal runs in a text."""
        for place, block in self.blocks():
            for found in re.finditer(re.escape(block), text):
                at = found.start()
                behind = text[max(0, at - place) : at]
                before = _common(self.text[:place][::-1], behind[::-1])
                after = _common(self.text[place:], text[at : at + len(self.text)])
                if before + after >= self.run and place + after > self.prefix:
                    yield at - before, at + after


class Redactor:
    """Removes keys from external text, in every encoding in which servers echo them."""

    def __init__(self, *keys: str) -> None:
        self._keys: list[str] = []
        self._secrets: list[_Secret] = []
        self._needles: list[str] = []
        for key in keys:
            self.add(key)

    def add(self, key: str) -> None:
        """Redact this key too; keys added earlier remain redacted."""
        if key in self._keys:
            return
        self._keys.append(key)
        self._secrets += _secrets_of(key)
        self._needles = [block for it in self._secrets for _, block in it.blocks()]

    def may_hold_key(self, text: str) -> bool:
        """Return whether a text may contain a key: a fast check that misses none."""
        return self._has_needle(text) or (
            self._is_escaped(text) and self._has_needle(_unescape(text))
        )

    def redact_text(self, text: str) -> str:
        """Return a text without the keys; a text with an escaped key is unescaped."""
        if self._has_needle(text):
            text = self._mask(text)
        if self._is_escaped(text) and self._has_needle(plain := _unescape(text)):
            masked = self._mask(plain)
            return text if masked == plain else masked
        return text

    def redact_value(self, value: Json) -> Json:
        """Return a JSON value with keys removed from all of its strings."""
        match value:
            case str():
                return self.redact_text(value)
            case list():
                return [self.redact_value(item) for item in value]
            case dict():
                return {
                    self.redact_text(key): self.redact_value(item)
                    for key, item in value.items()
                }
            case _:
                return value

    def redact_exception(self, error: BaseException) -> None:
        """Redact an exception and its whole chain of causes and contexts.

        Protocol errors quote the invalid input, and tracebacks include the message.
        """
        seen: set[int] = set()
        links: list[BaseException | None] = [error]
        while links:
            link = links.pop()
            if link is None or id(link) in seen:
                continue
            seen.add(id(link))
            links += [link.__cause__, link.__context__]
            if isinstance(link, BaseExceptionGroup):
                links += link.exceptions
            link.args = tuple(map(self._redact_any, link.args))
            if notes := getattr(link, "__notes__", None):
                notes[:] = map(self._redact_any, notes)
            for name in {*_HELD_AS_TEXT, *vars(link)} - {"__notes__"}:
                held = getattr(link, name, None)
                if isinstance(held, str | bytes | list | tuple):
                    with suppress(AttributeError, TypeError):
                        setattr(link, name, self._redact_any(held))

    def _redact_any(self, value: object) -> object:
        match value:
            case str():
                return self.redact_text(value)
            case bytes():
                return self.redact_text(value.decode("latin-1")).encode("latin-1")
            case list():
                return [self._redact_any(item) for item in value]
            case tuple() if type(value) is tuple:
                return tuple(self._redact_any(item) for item in value)
            case _:
                return value

    def _has_needle(self, text: str) -> bool:
        return any(needle in text for needle in self._needles)

    def _is_escaped(self, text: str) -> bool:
        return "\\" in text or "%" in text or "&" in text

    def _mask(self, text: str) -> str:
        spans = sorted(span for it in self._secrets for span in it.runs_in(text))
        masked, end = [], 0
        for first, last in spans:
            if first >= end:
                masked += [text[end:first], _MASK]
            end = max(end, last)
        return "".join([*masked, text[end:]])


def _secrets_of(key: str) -> Iterator[_Secret]:
    prefix = found.end() if (found := _PREFIX.match(key)) else 0
    if len(key) - prefix >= _MIN_FOR_RUNS:
        yield _Secret(key, _RUN, prefix)
        for encoded in _in_base64(key[prefix:]):
            yield _Secret(encoded, _ENCODED_RUN)
        digits = key[prefix:].encode().hex()
        yield from (_Secret(text, 2 * _RUN) for text in (digits, digits.upper()))
    elif len(key) >= _MIN_LENGTH:
        yield _Secret(key, len(key))


def _in_base64(secret: str) -> Iterable[str]:
    """Yield the Base64 forms of a secret at each alignment within a longer text."""
    forms: set[str] = set()
    for before in range(3):
        padded = b"\0" * before + secret.encode()
        whole = padded[: len(padded) // 3 * 3]
        # The first group also depends on the preceding bytes.
        encoded = base64.b64encode(whole).decode()[4 if before else 0 :]
        forms |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    return sorted(forms)


def _unescape(text: str) -> str:
    for _ in range(_MAX_ROUNDS):
        before, text = text, _ESCAPE.sub(_character, text)
        if text == before:
            break
    return text


def _character(found: re.Match[str]) -> str:
    groups = found.groupdict()
    if digits := groups["json"] or groups["hex"] or groups["url"]:
        return chr(int(digits, 16))
    if groups["octal"]:
        return chr(int(groups["octal"], 8))
    return groups["other"] or html.unescape(f"&{groups['html']}")


def _common(one: str, other: str) -> int:
    for count, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return count
    return min(len(one), len(other))
