"""The client that dismisses tasks; only the dispatcher gets an instance."""

from collections.abc import Callable

from triaged.leadlex import protocol
from triaged.leadlex.connection import Connection
from triaged.leadlex.models import DISMISS, DISMISSED, Confirmation


class LexiWriter:
    """The only client method that dismisses; only the dispatcher has a reference."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def dismiss(
        self,
        task_id: str,
        reason: str,
        *,
        before_send: Callable[[], None] | None = None,
    ) -> Confirmation:
        """Dismiss a task, irreversibly; ``before_send`` as in ``Connection.call``.

        Raises:
            LexiError: the subclass tells the cause; after ``NoResponse`` and
                ``MalformedResponse`` it is unknown whether the task was dismissed.
        """
        path = protocol.path_of(task_id, DISMISS)
        answer = await self._connection.call(
            DISMISS, "POST", path, json={"reason": reason}, before_send=before_send
        )
        return protocol.read_confirmation(
            DISMISS, answer, task_id=task_id, status=DISMISSED
        )
