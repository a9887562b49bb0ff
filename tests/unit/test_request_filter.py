"""Which form requests are accepted, and who is said to have sent them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.daemon.request_filter import (
    MAX_ACTOR_CHARS,
    Allowance,
    RequestLimiter,
    actor,
    is_same_origin,
)

HERE = "127.0.0.1:9464"


@pytest.mark.parametrize(
    ("origins", "sites", "host", "accepted"),
    [
        ([f"http://{HERE}"], ["same-origin"], HERE, True),
        ([f"http://{HERE}"], [], HERE, True),
        (["http://LOCALHOST:9464"], [], "localhost:9464", True),
        # A proxy that ends TLS and sends a Host of its own.
        (["https://triaged.example"], ["same-origin"], HERE, True),
        (["https://triaged.example"], [], "triaged.example", True),
        (["https://triaged.example"], [], HERE, False),
        (["https://evil.example"], ["cross-site"], HERE, False),
        (["https://evil.example"], [], HERE, False),
        # Another service of the same machine.
        (["http://127.0.0.1:8080"], ["same-site"], HERE, False),
        (["http://127.0.0.1:8080"], [], HERE, False),
        (["null"], ["same-origin"], HERE, False),
        (["null"], [], "null", False),
        ([], ["same-origin"], HERE, False),
        ([], [], HERE, False),
        ([f"http://{HERE}", f"http://{HERE}"], ["same-origin"], HERE, False),
        ([f"http://{HERE}"], ["none"], HERE, False),
        ([f"http://{HERE}"], ["same-origin", "cross-site"], HERE, False),
        ([f"http://user@{HERE}"], [], HERE, False),
        (["http://[::1"], [], "[::1", False),
        (["file://"], [], "", False),
        ([HERE], [], HERE, False),
    ],
)
def test_only_pages_of_this_server_send_forms(
    origins: list[str], sites: list[str], host: str, accepted: bool
) -> None:
    """Another origin, an opaque one, none or two of them are refused."""
    found = is_same_origin(origins=origins, fetch_sites=sites, host=host)

    assert found is accepted


@pytest.mark.parametrize(
    ("peer", "names", "named"),
    [
        ("127.0.0.1", ["petra"], "petra"),
        ("::1", [" petra "], "petra"),
        ("::ffff:127.0.0.1", ["petra"], "petra"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["  "], "127.0.0.1"),
        ("127.0.0.1", ["petra", "root"], "127.0.0.1"),
        ("10.1.2.3", ["petra"], "10.1.2.3"),
        ("::ffff:10.1.2.3", ["petra"], "::ffff:10.1.2.3"),
        ("an unknown address", ["petra"], "an unknown address"),
        ("127.0.0.1", ["a\x1b[31m\u202eb"], "a\\x1b[31m\\u202eb"),
        ("127.0.0.1", ["x" * 500], "x" * MAX_ACTOR_CHARS),
    ],
)
def test_who_acts(peer: str, names: list[str], named: str) -> None:
    """Only a peer on loopback may name somebody else, once, in printable text."""
    assert actor(peer=peer, names=names) == f"{named} on the page"


@given(st.text(), st.lists(st.text(), max_size=2))
def test_who_acts_is_always_short_and_printable(peer: str, names: list[str]) -> None:
    """Whatever a client sends, it names the page and changes no terminal."""
    found = actor(peer=peer, names=names)

    assert found.isprintable()
    assert found.endswith(" on the page")
    assert len(found) <= MAX_ACTOR_CHARS + len(" on the page")


def test_a_peer_has_its_own_allowance() -> None:
    """A burst, then so many a second; others are not kept waiting by it."""
    limiter = RequestLimiter(Allowance(per_second=2, burst=5), Allowance(5, 20))
    burst = [limiter.admit("a", now=0.0) for _ in range(7)]

    assert burst == [True] * 5 + [False] * 2
    assert limiter.admit("b", now=0.0)
    assert not limiter.admit("a", now=0.4)
    assert limiter.admit("a", now=0.5)
    assert not limiter.admit("a", now=0.5)


def test_many_peers_share_a_total() -> None:
    """However many addresses a client has, all together are limited."""
    limiter = RequestLimiter(Allowance(2, 5), Allowance(per_second=5, burst=20))
    admitted = [limiter.admit(f"10.0.0.{n}", now=0.0) for n in range(100)]

    assert sum(admitted) == 20
    assert limiter.admit("10.0.1.1", now=0.2)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 0.5)), min_size=1, max_size=80
    )
)
def test_no_sequence_exceeds_the_limits(steps: list[tuple[str, float]]) -> None:
    """In any span, admitted requests are at most the burst and the rate's share."""
    limiter = RequestLimiter(Allowance(2, 3), Allowance(4, 6))
    now, admitted = 0.0, []
    for peer, passed in steps:
        now += passed
        if limiter.admit(peer, now=now):
            admitted.append((now, peer))

    for start, _ in admitted:
        later = [(at, peer) for at, peer in admitted if at >= start]
        for at, of in later:
            within = [peer for when, peer in later if when <= at]
            assert len(within) <= 6 + 4 * (at - start) + 1e-3
            assert within.count(of) <= 3 + 2 * (at - start) + 1e-3
