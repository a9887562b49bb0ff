"""Which rules to propose: those that hold good on tasks they were not found on.

The newer part of the history is looked at once for each rule that was found, and the
level of the test is divided by their number: chance alone gives no proposal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log
from typing import Final, TypeAlias

from triaged.rules.conditions import AllOf, Condition
from triaged.triage.agreement import Agreement, wilson_interval
from triaged.triage.suggest.candidates import Candidate, find_candidates
from triaged.triage.suggest.history import History
from triaged.triage.suggest.search import find_conjunctions

# How far the lower end of the interval must reach, on the newer part; and where tasks
# are missing from the lists, approvals may be among them.
MIN_AGREEMENT: Final = 0.7
MIN_AGREEMENT_INCOMPLETE: Final = 0.85

# The chance that a history without any rule in it gives a proposal is below this.
LEVEL: Final = 0.002

Parts: TypeAlias = tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A rule that people seem to follow, with the evidence for it.

    ``found`` counts the tasks that it was found on, and ``verified`` those that it was
    not; neither counts dismissals that a rule in force or an earlier proposal explains.
    ``rows`` are all tasks of the history that it holds for, ``part_rows`` those that
    each part holds for.
    """

    parts: Parts
    part_rows: tuple[int, ...]
    rows: int
    found: Agreement
    verified: Agreement

    @property
    def match(self) -> Condition:
        """Return the parts as one condition."""
        return self.parts[0] if len(self.parts) == 1 else AllOf(self.parts)


@dataclass(frozen=True, slots=True)
class Proposals:
    """The rules to propose, and how many were found but not confirmed or not new."""

    rules: tuple[Proposal, ...]
    unconfirmed: int
    covered: int


def propose(
    history: History, *, is_covered: Callable[[Parts], bool], incomplete: bool = False
) -> Proposals:
    """Propose rules for what people dismissed.

    ``is_covered`` says whether an existing rule is plainly wider.
    """
    candidates = find_candidates(history)
    found = list(
        find_conjunctions(
            candidates,
            wanted=history.searched & history.unexplained,
            unwanted=history.searched & history.approved,
        )
    )
    least = MIN_AGREEMENT_INCOMPLETE if incomplete else MIN_AGREEMENT
    level = LEVEL / max(1, len(found))
    rules: list[Proposal] = []
    covered, left = 0, history.unexplained
    for conjunction in found:
        proposal = _proposal(history, [candidates[n] for n in conjunction.parts], left)
        if not _is_confirmed(proposal.verified, history, least, level):
            continue
        if is_covered(proposal.parts):
            covered += 1
        else:
            rules.append(proposal)
        left &= ~proposal.rows
    return Proposals(tuple(rules), len(found) - len(rules) - covered, covered)


def _proposal(history: History, parts: Sequence[Candidate], left: int) -> Proposal:
    conditions = tuple(part.condition for part in parts)
    rows = history.matching(AllOf(conditions))
    return Proposal(
        parts=conditions,
        part_rows=tuple(part.rows for part in parts),
        rows=rows,
        found=_count(rows & history.searched, history, left),
        verified=_count(rows & history.verified, history, left),
    )


def _count(rows: int, history: History, left: int) -> Agreement:
    return Agreement(
        dismissed=(rows & left).bit_count(),
        approved=(rows & history.approved).bit_count(),
    )


def _is_confirmed(
    agreement: Agreement, history: History, least: float, level: float
) -> bool:
    if not agreement.total:
        return False
    everyone = history.verified.bit_count()
    usual = (history.verified & history.dismissed).bit_count() / everyone
    low, _ = wilson_interval(agreement.dismissed, agreement.total)
    chance = binomial_tail(agreement.dismissed, agreement.total, usual)
    return low >= least and chance <= level


def binomial_tail(hits: int, trials: int, share: float) -> float:
    """Return the chance of at least so many hits where each has the same chance."""
    if hits <= 0:
        return 1.0
    if share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    logs = (
        lgamma(trials + 1)
        - lgamma(k + 1)
        - lgamma(trials - k + 1)
        + k * log(share)
        + (trials - k) * log(1 - share)
        for k in range(hits, trials + 1)
    )
    return min(1.0, sum(map(exp, logs)))
