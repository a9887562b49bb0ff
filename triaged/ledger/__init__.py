"""The durable record of decisions, intents and outcomes: one database per directory."""

from triaged.ledger.ledger import Ledger
from triaged.ledger.locks import DaemonLock, DispatchLock

__all__ = ["DaemonLock", "DispatchLock", "Ledger"]
