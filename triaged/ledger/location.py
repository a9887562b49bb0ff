"""Where a ledger is: in a file of the state directory, or in a PostgreSQL database."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE: Final = "ledger.sqlite3"

_SCHEMES: Final = ("postgresql://", "postgres://")
_SECRETS: Final = {"password", "sslpassword"}
# Parameters that say where the database is, and may be shown.
_SHOWN: Final = {"host", "hostaddr", "port", "dbname", "user", "service"}


@dataclass(frozen=True, slots=True)
class LedgerLocation:
    """The state directory, and the URL of the database if there is one.

    With a URL the ledger is in PostgreSQL; the directory then holds no ledger.
    """

    directory: Path
    url: str | None = None

    def __str__(self) -> str:
        """Name the place for messages; a URL never holds a password."""
        return str(self.directory) if self.url is None else describe_url(self.url)

    def may_exist(self) -> bool:
        """Return whether a ledger may be here, without opening it."""
        if self.url is not None:
            return True
        try:
            return (self.directory / FILE).exists()
        except OSError:
            # Opening it will report what is wrong with the directory.
            return False


def parse_ledger_url(text: str) -> str:
    """Check the URL of a PostgreSQL ledger and return it.

    Raises:
        ValueError: it is not one, or holds a password; the message does not show it.

    """
    if not text.startswith(_SCHEMES):
        raise ValueError(
            "expected a URL such as postgresql://triaged@db.example/triaged"
        )
    if any(ord(character) <= ord(" ") or character == "\x7f" for character in text):
        raise ValueError("the URL must hold neither blanks nor control characters")
    user, _, query = _parts(text)
    if ":" in user or _SECRETS & {name.lower() for name, _ in query}:
        raise ValueError(
            "the URL holds a password, which other users could see; put it into a"
            " private file and set PGPASSFILE, or use a service file"
        )
    return text


def describe_url(url: str) -> str:
    """Return a URL for messages: without options, and never with a password."""
    user, place, query = _parts(url)
    name = user.partition(":")[0]
    shown = "&".join(f"{key}={value}" for key, value in query if key in _SHOWN)
    role, options = f"{name}@" if name else "", f"?{shown}" if shown else ""
    return f"postgresql://{role}{place}{options}"


def _parts(url: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Split a URL into its user, its hosts with the database, and its parameters."""
    from urllib.parse import parse_qsl  # noqa: PLC0415 - slow, and rarely needed

    rest, _, query = url.partition("://")[2].partition("?")
    authority, slash, path = rest.partition("/")
    user, _, hosts = authority.rpartition("@")
    return user, f"{hosts}{slash}{path}", parse_qsl(query, keep_blank_values=True)
