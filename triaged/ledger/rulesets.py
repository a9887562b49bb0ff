"""The text of every rules file that decided something, so that it can be explained."""

from datetime import datetime

from triaged.ledger.database import Database, format_timestamp


class Rulesets:
    """Rules files by their hash; shared by all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, sha256: str, text: str, *, at: datetime) -> None:
        """Keep the text of a rules file."""
        self._database.execute(
            "INSERT INTO ruleset (sha256, first_used_at, text) VALUES (?, ?, ?)"
            " ON CONFLICT (sha256) DO NOTHING",
            (sha256, format_timestamp(at), text),
        )

    def source(self, sha256: str) -> str | None:
        """Return a rules file's text by its hash; None when it is not known."""
        row = self._database.row("SELECT text FROM ruleset WHERE sha256 = ?", (sha256,))
        return row["text"] if row else None
