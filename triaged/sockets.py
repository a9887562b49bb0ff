"""Listening sockets."""

import socket

from triaged.errors import ConfigError, Problem


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; port 0 is any free one.

    Raises:
        ConfigError: the address cannot be bound.
    """
    try:
        return _bound(host, port)
    except OSError as error:
        why = f"{host}:{port} cannot be bound: {error.strerror}"
        problem = Problem("settings", 0, 0, "TRIAGED_LISTEN", why)
        raise ConfigError([problem]) from error


def _bound(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # asyncio sets TCP_NODELAY only on sockets that say that they are TCP.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
