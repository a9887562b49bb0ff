"""Proxies and TLS from the environment: used, ignored or refused by name."""

import os
import ssl
import stat
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clocks import ManualClock
from tests.connections import OwnConnection
from triaged.errors import ConfigError
from triaged.leadlex.environment import (
    ProxyServer,
    create_tls_context,
    is_bypassed,
    read_proxy,
)

HTTPS: Final = "https://data.leadlex.com/functions/v1/api-gateway"
LOOPBACK: Final = "http://127.0.0.1:8000"
PROXY: Final = "http://proxy.example:3128"
PASSWORD: Final = "s3cret-p4ss"  # noqa: S105 - it must not be shown
NAMES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


def connect(url: str = HTTPS) -> OwnConnection:
    return OwnConnection(base_url=url, key=lambda: "wbk_x", clock=ManualClock())


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"all_proxy": PROXY}, PROXY),
        ({"ALL_PROXY": "socks5://127.0.0.1:9", "HTTPS_PROXY": PROXY}, PROXY),
        ({"HTTPS_PROXY": "", "ALL_PROXY": PROXY}, PROXY),
        ({"HTTPS_PROXY": " "}, None),
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ({"HTTPS_PROXY": "proxy.example"}, "http://proxy.example:80"),
        ({"HTTPS_PROXY": "https://proxy.example/"}, "https://proxy.example:443"),
        ({"HTTPS_PROXY": "HTTP://PROXY.example:3128/x"}, PROXY),
        ({"HTTPS_PROXY": "http://[::1]:8080"}, "http://[::1]:8080"),
        # What https does not use is ignored, whatever it is.
        ({"HTTP_PROXY": "socks5://127.0.0.1:9"}, None),
        ({"http_proxy": "nonsense://"}, None),
        ({"HTTPS_PROXY": "socks5://x", "NO_PROXY": "data.leadlex.com"}, None),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "*"}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, PROXY),
    ],
)
def test_the_proxy_that_applies(environ: dict[str, str], url: str | None) -> None:
    """The variables for https count, as curl reads them; loopback uses none."""
    found = read_proxy(environ, HTTPS)

    assert (found.url if found else None) == url
    assert read_proxy(environ, LOOPBACK) is None


def test_a_password_is_read_and_not_shown() -> None:
    """User and password may be escaped; neither repr nor URL has them."""
    found = read_proxy({"HTTPS_PROXY": f"me%40x:{PASSWORD}@proxy.example"}, HTTPS)

    assert found is not None
    assert (found.user, found.password) == ("me@x", PASSWORD)
    assert found == ProxyServer("http://proxy.example:80", "me@x", PASSWORD)
    assert PASSWORD not in f"{found} {found.url}"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value",
    [
        "socks5://127.0.0.1:9",
        "socks://127.0.0.1:9",
        "socks5h://{}@127.0.0.1:9",
        "ftp://me:{}@proxy",
        "{}://proxy",
        "http://me:{}@proxy:port",
        "http://me:{}@proxy:99999",
        "http://me:{}@",
        "http://me:{}@pro xy",
        "http://me:{}@[::1",
        "http://me:{}@[zz]",
        "me:{}@",
        "http://",
        "://",
        "http:///x",
        "http://pröxy",
        "http://a..b",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named, and no part of its password."""
    for other in NAMES:
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.lower(), raising=False)
    monkeypatch.setenv(name, value.format(PASSWORD))
    with pytest.raises(ConfigError) as raised:
        connect()

    assert str(raised.value).startswith(f"settings: {name}: ")
    assert "http://proxy.example:3128" in str(raised.value)
    assert PASSWORD[:4] not in f"{raised.value} {raised.value.__cause__!r}"
    connect(LOOPBACK)


@pytest.mark.parametrize(
    ("no_proxy", "host", "bypassed"),
    [
        ("*", "data.leadlex.com", True),
        ("data.leadlex.com", "data.leadlex.com", True),
        ("leadlex.com", "data.leadlex.com", True),
        (".leadlex.com", "data.leadlex.com", True),
        ("*.leadlex.com", "data.leadlex.com", True),
        ("LeadLex.COM.", "data.leadlex.com", True),
        ("a, leadlex.com", "data.leadlex.com", True),
        ("a leadlex.com", "data.leadlex.com", True),
        ("leadlex.com:443", "data.leadlex.com", True),
        ("leadlex.com:8443", "data.leadlex.com", False),
        ("https://data.leadlex.com/", "data.leadlex.com", True),
        ("lex.com", "data.leadlex.com", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("[::1]", "::1", True),
        ("::1", "::1", True),
        ("[::1]:443", "::1", True),
        ("[::1]:80", "::1", False),
        ("fd00::/8", "fd00::7", True),
        ("", "data.leadlex.com", False),
        (",,", "data.leadlex.com", False),
        ("[", "data.leadlex.com", False),
        ("10.0.0.0/99", "10.0.0.1", False),
        (":443", "data.leadlex.com", False),
        ("http://", "data.leadlex.com", False),
    ],
)
def test_no_proxy_in_all_its_shapes(
    no_proxy: str, host: str, *, bypassed: bool
) -> None:
    """Names, domains, addresses, networks and ports are understood."""
    assert is_bypassed(host, 443, no_proxy) is bypassed


_values = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["socks5://x", "http://[", "http://a:b@c:d", "::1", "10.0.0.0/8", "http://x:1"]
)


@given(
    st.dictionaries(st.sampled_from([*NAMES, *map(str.lower, NAMES)]), _values),
    st.sampled_from([HTTPS, LOOPBACK, "https://[::1]:8", "https://10.0.0.1"]),
)
def test_any_environment_gives_a_proxy_or_an_error(
    environ: dict[str, str], url: str
) -> None:
    """No value ends in any other exception, here or in the HTTP library."""
    try:
        found = read_proxy(environ, url)
    except ConfigError:
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        if found:
            patch.setenv("HTTPS_PROXY", found.url)
            assert read_proxy(os.environ, HTTPS) == ProxyServer(found.url)


def test_a_proxy_that_was_read_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of any spelling that is accepted here is accepted by httpx too."""
    for host in ("proxy", "a_b.example.", "[::1]:1", "me:p%20w@x:1", "xn--a"):
        monkeypatch.setenv("HTTPS_PROXY", host)
        connect()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("SSL_CERT_FILE", lambda path: path / "missing"),
        ("SSL_CERT_FILE", lambda path: path),
        ("SSL_CERT_FILE", lambda _: Path(__file__)),
        ("SSL_CERT_DIR", lambda path: path / "missing"),
        ("SSLKEYLOGFILE", lambda path: path),
        ("SSLKEYLOGFILE", lambda path: path / "missing" / "log"),
        ("SSLKEYLOGFILE", lambda path: _pipe(path / "pipe")),
        ("SSLKEYLOGFILE", lambda _: Path("/dev/null")),
    ],
)
def test_tls_variables_that_cannot_be_used(
    name: str, make: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named; nothing blocks, and loopback does not need it."""
    assert callable(make)
    monkeypatch.setenv(name, str(make(tmp_path)))
    with pytest.raises(ConfigError, match=f"settings: {name}: "):
        connect()

    connect(LOOPBACK)


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    assert stat.S_ISFIFO(path.stat().st_mode)
    return path


def test_tls_variables_that_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle, a directory and a key log file are taken; names are verified."""
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is not None:
        monkeypatch.setenv("SSL_CERT_FILE", bundle)
    monkeypatch.setenv("SSL_CERT_DIR", f"/missing:{tmp_path}")
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "log"))
    context = create_tls_context(os.environ)

    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
