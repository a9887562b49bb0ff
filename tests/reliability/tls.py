"""Servers with certificates of a test's own making, and servers that send elsewhere."""

import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

EMPTY: Final = json.dumps({"data": {"tasks": []}}).encode()


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A certificate authority that no client trusts by default."""

    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.pem"

    def make(self) -> None:
        """Make its own key and certificate."""
        self._openssl(
            *("req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"),
            *("-subj", "/CN=untrusted authority", "-newkey", "rsa:2048", "-nodes"),
        )

    def issue(self, name: str, *, names: str, days: int = 2) -> Path:
        """Issue a certificate for names such as ``IP:127.0.0.1``; return its file."""
        key, asked, issued = f"{name}.key", f"{name}.csr", f"{name}.pem"
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", asked),
            *("-subj", "/CN=server"),
        )
        self._openssl(
            *("x509", "-req", "-in", asked, "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-out", issued, "-days", str(days)),
            *("-extfile", extensions.name),
        )
        both = self.directory / f"{name}.both"
        parts = [self.directory / part for part in (key, issued)]
        both.write_text("".join(part.read_text() for part in parts))
        return both

    def _openssl(self, *words: str) -> None:
        subprocess.run(
            ["openssl", *words],  # noqa: S607 - the machine's own
            cwd=self.directory,
            check=True,
            capture_output=True,
        )


@dataclass
class Seen:
    """Where a server listens, and what it was asked."""

    port: int
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving(
    certificate: Path | None = None, *, status: int = 200, location: str = ""
) -> Iterator[Seen]:
    """Answer everything alike until the block ends; with a certificate over TLS."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.headers.append(dict(self.headers.items()))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(EMPTY)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(EMPTY)

        do_POST = do_GET  # noqa: N815 - the name is the method's

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        seen = Seen(server.server_address[1])
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # At the first byte, in the connection's own thread: a refusal is no crash.
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()
