"""A year of a rule that acts by evidence: wrong dismissals, with and without audit.

A rule matches eight tasks a day. People would approve a share of them (the error rate);
in the drift, that share jumps from 1 % to 20 % on day 183. The rule observes first and
is promoted by the product's own functions; what people did is looked up once a day.
After a demotion, new evidence may promote it again.

Usage: python -m tests.bench.evidence [--years N]
"""

import argparse
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.builders import a_task
from triaged.rules.conditions import TypeIn
from triaged.rules.evidence import EVIDENCE_LIFETIME, earns_promotion, is_audited
from triaged.rules.rule import Promotion, Rule
from triaged.triage.agreement import wilson_interval

TASKS_A_DAY: Final = 8
DAYS: Final = 365
DRIFT_DAY: Final = 183
PROMOTION: Final = Promotion(agreement=0.85, tasks=40)
SCENARIOS: Final[dict[str, Callable[[int], float]]] = {
    "1 % error": lambda _: 0.01,
    "5 % error": lambda _: 0.05,
    "20 % error": lambda _: 0.20,
    "drift 1 to 20 %": lambda day: 0.01 if day < DRIFT_DAY else 0.20,
}


@dataclass
class Year:
    """What happened in one simulated year."""

    dismissed: int = 0
    wrong: int = 0
    wrong_after_drift: int = 0
    promotions: int = 0
    demotions: int = 0


def simulate(error_rate: Callable[[int], float], audit: float, seed: int) -> Year:
    """Run one year of one rule."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    rule = Rule(
        name=f"rule-{seed}", match=TypeIn(("a",)), reason="testing", audit=audit
    )
    year, acts = Year(), False
    evidence: list[tuple[int, bool]] = []  # the day, and whether people approved
    for day in range(DAYS):
        audited: list[bool] = []
        for number in range(TASKS_A_DAY):
            approves = chance.random() < error_rate(day)
            if not acts:
                evidence.append((day, approves))
            elif is_audited(rule, a_task(id=f"{day}-{number}")):
                audited.append(approves)
            else:
                year.dismissed += 1
                year.wrong += approves
                year.wrong_after_drift += approves and day >= DRIFT_DAY
        evidence = [e for e in evidence if day - e[0] <= EVIDENCE_LIFETIME.days]
        if any(audited):
            acts, evidence = False, []
            year.demotions += 1
        elif not acts and evidence:
            agreed = sum(not approved for _, approved in evidence)
            lower, _ = wilson_interval(agreed, len(evidence))
            if earns_promotion(PROMOTION, len(evidence), lower):
                acts, evidence = True, []
                year.promotions += 1
    return year


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=200)
    years = parser.parse_args().years
    print(
        f"{years} years each; {TASKS_A_DAY} matches a day; promote at"
        f" {PROMOTION.agreement}, {PROMOTION.tasks} tasks; means"
    )
    print(
        f"{'people':<18}{'audit':>6}{'dismissed':>11}{'wrong':>8}"
        f"{'after drift':>13}{'promoted':>10}{'demoted':>9}"
    )
    for name, error_rate in SCENARIOS.items():
        for audit in (0.0, 0.05, 0.2):
            runs = [simulate(error_rate, audit, seed) for seed in range(years)]

            def mean(of: Callable[[Year], int], runs: list[Year] = runs) -> float:
                return statistics.fmean(of(run) for run in runs)

            print(
                f"{name:<18}{audit:>6.0%}{mean(lambda y: y.dismissed):>11.0f}"
                f"{mean(lambda y: y.wrong):>8.1f}"
                f"{mean(lambda y: y.wrong_after_drift):>13.1f}"
                f"{mean(lambda y: y.promotions):>10.2f}"
                f"{mean(lambda y: y.demotions):>9.2f}"
            )


if __name__ == "__main__":
    main()
