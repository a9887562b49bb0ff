"""Stores every rules file that was used for a decision, to explain it later."""

from datetime import datetime

from triaged.ledger.database import Database, format_timestamp


class Rulesets:
    """Rules files by SHA-256 (hex), shared by all workspaces.

    Who has the hash has the file, so sharing shows a workspace nothing of another.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, sha256: str, text: str, *, at: datetime) -> None:
        """Store the text of a rules file, unless it is stored."""
        known = self._database.row("SELECT 1 FROM ruleset WHERE sha256 = ?", (sha256,))
        if known is not None:
            return
        self._database.execute(
            "INSERT INTO ruleset (sha256, first_used_at, text) VALUES (?, ?, ?)"
            " ON CONFLICT (sha256) DO NOTHING",
            (sha256, format_timestamp(at), text),
        )

    def source(self, sha256: str) -> str | None:
        """Return the text of a rules file by its hash, or None."""
        row = self._database.row("SELECT text FROM ruleset WHERE sha256 = ?", (sha256,))
        return row["text"] if row else None
