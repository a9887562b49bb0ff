"""The key: whose file it may be in, how it is rotated, and that nobody sees it."""

import base64
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from triaged.errors import ConfigError
from triaged.leadlex.api_key import ApiKey, ApiKeyProvider, KeySource, parse_key
from triaged.leadlex.redaction import Redactor

KEY: Final = "wbk_live_0123456789abcdefghijklmnopqrstuv"
SECRET: Final = KEY.removeprefix("wbk_live_")
ODD_KEY: Final = 'wbk_a"b%c&d<e\\f/g+h'
SOMEBODY: Final = 12345

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file that holds the key, for its owner alone."""
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


def complaint(file: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        KeySource(file=file).read()
    return str(raised.value)


def is_read(file: Path) -> bool:
    try:
        return KeySource(file=file).read().reveal() == KEY
    except ConfigError:
        return False


def is_read_with(file: Path, mode: int) -> bool:
    file.chmod(mode)
    return is_read(file)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the API key is empty"),
        (b" \n", "the API key is empty"),
        (KEY.encode() + b"\xff", "one word of printable ASCII"),
        (b"\xef\xbb\xbf" + KEY.encode(), "one word of printable ASCII"),
        (KEY.encode() + b"\nwbk_second", "one word of printable ASCII"),
        (KEY.encode() + b"\x00", "one word of printable ASCII"),
        (KEY.encode() * 999, "one word of printable ASCII"),
    ],
)
def test_a_file_without_a_usable_key(file: Path, content: bytes, why: str) -> None:
    """The file is named and what is wrong with it, but not what it holds."""
    file.write_bytes(content)

    assert complaint(file).startswith(f"settings: TRIAGED_API_KEY_FILE: {file}: ")
    assert why in complaint(file)
    assert SECRET not in complaint(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing key file is named with the system's reason."""
    assert "missing: No such file" in complaint(tmp_path / "missing")


def test_what_is_no_file(tmp_path: Path) -> None:
    """A directory, a pipe and a device are refused at once; nobody waits for them."""
    os.mkfifo(tmp_path / "pipe", 0o600)

    assert "is a directory" in complaint(tmp_path)
    assert "is no regular file" in complaint(tmp_path / "pipe")
    assert "is no regular file" in complaint(Path("/dev/null"))


def test_our_own_file_is_for_us_alone(file: Path) -> None:
    """As with ssh: of our own file neither group nor others have any right."""
    read = {mode for mode in range(0o400, 0o1000) if is_read_with(file, mode)}

    assert read == {0o400, 0o500, 0o600, 0o700}


@needs_root
def test_somebody_elses_file_may_be_read_by_a_group(file: Path) -> None:
    """So systemd and Kubernetes hand keys over; to change it is nobody else's."""
    os.chown(file, SOMEBODY, SOMEBODY)

    read = {mode for mode in range(0o1000) if is_read_with(file, mode)}

    assert read == {mode for mode in range(0o1000) if mode & 0o027 == 0}
    assert 0o440 in read


def test_the_complaint_says_what_would_do(file: Path) -> None:
    """The mode that was found is named, and the command that mends it."""
    file.chmod(0o644)

    assert f"its mode 0644 lets others than user {os.geteuid()} at" in complaint(file)
    assert complaint(file).endswith(f"; chmod 600 {file}")


@needs_root
def test_the_complaint_knows_whose_file_it_is(file: Path) -> None:
    """To make root's file root's alone would keep us out."""
    os.chown(file, SOMEBODY, SOMEBODY)
    file.chmod(0o444)

    assert f"; chown 0 {file} and chmod 600, or chmod 440 with" in complaint(file)


def test_links_are_followed_to_the_file(file: Path, tmp_path: Path) -> None:
    """A Secret is a link to a link; what counts is the file at the end."""
    (tmp_path / "..data").symlink_to(".")
    link = tmp_path / "link"
    link.symlink_to("..data/key")
    followed = is_read(link)
    file.chmod(0o640)

    assert followed
    assert not is_read(link)


def test_a_rotated_key_is_used(file: Path) -> None:
    """The next request has the key that is in the file by then."""
    holder = ApiKeyProvider(KeySource(file=file))
    first = holder.reveal()
    file.write_text("wbk_new")

    assert (first, holder.reveal()) == (KEY, "wbk_new")


def test_a_file_that_becomes_unusable(file: Path) -> None:
    """The last good key stays in use; each trouble is told once, without the key."""
    holder = ApiKeyProvider(KeySource(file=file))
    with capture_logs() as logs:
        file.chmod(0o604)
        loose = [holder.reveal() for _ in range(3)]
        file.chmod(0o600)
        file.write_text("two words")
        broken = [holder.reveal() for _ in range(3)]
        file.write_text(KEY)
        holder.reveal()
        file.unlink()
        gone = holder.reveal()

    assert {*loose, *broken, gone} == {KEY}
    assert [log["event"] for log in logs] == ["api_key.unreadable"] * 3
    assert "chmod 600" in logs[0]["problem"]
    assert KEY not in str(logs)


def test_a_file_that_is_unusable_at_the_start(file: Path) -> None:
    """Without a good key there is nothing to go on with."""
    file.chmod(0o644)
    with pytest.raises(ConfigError):
        ApiKeyProvider(KeySource(file=file))


@pytest.mark.parametrize("odd", [" x", "ü", "\n\nHost: x", "\x7f"])
def test_the_key_is_never_shown(odd: str) -> None:
    """Neither a repr nor a complaint about the key shows any of it."""
    key = ApiKey(KEY)
    with pytest.raises(ValueError, match="printable") as raised:
        parse_key(KEY + odd)

    shown = [repr(key), str(key), f"{key}", repr(KeySource(value=key))]
    assert not [text for text in [*shown, str(raised.value)] if SECRET[:4] in text]


def echoes(key: str) -> Iterator[str]:
    """Make what servers make of a key that they echo."""
    yield f"no such key: {key}"
    yield repr({"authorization": f"Bearer {key}"})
    yield f"https://x.example/?key={quote(key, safe='')}"
    yield f"{key[:21]}…"
    yield f"…{key[-12:]}"
    for user in ("", "u:", "me:"):
        yield base64.b64encode(f"{user}{key}".encode()).decode()
        yield base64.urlsafe_b64encode(f"{user}{key}".encode()).decode()


@pytest.mark.parametrize("echo", [*echoes(KEY)])
def test_an_echo_of_the_key_is_taken_out(echo: str) -> None:
    """Whole or masked, plain or encoded: nothing tells the key any more."""
    clean = Redactor(KEY).redact_text(echo)

    assert "[API key]" in clean
    pieces = {SECRET[start : start + 8] for start in range(len(SECRET) - 8)}
    encoded = base64.b64encode(f"u:{KEY}".encode()).decode()
    pieces |= {encoded[start : start + 12] for start in range(16, len(encoded) - 16)}
    assert not [piece for piece in pieces if piece in clean]


@pytest.mark.parametrize(
    "echo",
    [
        ODD_KEY,
        'wbk_a\\"b%c&d<e\\\\f/g+h',
        "wbk_a&quot;b%c&amp;d&lt;e\\f/g+h",
        quote(ODD_KEY, safe=""),
    ],
)
def test_an_odd_key_is_known_in_its_escapes(echo: str) -> None:
    """JSON, HTML and URLs write some characters otherwise."""
    assert Redactor(ODD_KEY).redact_text(f"<{echo}>") == "<[API key]>"


def test_a_short_key_does_not_spoil_texts() -> None:
    """A sandbox's key is made of words; only the whole of it is taken out."""
    text = "sandbox testing wbk_ box"

    assert Redactor("wbk_sandbox").redact_text(text) == text


@given(st.text(alphabet=st.characters(codec=None)))
def test_other_text_stays_as_it_is(text: str) -> None:
    """What holds no key is passed on to the letter, lone surrogates too."""
    assert Redactor(KEY).redact_text(text) == text


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 2, 7, 20, 40, 64, 1000])
async def test_a_key_across_pieces(size: int) -> None:
    """However an answer is cut into pieces, the key is found, and the rest kept."""
    parts = ["a" * 50, KEY, "b", SECRET, "c" * 5, KEY + KEY, KEY[:30], "d"]
    clean = ["a" * 50, "*", "b", "*", "c" * 5, "**", "wbk_live_*" + KEY[21:30], "d"]
    expected = "".join(clean).replace("*", "[API key]").encode()
    whole = "".join(parts).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    found = [piece async for piece in Redactor(KEY).redact_stream(pieces())]

    assert b"".join(found) == expected


def test_a_key_in_the_place_of_a_file_name(tmp_path: Path) -> None:
    """Who mixes the two variables up is told so, and the key is not shown for it."""
    said = complaint(Path(KEY))

    assert "this is a key, not the name of a file" in said
    assert SECRET not in said
    assert "wbk_x: No such file" in complaint(tmp_path / "wbk_x")


def test_a_short_key_is_a_word_that_tasks_use_too() -> None:
    """What tasks say is not changed for the sake of a made-up key."""
    assert Redactor("test").redact_text("a test of testing") == "a test of testing"
    assert Redactor("test").redact_bytes(b"a test") == b"a test"
