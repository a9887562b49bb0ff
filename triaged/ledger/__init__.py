"""What was decided, meant and done, durable; one database per state directory."""

from triaged.ledger.ledger import Ledger
from triaged.ledger.locks import DaemonLock, DispatchLock

__all__ = ["DaemonLock", "DispatchLock", "Ledger"]
