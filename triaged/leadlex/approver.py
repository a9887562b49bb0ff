"""The call that approves a task: used by interactive review, never by the daemon."""

from typing import Final

from triaged.leadlex import protocol
from triaged.leadlex.connection import Connection
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
        path = protocol.path_of(task_id, APPROVE)
        answer = await self._connection.call(APPROVE, "POST", path)
        return protocol.read_confirmation(
            APPROVE, answer, task_id=task_id, status=APPROVED
        )
