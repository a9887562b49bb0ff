"""The proxy and TLS settings of the environment for calls to LeadLex.

They are read and checked before the first call, so that an error names the invalid
variable instead of occurring inside a library.
"""

import ipaddress
import os
import re
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from triaged.errors import ConfigError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_OTHER_PROXIES: Final = ("socks", "socks4", "socks4a", "socks5", "socks5h", "ftp")
_EXPECTED: Final = "expected an HTTP proxy such as http://proxy.example:3128"


@dataclass(frozen=True, slots=True)
class ProxyServer:
    """An HTTP proxy; its repr shows neither user nor password."""

    url: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def read_proxy(environ: Mapping[str, str], base_url: str) -> ProxyServer | None:
    """Return the proxy to the API; plain http stays on loopback and needs none.

    A ``ConfigError`` names the variable that is invalid, and not its value.
    """
    target = urlsplit(base_url)
    if target.scheme != "https":
        return None
    name = _first_set(environ, "HTTPS_PROXY", "ALL_PROXY")
    if name is None:
        return None
    bypass = _first_set(environ, "NO_PROXY")
    port = target.port or _DEFAULT_PORTS["https"]
    if bypass and is_bypassed(target.hostname or "", port, environ[bypass]):
        return None
    try:
        return _parse_proxy(environ[name].strip())
    except ValueError as error:
        raise ConfigError.of_setting(name, str(error)) from None


def is_bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Return whether ``NO_PROXY`` covers a host, by name, domain or IP network."""
    return any(_covers(entry, host, port) for entry in re.split(r"[\s,;]+", no_proxy))


def create_tls_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that verifies the server, by OpenSSL's variables.

    A ``ConfigError`` names the variable that is invalid.
    """
    if file := environ.get("SSL_CERT_FILE"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except (OSError, ValueError) as error:
            why = f"no certificates can be read from it ({_why(error)})"
            raise ConfigError.of_setting("SSL_CERT_FILE", why) from None
    directories = environ.get("SSL_CERT_DIR", "").split(os.pathsep)
    if any(directories) and not any(Path(part).is_dir() for part in directories):
        raise ConfigError.of_setting("SSL_CERT_DIR", "it names no directory")
    if keylog := environ.get("SSLKEYLOGFILE"):
        _check_keylog(keylog)
    try:
        return ssl.create_default_context()
    except (OSError, ValueError) as error:
        name = "SSLKEYLOGFILE" if keylog else "SSL_CERT_FILE"
        raise ConfigError.of_setting(
            name, f"TLS cannot be set up ({_why(error)})"
        ) from None


def _check_keylog(path: str) -> None:
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ConfigError.of_setting("SSLKEYLOGFILE", "it is no regular file")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        why = f"it cannot be written ({_why(error)})"
        raise ConfigError.of_setting("SSLKEYLOGFILE", why) from None


def _first_set(environ: Mapping[str, str], *names: str) -> str | None:
    """Return the variable that applies; lower case takes precedence, as usual."""
    spellings = [spelling for name in names for spelling in (name.lower(), name)]
    return next((it for it in spellings if environ.get(it, "").strip()), None)


def _parse_proxy(text: str) -> ProxyServer:
    """Parse a proxy URL; error messages show at most a well-known scheme."""
    scheme = text.partition("://")[0].lower()
    if scheme in _OTHER_PROXIES:
        raise ValueError(f"a {scheme} proxy cannot be used; {_EXPECTED}")
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if parts.scheme not in _DEFAULT_PORTS or not _is_host(host):
        raise ValueError(_EXPECTED)
    place = f"[{host}]" if ":" in host else host
    return ProxyServer(
        url=f"{parts.scheme}://{place}:{port or _DEFAULT_PORTS[parts.scheme]}",
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return bool(ipaddress.IPv6Address(host))
        except ValueError:
            return False
    labels = host.removesuffix(".").split(".")
    return all(re.fullmatch(r"[A-Za-z0-9_-]{1,63}", label) for label in labels)


def _covers(entry: str, host: str, port: int) -> bool:
    """Return whether a ``NO_PROXY`` entry covers a host; an invalid one never does."""
    entry = entry.strip().lower().rpartition("://")[2].rstrip("/")
    host = host.lower().rstrip(".")
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(
            entry.strip("[]"), strict=False
        )
    except ValueError:
        pass
    name, colon, only_port = entry.rpartition(":")
    if colon and only_port.isdigit() and (":" not in name or name.endswith("]")):
        if int(only_port[:6]) != port:
            return False
        entry = name.strip("[]")
    domain = entry.removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _why(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or getattr(error, "reason", None)
    return str(reason or type(error).__name__)
