"""The call that approves a task: used by interactive review, never by the daemon."""

from typing import Final

from triaged.leadlex import protocol
from triaged.leadlex.connection import Connection
from triaged.leadlex.errors import malformed_response
from triaged.leadlex.models import Confirmation

APPROVE: Final = "approve"
APPROVED: Final = "approved"


class LexiApprover:
    """Approves single tasks, each on a decision of a person."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def approve(self, task_id: str) -> Confirmation:
        """Approve a task; LeadLex then carries it out.

        Raises:
            LexiError: the subclass tells the cause; after ``NoResponse`` and
                ``MalformedResponse`` it is unknown whether the task was approved.
        """
        path = protocol.approve_path(task_id)
        answer = await self._connection.call(APPROVE, "POST", path)
        try:
            protocol.verify_done(answer)
            protocol.verify_confirmation(answer.body, task_id=task_id, status=APPROVED)
        except ValueError as error:
            raise malformed_response(APPROVE, answer, error) from error
        return Confirmation(rate_limit=answer.rate_limit, request_id=answer.request_id)
