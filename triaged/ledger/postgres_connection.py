"""How this program connects to PostgreSQL: soon aware of a server that has vanished."""

from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, dict_row

CONNECT_SECONDS: Final = 5

# What the URL gives itself is kept.
_CONNECTION: Final = {
    "application_name": "triaged",
    "client_encoding": "UTF8",
    "connect_timeout": CONNECT_SECONDS,
    # A server that has vanished is noticed after about twenty seconds.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
    "target_session_attrs": "read-write",
}


def connect(url: str) -> psycopg.Connection[DictRow]:
    """Connect; each statement commits by itself unless a transaction is begun.

    Raises:
        psycopg.Error: the server cannot be reached, or refuses.

    """
    given = psycopg.conninfo.conninfo_to_dict(url)
    parameters: dict[str, Any] = {
        key: value for key, value in _CONNECTION.items() if key not in given
    }
    return psycopg.connect(
        url,
        autocommit=True,
        # A pooler may give each transaction another session.
        prepare_threshold=None,
        row_factory=dict_row,
        **parameters,
    )
