"""The same targets in every ordinary run: random, damaged and oddly encoded input."""

from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, corpus

ENCODINGS: Final = ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1")
FILES: Final = {name: [path.read_bytes() for path in corpus(name)] for name in TARGETS}
# What parsers stumble over: depth, size, doubles, other words for numbers, odd text.
MARKS: Final = (
    b"[" * 300,
    b'{"a":' * 300,
    b"- " * 300,
    b"9" * 4_400,
    b"1e999",
    b"-0.0e-999",
    b"NaN",
    b"-Infinity",
    b".inf",
    b"0x1f",
    b"1_000",
    b"null",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\0",
    b"\x1b[31m",
    "\u2028\u202e\U000e0041".encode(),
    b'"id":"a","id":"b",',
    b"&a *a",
    b"!!python/object:os.system x",
    b"<<: ",
    b"%YAML 1.1\n---\n",
    b"\n...\n---\n",
    b"99999999999999999999w",
    b"(?=x)",
    b"x{1000}{1000}",
    b"9999-12-31T23:59:59+14:00",
)


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """Draw a file of the corpus with a few cuts, doubles and marks in it."""
    data = draw(st.sampled_from(FILES[name]))
    for _ in range(draw(st.integers(1, 3))):
        at, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        middle = draw(
            st.sampled_from(MARKS) | st.just(data[at:end] * 2) | st.binary(max_size=8)
        )
        data = data[:at] + middle + data[end:]
    return data


@st.composite
def reencoded(draw: st.DrawFn, name: str) -> bytes:
    """Draw a file of the corpus as another program might have saved it."""
    text = draw(st.sampled_from(FILES[name])).decode("utf-8", "replace")
    return text.encode(draw(st.sampled_from(ENCODINGS)), "replace")


@pytest.mark.parametrize("name", TARGETS)
def test_only_errors_of_our_own_come_out(name: str) -> None:
    """Whatever the bytes, the answer is a value or an error raised on purpose."""

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=300) | damaged(name) | reencoded(name))
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    holds()
