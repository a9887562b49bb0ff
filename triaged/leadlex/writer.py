"""The calls that change something; only the gate is given one of these."""

from triaged.leadlex import protocol as wire
from triaged.leadlex.connection import Connection, garbled
from triaged.leadlex.models import DISMISS, DISMISSED, Done


class LexiWriter:
    """The one way to dismiss; only the gate holds one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def dismiss(self, task_id: str, reason: str) -> Done:
        """Dismiss a task for good.

        Raises:
            LexiError: by its leaf; after ``Unanswered`` and ``Garbled`` nobody knows
                whether the task was dismissed.
        """
        path = wire.dismiss_path(task_id)
        answer = await self._connection.call(
            DISMISS, "POST", path, json={"reason": reason}
        )
        try:
            wire.check_done(answer.body, task_id=task_id, status=DISMISSED)
        except ValueError as error:
            raise garbled(DISMISS, answer, error) from error
        return Done(word=answer.word, request_id=answer.request_id)
