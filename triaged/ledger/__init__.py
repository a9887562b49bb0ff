"""What was decided, meant and done, durable; one database per state directory."""

from triaged.ledger.ledger import Ledger
from triaged.ledger.lock import DaemonLock, GateLock

__all__ = ["DaemonLock", "GateLock", "Ledger"]
