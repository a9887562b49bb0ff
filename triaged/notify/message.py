"""A message to people, and what became of sending it to each destination."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as plain text and as HTML, with a subject."""

    subject: str
    text: str
    html: str
    is_warning: bool = False


class Receipt(StrEnum):
    """What became of a message at one destination.

    ``failed`` is definite; a message whose receipt is ``unknown`` may have arrived.
    """

    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The receipt of one destination.

    ``key`` identifies the destination within this process and reveals nothing about
    it. ``line`` is its line in the file, ``service`` the kind of service; ``problem``
    says what went wrong, without any part of the URL.
    """

    key: str
    line: int
    service: str
    receipt: Receipt
    problem: str = ""


class Sender(Protocol):
    """Sends messages to all destinations."""

    def check(self) -> None:
        """Raise ``ConfigError`` if destinations are missing or invalid."""
        ...

    def send(
        self, message: Message, *, skip: frozenset[str] = frozenset()
    ) -> Sequence[Delivery]:
        """Send to all destinations except ``skip``; this may block for some minutes.

        A ``ConfigError`` means that nothing was sent.
        """
        ...
