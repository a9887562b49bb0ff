"""The key: whose file it may be in, how it is rotated, and that it is never shown."""

import os
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from triaged.errors import ConfigError
from triaged.leadlex.api_key import ApiKey, ApiKeyProvider, KeySource, parse_key

KEY: Final = "wbk_live_0123456789abcdefghijklmnopqrstuv"
SECRET: Final = KEY.removeprefix("wbk_live_")
OTHER_USER: Final = 12345

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
    """A directory, a pipe and a device are refused without waiting for them."""
    os.mkfifo(tmp_path / "pipe", 0o600)

    assert "is a directory" in complaint(tmp_path)
    assert "is no regular file" in complaint(tmp_path / "pipe")
    assert "is no regular file" in complaint(Path("/dev/null"))


def test_our_own_file_is_for_us_alone(file: Path) -> None:
    """As with ssh: of our own file neither group nor others have any right."""
    read = {mode for mode in range(0o400, 0o1000) if is_read_with(file, mode)}

    assert read == {0o400, 0o500, 0o600, 0o700}


@needs_root
def test_another_users_file_may_be_read_by_a_group(file: Path) -> None:
    """So systemd and Kubernetes hand keys over; no other user may change it."""
    os.chown(file, OTHER_USER, OTHER_USER)

    read = {mode for mode in range(0o1000) if is_read_with(file, mode)}

    assert read == {mode for mode in range(0o1000) if mode & 0o027 == 0}
    assert 0o440 in read


def test_the_complaint_says_what_would_do(file: Path) -> None:
    """The mode that was found is named, and the command that fixes it."""
    file.chmod(0o644)

    assert f"its mode 0644 lets others than user {os.geteuid()} at" in complaint(file)
    assert complaint(file).endswith(f"; chmod 600 {file}")


@needs_root
def test_the_complaint_knows_whose_file_it_is(file: Path) -> None:
    """To make root's file root's alone would keep us out."""
    os.chown(file, OTHER_USER, OTHER_USER)
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


def test_a_key_in_the_place_of_a_file_name(tmp_path: Path) -> None:
    """Who mixes the two variables up is told so, and the key is not shown for it."""
    said = complaint(Path(KEY))

    assert "this is a key, not the name of a file" in said
    assert SECRET not in said
    assert "wbk_x: No such file" in complaint(tmp_path / "wbk_x")
