"""What people did with the tasks that a rule would have dismissed, asked of LeadLex.

One list of each settled status tells; what was learned is kept, so it is asked once.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

import structlog

from triaged.clock import Clock
from triaged.errors import QuotaSpent
from triaged.leadlex.errors import KeyRefused, LexiError
from triaged.ledger import Ledger
from triaged.ledger.flags import MarkName
from triaged.quota import Purpose
from triaged.rules.task import Task, Word
from triaged.triage.agreement import SETTLED_STATUSES, word_of
from triaged.triage.rate_limiter import Meter, MeteredReader

# People need their time, and one question answers for all tasks of a day.
ASK_EVERY: Final = timedelta(days=1)

# The lists are worth this share of a day's calls, and only while as many are to spare.
_SHARE: Final = 0.05

log = structlog.get_logger()


class People:
    """Learns for one workspace what people did with observed tasks."""

    def __init__(
        self, reader: MeteredReader, ledger: Ledger, meter: Meter, clock: Clock
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._meter = meter
        self._clock = clock

    async def settled(
        self, status: str, *, purpose: Purpose = Purpose.HAND
    ) -> list[Task]:
        """List the tasks that people settled so, and learn from them.

        Raises:
            QuotaSpent: not before the day's reset.
            LexiError: the call did not come about.
        """
        listed = await self._reader.list_tasks(status, purpose=purpose)
        tasks = [task for task in listed.tasks if task.id and task.status == status]
        now = self._clock.now()
        with self._ledger.transaction():
            open_ = self._ledger.words.open(seen_before=now)
            words = {t.id: word_of(status) for t in tasks if t.id and t.id in open_}
            self._ledger.words.learn(words, at=now)
            if Word.APPROVED in words.values():
                self._note_contradictions()
        return tasks

    async def ask(self) -> None:
        """Ask list by list, until nothing that was observed is open any more.

        Raises:
            QuotaSpent: not before the day's reset.
            LexiError: a call did not come about; what came before it is kept.
        """
        now = self._clock.now()
        for status in SETTLED_STATUSES:
            if not self._ledger.words.open(seen_before=now):
                return
            await self.settled(status)
        self._note_asked(now)

    async def ask_when_due(self, pending: Collection[str], *, now: datetime) -> None:
        """Ask once a day what became of observed tasks that are not pending any more.

        Raises:
            KeyRefused: the key was refused; all else waits for the next day.
        """
        if asked_lately(self._ledger, now, ASK_EVERY) is not None:
            return
        if not self._vanished(pending, now) or not self._can_spare():
            return
        self._note_asked(now)
        try:
            for status in SETTLED_STATUSES:
                await self.settled(status, purpose=Purpose.POLL)
                if not self._vanished(pending, now):
                    return
        except KeyRefused:
            raise
        except (LexiError, QuotaSpent) as error:
            log.warning("people.unanswered", error=str(error))
            return
        self._ledger.words.not_found(self._vanished(pending, now), at=now)

    def _vanished(self, pending: Collection[str], now: datetime) -> frozenset[str]:
        return self._ledger.words.open(seen_before=now - ASK_EVERY).difference(pending)

    def _can_spare(self) -> bool:
        view, calls = self._meter.view(), len(SETTLED_STATUSES)
        ours = view.daily_limit - view.reserved
        left = view.remaining - view.reserved
        return calls <= ours * _SHARE and left >= 2 * calls

    def _note_asked(self, now: datetime) -> None:
        with self._ledger.transaction():
            self._ledger.marks.remove(MarkName.PEOPLE_ASKED)
            self._ledger.marks.put(MarkName.PEOPLE_ASKED, note="", at=now)

    def _note_contradictions(self) -> None:
        note_counterexamples(
            self._ledger,
            (
                (seen.rule, seen.task_id)
                for seen in self._ledger.words.observations()
                if seen.word is Word.APPROVED
            ),
        )


def asked_lately(ledger: Ledger, now: datetime, within: timedelta) -> datetime | None:
    """Return when all lists were asked for, if that is no longer ago than this."""
    asked = ledger.marks.get(MarkName.PEOPLE_ASKED)
    # A moment in the future is a clock set back, and tells nothing.
    if asked is None or not timedelta(0) <= now - asked.since < within:
        return None
    return asked.since


def note_counterexamples(ledger: Ledger, found: Iterable[tuple[str, str]]) -> None:
    """Keep each rule's counter-examples once, by task; the daemon shows and logs them.

    Must be called inside a transaction.
    """
    known = ledger.marks.totals("counterexamples")
    for rule, task_id in dict.fromkeys(found):
        if (rule, task_id) not in known:
            ledger.marks.add("counterexamples", rule, task_id)
