"""One attempt to send a message: what it sends, and what became of it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from triaged.errors import ConfigError
from triaged.ledger.notifications import NotificationOutcome
from triaged.notify.message import Delivery, Message, Receipt, Sender


def run_in_thread(work: Callable[[], None]) -> None:
    """Start work in a thread that does not keep the process from ending."""
    threading.Thread(target=work, name="notify", daemon=True).start()


def run_at_once(work: Callable[[], None]) -> None:
    """Do work before returning, for a process that ends afterwards."""
    work()


@dataclass(slots=True)
class SendAttempt:
    """A message that is being sent, and the names under which the ledger has it.

    ``skip`` are the destinations that have it already, or may have it. The results are
    complete once ``is_over`` is set; ``deadline`` is on the monotonic clock.
    """

    names: Sequence[str]
    message: Message
    skip: frozenset[str]
    deadline: float
    deliveries: Sequence[Delivery] = ()
    refused: ConfigError | None = None
    error: Exception | None = None
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self, sender: Sender) -> None:
        """Send; keeps an error instead of raising it, since a thread may run this."""
        try:
            self.deliveries = sender.send(self.message, skip=self.skip)
        except ConfigError as error:
            self.refused = error
        except Exception as error:  # noqa: BLE001 - the notifier reports it
            self.error = error
        finally:
            self.is_over.set()

    @property
    def reached(self) -> frozenset[str]:
        """The destinations that have the message, or may have it."""
        return self.skip | {
            each.key for each in self.deliveries if each.receipt is not Receipt.FAILED
        }

    def outcome(self) -> NotificationOutcome:
        if self.refused is not None:
            return NotificationOutcome.FAILED
        if self.error is not None:
            return NotificationOutcome.UNKNOWN
        receipts = {each.receipt for each in self.deliveries}
        if Receipt.FAILED in receipts:
            some = self.reached
            return NotificationOutcome.PARTIAL if some else NotificationOutcome.FAILED
        if Receipt.UNKNOWN in receipts:
            return NotificationOutcome.UNKNOWN
        return NotificationOutcome.SENT

    def problems(self) -> list[str]:
        """Return what went wrong, without any part of a notification URL."""
        if self.refused is not None:
            return str(self.refused).splitlines()
        if self.error is not None:
            # Only its type: the text of a library's error may contain a URL.
            return [type(self.error).__name__]
        return [
            f"line {each.line} ({each.service}): {each.problem}"
            for each in self.deliveries
            if each.receipt is not Receipt.SENT
        ]
