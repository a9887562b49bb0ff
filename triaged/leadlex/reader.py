"""The client that lists tasks; it has no method that writes."""

from triaged.leadlex import protocol
from triaged.leadlex.completeness import find_doubt
from triaged.leadlex.connection import Connection
from triaged.leadlex.errors import malformed_response
from triaged.leadlex.list_decoder import ListDecoder
from triaged.leadlex.models import LIST, PENDING, TaskList


class LexiReader:
    """Lists the tasks of a workspace; it has no method that writes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_tasks(self, status: str = PENDING) -> TaskList:
        """List the tasks of one status, with one call, or raise a ``LexiError``."""
        path = f"{protocol.TASKS_PATH}?status={status}"
        decoder = ListDecoder(self._connection.redactor)
        try:
            answer = await self._connection.call(LIST, "GET", path, feed=decoder.feed)
            try:
                tasks = decoder.close()
            except ValueError as error:
                raise malformed_response(LIST, answer, error) from error
            doubt = find_doubt(
                asked=status,
                tasks=tasks,
                members=decoder.members,
                headers=answer.headers,
                status=answer.status,
                is_cached=answer.is_cached,
                broken=decoder.broken,
            )
        finally:
            decoder.discard()
        return TaskList(
            tasks=tasks,
            rate_limit=answer.rate_limit,
            request_id=answer.request_id,
            incomplete=doubt.why if doubt else None,
            rows_in_doubt=doubt is not None and doubt.rows,
        )
