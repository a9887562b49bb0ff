"""Makes external text harmless in messages, for any service that shows them.

Chat services interpret Markdown, mentions and links also in plain text. Characters that
begin one of these are replaced by look-alikes, so that no task can notify a channel,
hide a link behind a name, or pass as part of the message.
"""

import re
from typing import Final

from triaged.text import escape_unprintable

MAX_LENGTH: Final = 100

_LOOK_ALIKES: Final = str.maketrans(
    {
        "@": "\uff20",
        "<": "\uff1c",
        ">": "\uff1e",
        "[": "\uff3b",
        "]": "\uff3d",
        "*": "\uff0a",
        "_": "\uff3f",
        "~": "\uff5e",
        "`": "\uff40",
        "|": "\uff5c",
        "#": "\uff03",
        "\\": "\uff3c",
    }
)
# Clients turn a scheme, and words that are joined by dots, into a link.
_SLASHES: Final = ("://", ":\u2215\u2215")
_HOST_DOT: Final = re.compile(r"(?<=\S)\.(?=\w)")
_DOT: Final = "\u2024"


def shorten(text: str, *, limit: int = MAX_LENGTH) -> str:
    """Return external text in one line of limited length, all of it visible."""
    # Cut first: escaping hundreds of control characters would be slow for nothing.
    cut = text[: 4 * limit]
    line = escape_unprintable(" ".join(cut.split()))
    is_cut = len(line) > limit or len(text) > len(cut)
    return f"{line[: limit - 1].rstrip()}\u2026" if is_cut else line


def without_links(text: str) -> str:
    """Replace the characters by which a client recognizes a link in plain text."""
    return _HOST_DOT.sub(_DOT, text.replace(*_SLASHES))


def neutralize(text: str) -> str:
    """Replace the characters by which a chat service recognizes links and markup."""
    return without_links(text).translate(_LOOK_ALIKES)
