"""A connection with HTTP clients of its own, which it closes."""

from typing import Any, Self

import httpx

from triaged.leadlex.clients import HttpClients
from triaged.leadlex.connection import Connection


class OwnConnection(Connection):
    """A connection that shares its clients with no other workspace."""

    def __init__(
        self, *, transport: httpx.AsyncBaseTransport | None = None, **given: Any
    ) -> None:
        self._own = HttpClients(transport)
        super().__init__(clients=self._own, **given)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._own.close()
