"""A TCP proxy in threads, which can cut a connection at a chosen moment."""

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
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._running: set[threading.Thread] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def cut(self) -> None:
        """Break every connection."""
        with self._lock:
            for each in self._open:
                _end(each)

    def close(self) -> None:
        """Break every connection and take no more."""
        _end(self._listener)
        self._listener.close()
        self._accepting.join(10)
        self.cut()
        with self._lock:
            running = list(self._running)
        for thread in running:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            with self._lock:
                self._running.add(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        """Pass bytes on in both directions until one of them ends."""
        with client, contextlib.suppress(OSError):
            if self.accepts:
                with socket.create_connection(("127.0.0.1", self._target)) as server:
                    self._pass_on(client, server)
        with self._lock:
            self._running.discard(threading.current_thread())

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            self._open |= {client, server}
        lost = threading.Event()
        answering = threading.Thread(
            target=self._answer, args=(server, client, lost), daemon=True
        )
        answering.start()
        try:
            with contextlib.suppress(OSError):
                while data := client.recv(65536):
                    if self.drop_answer_to(data):
                        lost.set()
                    server.sendall(data)
            _end(server)
            answering.join()
        finally:
            with self._lock:
                self._open -= {client, server}

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
