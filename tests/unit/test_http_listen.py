"""Binding every address: both protocols, or IPv4 where there is no other."""

import socket

import pytest

from triaged.daemon.serving import listen


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_every_address_is_of_both_protocols(address: str) -> None:
    """A daemon that listens on [::] is reached by IPv4 and by IPv6."""
    with listen("::", 0) as listener:
        port = listener.getsockname()[1]

        socket.create_connection((address, port), timeout=5).close()


def test_a_machine_without_ipv6_listens_on_ipv4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the kernel has no IPv6, [::] means every address that there is."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen("::", 0) as listener:
        host, port = listener.getsockname()

        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    assert host == "0.0.0.0"  # noqa: S104 - that is the point
