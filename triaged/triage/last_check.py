"""The last check: whether a dismissal that was decided may still be sent now.

A decision may be outdated by the time its request is sent: people pause, veto and
change rules, other processes dismiss, and clocks are set.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from triaged.errors import ConfigError, RuleTestsFailed
from triaged.ledger import Ledger
from triaged.ledger.flags import FlagName
from triaged.rules.context import iter_duplicates
from triaged.rules.decide import decide_one, is_protected
from triaged.rules.evidence import is_audited, rules_in_force
from triaged.rules.rule import Rule, Ruleset
from triaged.rules.task import LeaveCause
from triaged.rulesfile.loader import CompiledRules
from triaged.triage.guard import is_clock_wrong
from triaged.triage.rate_limiter import RateLimiter
from triaged.triage.requests import DismissRequest, DispatchOrigin, HaltReason

# A list older than this must be requested again before anything is dismissed.
MAX_LIST_AGE: Final = timedelta(minutes=15)

# Returns the rules in force; raises ConfigError or RuleTestsFailed if there are none.
RulesInForce: TypeAlias = Callable[[], CompiledRules]
Refusal: TypeAlias = LeaveCause | HaltReason


@dataclass(frozen=True, slots=True)
class LastCheck:
    """Checks the requests of one origin again; None permits a dismissal."""

    ledger: Ledger
    rate_limiter: RateLimiter
    origin: DispatchOrigin
    rules: RulesInForce

    def before_intent(self, request: DismissRequest, now: datetime) -> Refusal | None:
        """Check everything, in the transaction that records the intent."""
        ruleset = self._ruleset()
        refusal = self._refusal(request, now, ruleset)
        if refusal is None and ruleset is not None:
            refusal = self._ledger_refusal(request, now, ruleset)
        return refusal

    def before_send(self, request: DismissRequest, now: datetime) -> Refusal | None:
        """Check what people and clocks may have changed since the intent."""
        return self._refusal(request, now, self._ruleset())

    def _refusal(
        self, request: DismissRequest, now: datetime, ruleset: Ruleset | None
    ) -> Refusal | None:
        """Check a request against vetoes, pauses, clocks and the rules in force."""
        ledger, origin = self.ledger, self.origin
        if abs(now - origin.listed_at) > MAX_LIST_AGE:
            return HaltReason.STALE
        if is_clock_wrong(self.rate_limiter.clock_skew):
            return HaltReason.CLOCK
        is_paused = ledger.flags.get(FlagName.PAUSED) is not None
        if is_paused and not origin.while_paused:
            return HaltReason.PAUSED
        if ledger.vetoes.is_vetoed(request.task.id or ""):
            return LeaveCause.VETOED
        if ruleset is None:
            return HaltReason.RULES_CHANGED
        context = replace(origin.context, now=now)
        if request.rule is None:
            # A person's decision overrides the rules, but not protection.
            protected = is_protected(ruleset, request.task, context)
            return LeaveCause.PROTECTED if protected else None
        if ruleset.sha256 != request.rules_sha256:
            return HaltReason.RULES_CHANGED
        decision = decide_one(ruleset, request.task, context)
        if (decision.rule, decision.reason) != (request.rule, request.reason):
            return decision.cause or LeaveCause.NO_RULE
        rule = ruleset.rule(request.rule)
        if rule is not None and is_audited(rule, request.task):
            return LeaveCause.AUDIT
        return decision.cause

    def _ledger_refusal(
        self, request: DismissRequest, now: datetime, ruleset: Ruleset
    ) -> LeaveCause | None:
        """Check earlier dismissals of this task and the daily cap in the ledger."""
        dismissals, task_id = self.ledger.dismissals, request.task.id or ""
        if dismissals.is_unresolved(task_id):
            return LeaveCause.HELD
        if dismissals.confirmed([task_id]):
            return LeaveCause.NOT_PENDING
        rule = ruleset.rule(request.rule) if request.rule else None
        if rule is not None and self._is_kept_gone(rule, task_id):
            return LeaveCause.HELD
        today = dismissals.count_by_rule(now, skew=self.rate_limiter.clock_skew)
        cap = None if rule is None else rule.max_per_day
        if sum(today.values()) >= ruleset.safety.max_dismissals_per_day or (
            cap is not None and today.get(request.rule, 0) >= cap
        ):
            return LeaveCause.OVER_CAP
        return None

    def _is_kept_gone(self, rule: Rule, task_id: str) -> bool:
        """Return whether the task kept for this copy was, or may have been, dismissed.

        The list may be older than that dismissal, or out of date.
        """
        dismissals, context = self.ledger.dismissals, self.origin.context
        duplicates = iter_duplicates(rule.match)
        kept = {context.kept_for(condition, task_id) for condition in duplicates}
        ids = [each for each in kept if each is not None]
        return bool(dismissals.confirmed(ids)) or any(
            map(dismissals.is_unresolved, ids)
        )

    def _ruleset(self) -> Ruleset | None:
        try:
            changes = self.ledger.rule_changes.changes()
            return rules_in_force(self.rules().ruleset, changes)
        except (ConfigError, RuleTestsFailed):
            # Without rules the protection is unknown, so nothing may be dismissed.
            return None
