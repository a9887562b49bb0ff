"""Decides which form requests are accepted, and who sent them: pure functions.

In doubt a request is refused: the command line can do the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from triaged.text import escape_unprintable

MAX_ACTOR_CHARS: Final = 100


@dataclass(frozen=True, slots=True)
class Allowance:
    """Requests a second, and how many may come at once."""

    per_second: float
    burst: int


PER_PEER: Final = Allowance(per_second=2, burst=5)
TOTAL: Final = Allowance(per_second=5, burst=20)
_ROUNDING: Final = 1e-6


class RequestLimiter:
    """Limits requests by peer and in total; times are monotonic seconds."""

    def __init__(
        self, per_peer: Allowance = PER_PEER, total: Allowance = TOTAL
    ) -> None:
        self._per_peer = per_peer
        self._total = total
        # When the allowance of each peer, and of all together, is whole again.
        self._peers: dict[str, float] = {}
        self._all = 0.0

    def admit(self, peer: str, *, now: float) -> bool:
        """Return whether a request is within both limits; only then it counts."""
        # What is whole again is like new, so the total limit bounds what is kept.
        self._peers = {name: at for name, at in self._peers.items() if at > now}
        of_peer = _charge(self._per_peer, self._peers.get(peer, now), now)
        of_all = _charge(self._total, self._all, now)
        if of_peer is None or of_all is None:
            return False
        self._peers[peer] = of_peer
        self._all = of_all
        return True


def _charge(allowance: Allowance, whole_at: float, now: float) -> float | None:
    """Return when the allowance is whole after one more request; None if refused."""
    after = max(whole_at, now) + 1 / allowance.per_second
    spent = (after - now) * allowance.per_second
    # Sums of fractions differ from the whole in their last digits.
    return after if spent <= allowance.burst + _ROUNDING else None


def is_same_origin(
    *, origins: Sequence[str], fetch_sites: Sequence[str], host: str
) -> bool:
    """Return whether a browser sent the request from a page of this server.

    Takes all values of ``Origin`` and ``Sec-Fetch-Site``. Browsers send the second one
    over TLS and to loopback; it is right even where a proxy has replaced ``Host``.
    """
    if len(origins) != 1 or origins[0] == "null":
        return False
    if fetch_sites:
        return list(fetch_sites) == ["same-origin"]
    try:
        origin = urlsplit(origins[0])
    except ValueError:
        return False
    return origin.scheme in {"http", "https"} and origin.netloc.lower() == host.lower()


def actor(*, peer: str, names: Sequence[str]) -> str:
    """Return who acts: the name that a proxy on loopback gives, else the peer.

    Any client beyond loopback could send the header itself. Two values may be one of
    the proxy and one of the client, so they count as none.
    """
    named = _clean(names[0]) if len(names) == 1 and _is_loopback(peer) else ""
    return f"{named or _clean(peer)} on the page"


def _clean(text: str) -> str:
    return escape_unprintable(text.strip())[:MAX_ACTOR_CHARS].strip()


def _is_loopback(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
