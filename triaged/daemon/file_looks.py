"""Looks at files until they are complete, because an editor may still be writing."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Generic, TypeVar

# Logged once, a rejection is easily overlooked; logged every minute, it is noise.
REJECTION_LOG_INTERVAL: Final = timedelta(minutes=10)
# On SIGHUP: the time between two looks at the files, and the number of looks at files
# that keep changing before the regular watch continues.
RELOAD_LOOK_SECONDS: Final = 0.25
RELOAD_LOOKS: Final = 40

LookT = TypeVar("LookT")
LoadedT = TypeVar("LoadedT")


class Looks(Generic[LookT]):
    """Consecutive looks at files.

    What two of them see alike is loaded, and counts if a third one after loading does.
    """

    def __init__(self, look: Callable[[], LookT]) -> None:
        self._look = look
        self._last: LookT | None = None

    def again(self) -> tuple[LookT, bool]:
        """Return what is seen now, and whether the look before saw the same."""
        seen = self._look()
        is_stable, self._last = seen == self._last, seen
        return seen, is_stable

    async def until_loaded(
        self,
        load: Callable[[LookT], LoadedT | None],
        pause: Callable[[float], Awaitable[None]],
    ) -> LoadedT | None:
        """Load once two looks agree; None for files that keep changing."""
        self.again()
        for _ in range(RELOAD_LOOKS):
            await pause(RELOAD_LOOK_SECONDS)
            seen, is_stable = self.again()
            if is_stable and (loaded := load(seen)) is not None:
                return loaded
        return None
