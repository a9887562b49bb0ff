"""Tests of where a ledger is: no URL with a password is taken, and none is shown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.ledger.location import LedgerLocation, describe_url, parse_ledger_url

SECRETS = st.text("abcdefghXYZ0123456789%-._~", min_size=6).map(lambda s: f"sEc{s}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://db.example/triaged", "postgresql://db.example/triaged"),
        ("postgres://me@h:5433/t", "postgresql://me@h:5433/t"),
        (
            "postgresql://me@h1:1,h2:2/t?sslmode=verify-full",
            "postgresql://me@h1:1,h2:2/t",
        ),
        ("postgresql://me@[::1]:5432/t", "postgresql://me@[::1]:5432/t"),
        (
            "postgresql:///t?host=/run/postgresql&passfile=/etc/pass",
            "postgresql:///t?host=/run/postgresql",
        ),
        ("postgresql://?service=triaged", "postgresql://?service=triaged"),
    ],
)
def test_a_url_is_taken_and_shown_without_its_options(url: str, shown: str) -> None:
    """Each form that libpq knows is passed on as it is; messages say where it leads."""
    location = LedgerLocation(Path("state"), parse_ledger_url(url))

    assert location.url == url
    assert str(location) == shown
    assert location.may_exist()


@given(SECRETS, st.sampled_from(["password", "PASSWORD", "sslpassword"]), st.booleans())
def test_a_password_is_refused_and_never_shown(
    secret: str, parameter: str, in_front: bool
) -> None:
    """In front of the host or among the options, the message does not repeat it."""
    url = (
        f"postgresql://me:{secret}@h/t"
        if in_front
        else f"postgresql://me@h/t?{parameter}={secret}"
    )
    with pytest.raises(ValueError, match="the URL holds a password") as raised:
        parse_ledger_url(url)

    assert secret not in str(raised.value)
    assert secret not in describe_url(url)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mysql://h/t", "expected a URL such as postgresql://"),
        ("/var/lib/triaged", "expected a URL such as postgresql://"),
        ("host=h dbname=t", "expected a URL such as postgresql://"),
        ("postgresql://h/t name", "neither blanks nor control characters"),
        ("postgresql://h/t\n", "neither blanks nor control characters"),
    ],
)
def test_what_is_no_url_is_refused(text: str, why: str) -> None:
    """The message says what to write, and not what was given: it may be a secret."""
    with pytest.raises(ValueError, match=why):
        parse_ledger_url(text)


def test_a_directory_may_hold_a_ledger(tmp_path: Path) -> None:
    """Without a URL the file decides; a directory that cannot be read has none."""
    before = LedgerLocation(tmp_path).may_exist()
    (tmp_path / "ledger.sqlite3").touch()

    assert not before
    assert LedgerLocation(tmp_path).may_exist()
    assert not LedgerLocation(Path("/dev/null")).may_exist()
    assert str(LedgerLocation(tmp_path)) == str(tmp_path)
