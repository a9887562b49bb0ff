"""Keeps the API key out of everything that is written: logs, ledger, page, terminal."""

import base64
import html
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Final
from urllib.parse import quote

# A shorter one is a word, which tasks use too: to mask it would change what they say.
_MIN_LENGTH: Final = 8


# Of a secret this long, a part this long is never anything else by chance.
_MIN_FOR_FRAGMENTS: Final = 16


_FRAGMENT: Final = 12


_PREFIX: Final = re.compile(r"[a-z]+_(?:[a-z]+_)?")


_MASK: Final = b"[API key]"


class Redactor:
    """Takes the key out of what comes from outside, in each form that servers echo.

    An error page may repeat the Authorization header, a task's text may quote the key;
    and what a server says ends up in logs, on the page and in the ledger.
    """

    def __init__(self, key: str) -> None:
        found = (
            {form.encode() for form in _encodings_of(key)}
            if len(key) >= _MIN_LENGTH
            else ()
        )
        forms = sorted(found, key=len, reverse=True)
        self._forms = tuple(forms)
        self._pattern = re.compile(b"|".join(re.escape(form) for form in forms))
        # So much of a piece may be the beginning of a key that the next one ends.
        self._kept = len(forms[0]) - 1 if forms else 0

    def redact_bytes(self, raw: bytes) -> bytes:
        """Return bytes without the key."""
        return self._pattern.sub(_MASK, raw) if self._is_in(raw) else raw

    def redact_text(self, text: str) -> str:
        """Return a text without the key."""
        raw = text.encode(errors="surrogatepass")
        return self.redact_bytes(raw).decode(errors="surrogatepass")

    def redact_exception(self, error: Exception) -> None:
        """Take the key out of an error and from all that it comes from.

        A protocol's error quotes what it could not read, and a traceback quotes it.
        """
        link: BaseException | None = error
        while link is not None:
            link.args = tuple(
                self.redact_text(arg) if isinstance(arg, str) else arg
                for arg in link.args
            )
            link = link.__cause__ or link.__context__

    async def redact_stream(self, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Pass on an answer without the key, which may lie across two pieces."""
        raw = b""
        async for piece in pieces:
            raw += piece
            cut = self._cut(raw)
            if cut > 0:
                yield self.redact_bytes(raw[:cut])
                raw = raw[cut:]
        if raw:
            yield self.redact_bytes(raw)

    def _cut(self, raw: bytes) -> int:
        """Return where to cut, so that no key is cut in two."""
        cut = len(raw) - self._kept
        if cut > 0 and self._is_in(raw):
            for found in self._pattern.finditer(raw):
                if found.start() < cut < found.end():
                    return found.end()
        return cut

    def _is_in(self, raw: bytes) -> bool:
        # Many times as quick as the pattern, and nearly always the end of it.
        return any(form in raw for form in self._forms)


def _encodings_of(key: str) -> Iterator[str]:
    parts = [key]
    # Masked by its end or its beginning, the rest still tells; the prefix does not.
    secret = _PREFIX.sub("", key, count=1)
    if len(secret) >= _MIN_FOR_FRAGMENTS:
        parts += [secret, secret[:_FRAGMENT], secret[-_FRAGMENT:]]
        yield from _in_base64(secret)
    for part in parts:
        yield from (part, html.escape(part), quote(part, safe=""))
        # A message in JSON may quote JSON.
        once = json.dumps(part)[1:-1]
        yield from (once, json.dumps(once)[1:-1])


def _in_base64(secret: str) -> Iterator[str]:
    """Encode a text as it looks inside a longer one, wherever it begins there."""
    for before in range(3):
        padded = b"\0" * before + secret.encode()
        whole = padded[: len(padded) // 3 * 3]
        # The first group mixes with what stands before.
        encoded = base64.b64encode(whole).decode()[4 if before else 0 :]
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")
