"""Whether ``triaged suggest`` finds the rules that people follow, and no others.

``python -m tests.bench.suggest`` makes histories with planted rules and 5 % contrary
decisions, and histories of coin flips.  It prints how many planted rules are found,
how many proposals are none of them, and what 10,000 tasks cost.  Exits 1 if a target
is missed.
"""

import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tests.builders import T0
from triaged.cli.suggest_file import write_file
from triaged.cli.suggest_names import name_proposals
from triaged.rules.evaluate import evaluate
from triaged.rules.task import HumanDecision, Json, Task, parse_task
from triaged.triage.suggest.history import History, SettledTask
from triaged.triage.suggest.proposals import Proposal, propose

HISTORIES: Final = 40
TASKS: Final = 3_000
RULES: Final = 5
CONTRARY: Final = 0.05
COINS: Final = 100
LARGE: Final = 10_000
FOUND_SHARE: Final = 0.9
WRONG_SHARE: Final = 0.05
COIN_HISTORIES: Final = 1
SECONDS: Final = 10.0
MEBIBYTES: Final = 200
# A proposal is a planted rule when this share of each one's tasks are the other's too.
SAME: Final = 0.9

TYPES: Final = ("prospect_search", "campaign_start", "contact_update", "list_operation")
SOURCES: Final = ("chat", "api", "test", "import", "form", "mail")
COUNTRIES: Final = ("DE", "CH", "US", "JP", "FR")
OPENERS: Final = ("Find", "Update", "Merge", "Add", "[TEST]", "Start", "Check", "Note:")
MARKERS: Final = ("newsletter", "white paper", "duplicate entry", "holiday", "webinar")


@dataclass(frozen=True, slots=True)
class Planted:
    """A rule that the people of a history follow."""

    name: str
    holds: Callable[[Task], bool]


def _metadata(task: Task, key: str) -> Json:
    return (task.metadata or {}).get(key)


def _parts(dice: random.Random) -> list[Planted]:
    kind, source = dice.choice(TYPES), dice.choice(SOURCES)
    country, marker = dice.choice(COUNTRIES), dice.choice(MARKERS)
    opener, bound = dice.choice(OPENERS), dice.choice((500, 1_000, 2_000))
    return [
        Planted(f"type {kind}", lambda t: t.type == kind),
        Planted(f"source {source}", lambda t: _metadata(t, "source") == source),
        Planted(f"country {country}", lambda t: _metadata(t, "country") == country),
        Planted(f"words {marker}", lambda t: marker in (t.description or "")),
        Planted(f"begins {opener}", lambda t: (t.description or "").startswith(opener)),
        Planted("no list_id", lambda t: _metadata(t, "list_id") is None),
        Planted(f"limit over {bound}", lambda t: _over(_metadata(t, "limit"), bound)),
    ]


def _over(value: Json, bound: int) -> bool:
    return isinstance(value, int) and value > bound


def plant(dice: random.Random, sample: Sequence[Task]) -> list[Planted]:
    """Choose rules of one to three conditions, each for 3 to 15 % of the tasks."""
    planted: list[Planted] = []
    taken: set[str] = set()
    while len(planted) < RULES:
        parts = dice.sample(_parts(dice), dice.choice((1, 2, 2, 3)))
        rule = Planted(
            " and ".join(sorted(part.name for part in parts)),
            lambda t, parts=tuple(parts): all(part.holds(t) for part in parts),  # type: ignore[misc]
        )
        mine = {t.id or "" for t in sample if rule.holds(t)}
        apart = len(mine & taken) <= 0.2 * len(mine)
        if 0.03 * len(sample) <= len(mine) <= 0.15 * len(sample) and apart:
            planted.append(rule)
            taken |= mine
    return planted


def make_tasks(dice: random.Random, count: int) -> list[Task]:
    """Make tasks whose features are independent, with words and numbers at random."""
    words = ["".join(dice.choices("abcdefghijklmnoprstuw", k=6)) for _ in range(400)]
    return [_task(dice, number, words) for number in range(count)]


def _task(dice: random.Random, number: int, words: Sequence[str]) -> Task:
    text = [dice.choice(OPENERS), *dice.choices(words, k=dice.randint(3, 9))]
    if dice.random() < 0.5:
        text.insert(dice.randint(1, len(text)), dice.choice(MARKERS))
    metadata: dict[str, Json] = {"source": dice.choice(SOURCES)}
    if dice.random() < 0.8:
        metadata["country"] = dice.choice(COUNTRIES)
    if dice.random() < 0.7:
        metadata["limit"] = round(10 ** dice.uniform(1, 4))
    if dice.random() < 0.6:
        metadata["list_id"] = f"list-{dice.getrandbits(32):x}"
    return parse_task(
        {
            "id": f"task-{number}",
            "type": dice.choice(TYPES),
            "status": "completed",
            "description": " ".join(text),
            "created_at": (T0 - timedelta(minutes=7 * (20_000 - number))).isoformat(),
            "metadata": metadata,
        }
    )


def settle(
    dice: random.Random, tasks: Sequence[Task], planted: Sequence[Planted]
) -> History:
    """Let people follow the rules, but for their contrary decisions."""
    settled = []
    for task in tasks:
        dismissed = any(rule.holds(task) for rule in planted)
        if dice.random() < CONTRARY:
            dismissed = not dismissed
        word = HumanDecision.DISMISSED if dismissed else HumanDecision.APPROVED
        settled.append(SettledTask(task=task, decision=word))
    return History.of(settled)


def flip_coins(seed: int, count: int, share: float) -> History:
    """Let chance decide on every task."""
    dice = random.Random(seed)  # noqa: S311
    return History.of(
        SettledTask(
            task=task,
            decision=HumanDecision.DISMISSED
            if dice.random() < share
            else HumanDecision.APPROVED,
        )
        for task in make_tasks(dice, count)
    )


def proposals(history: History) -> tuple[Proposal, ...]:
    """Propose rules where none exist."""
    return propose(history, is_covered=lambda _: False).rules


def _alike(proposal: Proposal, rule: Planted, tasks: Sequence[Task]) -> bool:
    history = History.of(
        SettledTask(task=task, decision=HumanDecision.APPROVED) for task in tasks
    )
    theirs = {
        one.task.id
        for row, one in enumerate(history.rows)
        if evaluate(proposal.match, one.task, history.context(row)) is True
    }
    mine = {task.id for task in tasks if rule.holds(task)}
    same = len(theirs & mine)
    return same >= SAME * len(theirs) and same >= SAME * len(mine) and same > 0


def measure_planted() -> bool:
    """Count planted rules that are found, and proposals that are no planted rule."""
    planted_total = found_total = proposed_total = wrong_total = 0
    for seed in range(HISTORIES):
        dice = random.Random(seed)  # noqa: S311
        tasks = make_tasks(dice, TASKS)
        fresh = make_tasks(dice, 2_000)
        planted = plant(dice, tasks)
        proposed = proposals(settle(dice, tasks, planted))
        alike = [[_alike(p, rule, fresh) for rule in planted] for p in proposed]
        found = sum(any(row[number] for row in alike) for number in range(len(planted)))
        wrong = sum(not any(row) for row in alike)
        planted_total += len(planted)
        found_total += found
        proposed_total += len(proposed)
        wrong_total += wrong
    passed = found_total >= FOUND_SHARE * planted_total
    _say(passed=passed, line=f"{found_total} of {planted_total} planted rules found")
    sound = wrong_total <= WRONG_SHARE * proposed_total
    line = f"{wrong_total} of {proposed_total} proposals are no planted rule"
    return _say(passed=sound, line=line) and passed


def measure_coins() -> bool:
    """Count the histories of coin flips that give a proposal."""
    shares = (0.3, 0.5, 0.7, 0.9)
    given = sum(
        bool(proposals(flip_coins(seed, TASKS, shares[seed % len(shares)])))
        for seed in range(COINS)
    )
    line = f"{given} of {COINS} histories of coin flips give a proposal"
    return _say(passed=given <= COIN_HISTORIES, line=line)


def measure_cost() -> bool:
    """Time the largest history, and take the memory of the whole process."""
    dice = random.Random(1)  # noqa: S311
    tasks = make_tasks(dice, LARGE)
    history_of = plant(dice, tasks[:TASKS])
    start = time.process_time()
    history = settle(dice, tasks, history_of)
    named = name_proposals(proposals(history), history, taken=(), reason=None)
    file = write_file(named, history, now=T0, redact=False)
    took = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = (
        f"{LARGE:,} tasks in {took:.1f} s (target {SECONDS:g}), {len(file.rules)} rules"
        " written"
    )
    quick = _say(passed=took < SECONDS and len(file.rules) == len(named), line=line)
    line = f"{peak:.0f} MiB at most (target {MEBIBYTES})"
    return _say(passed=peak < MEBIBYTES, line=line) and quick


def _say(*, passed: bool, line: str) -> bool:
    sys.stdout.write(f"{'PASS' if passed else 'FAIL'} {line}\n")
    return passed


def main() -> int:
    """Run everything; 0 when all of it passes."""
    parts = (measure_cost, measure_planted, measure_coins)
    results = [part() for part in parts]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
