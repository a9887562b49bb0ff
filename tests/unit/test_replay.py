"""An answer that comes again is told from the answer to what was asked."""

from triaged.leadlex.replay import ReplayDetector

HEAD = ((b"X-Request-Id", b"req_1"), (b"Date", b"Sun, 01 Mar 2026 00:00:00 GMT"))


def test_the_same_head_again_is_an_echo() -> None:
    """The same request id with all that came along with it is no new answer."""
    echoes = ReplayDetector()

    assert [echoes.is_replay(HEAD) for _ in range(3)] == [False, True, True]


def test_another_head_is_another_answer() -> None:
    """A request id that comes again beside anything else new is a new answer."""
    echoes = ReplayDetector()
    echoes.is_replay(HEAD)

    assert not echoes.is_replay((*HEAD, (b"X-RateLimit-Remaining", b"7")))


def test_without_a_request_id_nothing_is_an_echo() -> None:
    """Equal heads prove nothing where answers bear no id of their own."""
    echoes = ReplayDetector()

    assert not any(echoes.is_replay(HEAD[1:]) for _ in range(3))
