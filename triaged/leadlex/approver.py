"""The call that approves a task: for a person in a review, never for the daemon."""

from typing import Final

from triaged.leadlex import protocol as wire
from triaged.leadlex.connection import Connection, garbled
from triaged.leadlex.models import Done

APPROVE: Final = "approve"
APPROVED: Final = "approved"


class LexiApprover:
    """Approves tasks, one person's answer at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def approve(self, task_id: str) -> Done:
        """Approve a task; LeadLex then carries it out.

        Raises:
            LexiError: by its leaf; after ``Unanswered`` and ``Garbled`` nobody knows
                whether the task was approved.
        """
        path = wire.approve_path(task_id)
        answer = await self._connection.call(APPROVE, "POST", path)
        try:
            wire.check_done(answer.body, task_id=task_id, status=APPROVED)
        except ValueError as error:
            raise garbled(APPROVE, answer, error) from error
        return Done(word=answer.word, request_id=answer.request_id)
