"""Rules that act by evidence: modes in force, audited tasks, and when to promote.

People's decisions on the tasks of a rule can promote it to act, or demote it to
observe. A change belongs to the rule as it was written then: a rule with another match
or reason starts anew.
"""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Final

from triaged.rules.describe import rule_fingerprint
from triaged.rules.rule import Mode, Promotion, Rule, Ruleset
from triaged.rules.task import Change, Changes, Task

# Decisions of people that are older say little about the tasks of today.
EVIDENCE_LIFETIME: Final = timedelta(days=90)

_HASH_BYTES: Final = 8


def mode_in_force(rule: Rule, changes: Changes) -> Mode:
    """Return the mode after promotions and demotions; leave rules have none."""
    if rule.reason is None or rule.mode is Mode.OFF or rule.name not in changes:
        return rule.mode
    match changes[rule.name].get(rule_fingerprint(rule)):
        case Change.PROMOTED:
            return Mode.ENFORCE
        case Change.DEMOTED:
            return Mode.OBSERVE
        case None:
            return rule.mode


def rules_in_force(ruleset: Ruleset, changes: Changes) -> Ruleset:
    """Return the ruleset with each rule in its mode in force; its hash stays."""
    modes = {rule.name: mode_in_force(rule, changes) for rule in ruleset.rules}
    if all(rule.mode is modes[rule.name] for rule in ruleset.rules):
        return ruleset
    return replace(
        ruleset,
        rules=tuple(replace(rule, mode=modes[rule.name]) for rule in ruleset.rules),
    )


def is_audited(rule: Rule, task: Task) -> bool:
    """Return whether a task that the rule would dismiss is left to people instead.

    A hash of the task id, keyed by the rule's name, so that the same task falls the
    same way in every process, and each rule audits other tasks.
    """
    share = rule.audited_share
    if not share or task.id is None:
        return False
    # A task id may hold a lone surrogate, which UTF-8 cannot encode.
    text = task.id.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, key=rule.name.encode(), digest_size=_HASH_BYTES)
    return int.from_bytes(digest.digest()) < share * 256**_HASH_BYTES


def earns_promotion(promotion: Promotion, settled: int, lower_bound: float) -> bool:
    """Return whether enough tasks are settled, and the agreement is surely enough."""
    return settled >= promotion.tasks and lower_bound >= promotion.agreement
