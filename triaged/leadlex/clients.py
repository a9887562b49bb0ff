"""The HTTP clients of a process, which its workspaces share; based on httpx."""

import os
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from triaged import __version__
from triaged.leadlex.environment import ProxyServer, create_tls_context, read_proxy

CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 30.0
# Connections without a call that are kept open, for each client.
MAX_IDLE_CONNECTIONS: Final = 64


class HttpClients:
    """The HTTP clients of a process: one for each proxy, shared by all workspaces.

    A TLS context takes much memory, so all https clients share one. Keys are no part
    of a client: each request carries its own.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._tls: ssl.SSLContext | None = None
        self._clients: dict[tuple[bool, ProxyServer | None], httpx.AsyncClient] = {}
        # Only httpx's own transport reports when it begins to write.
        self.is_traced = transport is None or isinstance(
            transport, httpx.AsyncHTTPTransport
        )

    def client_for(self, base_url: str) -> tuple[httpx.AsyncClient, ProxyServer | None]:
        """Return the client for a URL, and its proxy; ``ConfigError`` of a variable."""
        proxy = None if self._transport else read_proxy(os.environ, base_url)
        kind = base_url.startswith("https:"), proxy
        if kind not in self._clients:
            self._clients[kind] = self._new_client(*kind)
        return self._clients[kind], proxy

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    def _new_client(
        self,
        is_secure: bool,  # noqa: FBT001 - half of the key of a client
        proxy: ProxyServer | None,
    ) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            # The callers bound the calls in flight. A bound here would let workspaces
            # whose server does not answer block all others.
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=MAX_IDLE_CONNECTIONS
            ),
            follow_redirects=False,
            # This program reads the environment itself, to name the variable that is
            # invalid.
            trust_env=False,
            verify=self._tls_context(is_secure=is_secure),
            proxy=_proxy_of(proxy),
            transport=self._transport,
            # An unencodable cookie would make all later calls fail, so cookies are
            # rejected.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={
                "User-Agent": f"triaged/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    def _tls_context(self, *, is_secure: bool) -> ssl.SSLContext:
        if not is_secure:
            # Plain http to loopback needs no CA certificates.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._tls is None:
            self._tls = create_tls_context(os.environ)
        return self._tls


def _proxy_of(proxy: ProxyServer | None) -> httpx.Proxy | None:
    if proxy is None:
        return None
    has_auth = proxy.user is not None or proxy.password is not None
    auth = (proxy.user or "", proxy.password or "") if has_auth else None
    return httpx.Proxy(proxy.url, auth=auth)
