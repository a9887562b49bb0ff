"""A TCP proxy in a thread, which can cut a connection at a chosen moment."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator


class TcpProxy:
    """Passes bytes on, but not the answer to those that ``drop_answer_to`` finds."""

    def __init__(self, port: int) -> None:
        self.drop_answer_to: Callable[[bytes], bool] = lambda _: False
        self.accepts = True
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Break every connection."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break every connection and take no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.accepts:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            lost = threading.Event()
            for work in (
                lambda c=client, s=server, e=lost: self._forward(c, s, e),
                lambda c=client, s=server, e=lost: self._answer(s, c, e),
            ):
                thread = threading.Thread(target=work, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forward(
        self, client: socket.socket, server: socket.socket, lost: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.drop_answer_to(data):
                    lost.set()
                server.sendall(data)
        _end(server)

    def _answer(
        self, server: socket.socket, client: socket.socket, lost: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if lost.is_set():
                    break
                client.sendall(data)
        _end(client)
        _end(server)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def tcp_proxy(port: int) -> Iterator[TcpProxy]:
    """Run a proxy in front of a port of loopback while the block lasts."""
    proxy = TcpProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
