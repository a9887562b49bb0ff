"""Looks up in LeadLex what people did with the tasks that a rule would have dismissed.

One list per final status is enough; results are stored, so no task is looked up twice.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from triaged.clock import Clock
from triaged.errors import QuotaExhausted
from triaged.leadlex.errors import KeyRejected, LexiError, MalformedResponse
from triaged.leadlex.models import LIST, TaskList
from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.ledger.rule_changes import RuleChange
from triaged.quota import Purpose
from triaged.rules.task import HumanDecision
from triaged.triage.agreement import FINAL_STATUSES, human_decision_for
from triaged.triage.evidence import demote_disproved, log_changes
from triaged.triage.rate_limiter import RateLimitedReader, RateLimiter

# People take time to decide, and one lookup covers all tasks of a day.
REFRESH_INTERVAL: Final = timedelta(days=1)

# The lookups may use this share of a day's calls, if as many are available.
MAX_QUOTA_SHARE: Final = 0.05

log = structlog.get_logger()


class FeedbackCollector:
    """Looks up what people did with the observed tasks of one workspace."""

    def __init__(
        self,
        reader: RateLimitedReader,
        ledger: Ledger,
        rate_limiter: RateLimiter,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._rate_limiter = rate_limiter
        self._clock = clock

    async def list_final(
        self, status: str, *, purpose: Purpose = Purpose.OTHER
    ) -> TaskList:
        """List the tasks with a final status, and record what people decided.

        Raises:
            QuotaExhausted: no calls are left until the daily reset.
            MalformedResponse: its rows may be wrong or out of date: none is used.
            LexiError: the call failed.
        """
        listed = await self._reader.list_tasks(status, purpose=purpose)
        if listed.rows_in_doubt:
            why = listed.incomplete or "unknown why"
            doubt = f"the list of {status} tasks may be wrong or out of date ({why})"
            raise MalformedResponse(LIST, message=doubt)
        tasks = [task for task in listed.tasks if task.id and task.status == status]
        now = self._clock.now()
        with self._ledger.transaction():
            open_ = self._ledger.feedback.undecided(seen_before=now)
            words = {
                t.id: human_decision_for(status)
                for t in tasks
                if t.id and t.id in open_
            }
            self._ledger.feedback.record(words, at=now)
            demoted: Sequence[RuleChange] = ()
            if HumanDecision.APPROVED in words.values():
                self._record_false_positives()
                demoted = demote_disproved(self._ledger, words.keys(), at=now)
        log_changes(demoted)
        return replace(listed, tasks=tasks)

    async def refresh(self) -> None:
        """List each final status until every observed task has a human decision.

        Raises:
            QuotaExhausted: no calls are left until the daily reset.
            LexiError: a call failed; earlier results are kept.
        """
        now = self._clock.now()
        for status in FINAL_STATUSES:
            if not self._ledger.feedback.undecided(seen_before=now):
                return
            await self.list_final(status)
        self._mark_refreshed(now)

    async def refresh_if_due(self, pending: Collection[str], *, now: datetime) -> None:
        """Look up once a day what people did with observed tasks that are not pending.

        Raises:
            KeyRejected: the key was rejected; after other errors it retries next day.

        """
        if last_refresh(self._ledger, now, REFRESH_INTERVAL) is not None:
            return
        if not self._undecided_missing(pending, now) or not self._has_quota():
            return
        self._mark_refreshed(now)
        try:
            lists = []
            for status in FINAL_STATUSES:
                lists.append(await self.list_final(status, purpose=Purpose.POLL))
                if not self._undecided_missing(pending, now):
                    return
        except KeyRejected:
            raise
        except (LexiError, QuotaExhausted) as error:
            log.warning("feedback.refresh_failed", error=str(error))
            return
        # An incomplete list does not prove that a task is in none of them.
        if all(listed.incomplete is None for listed in lists):
            missing = self._undecided_missing(pending, now)
            self._ledger.feedback.record_not_found(missing, at=now)

    def _undecided_missing(
        self, pending: Collection[str], now: datetime
    ) -> frozenset[str]:
        return self._ledger.feedback.undecided(
            seen_before=now - REFRESH_INTERVAL
        ).difference(pending)

    def _has_quota(self) -> bool:
        view, calls = self._rate_limiter.snapshot(), len(FINAL_STATUSES)
        ours = view.daily_limit - view.reserved
        left = view.remaining - view.reserved
        return calls <= ours * MAX_QUOTA_SHARE and left >= 2 * calls

    def _mark_refreshed(self, now: datetime) -> None:
        with self._ledger.transaction():
            self._ledger.flags.clear(FlagName.FEEDBACK_REFRESHED)
            self._ledger.flags.set(FlagName.FEEDBACK_REFRESHED, at=now)

    def _record_false_positives(self) -> None:
        self._ledger.feedback.add_false_positives(
            (seen.rule, seen.task_id)
            for seen in self._ledger.feedback.observations()
            if seen.human_decision is HumanDecision.APPROVED
        )


def last_refresh(ledger: Ledger, now: datetime, within: timedelta) -> datetime | None:
    """Return when all lists were last requested, if that is within ``within``."""
    asked = ledger.flags.get(FlagName.FEEDBACK_REFRESHED)
    # A time in the future means that the clock was set back since.
    if asked is None or not timedelta(0) <= now - asked.since < within:
        return None
    return asked.since
