"""An HTTP server on loopback that receives the notifications of Apprise's json://."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class WebhookServer:
    """The notification URL of the server, and the messages that it received."""

    url: str
    received: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def webhook_server(path: str = "") -> Iterator[WebhookServer]:
    """Serve until the block ends; a path that ends in digits is answered with them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.received.append(json.loads(body))
            last = self.path.rpartition("/")[2]
            self.send_response(int(last) if last.isdigit() else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        running = WebhookServer(f"json://127.0.0.1:{httpd.server_port}{path}")
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        try:
            yield running
        finally:
            httpd.shutdown()
            thread.join()
