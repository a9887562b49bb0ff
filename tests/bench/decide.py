"""How fast the engine decides beside a plain loop, and that both decide alike.

``python -m tests.bench.decide`` prints ratios for 10, 100 and 1,000 rules and the time
that hostile descriptions take; ``--pairs N`` also compares the prefilter with one
search at a time on so many pairs of a pattern and a text.  Exits 1 if anything fails.
"""

import argparse
import gc
import random
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from tests.builders import T0, a_task
from tests.pattern_differences import count_differences
from triaged.rules.compiled import CompiledRuleset
from triaged.rules.conditions import AgeBetween, AllOf, DescriptionIs, Regex, TypeIn
from triaged.rules.patterns.prefilter import build_prefilter
from triaged.rules.patterns.re2_pattern import compile_pattern
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import DOCUMENTED_TYPES, Task

TARGETS: Final = {10: 2.0, 100: 15.0, 1_000: 50.0}
TASKS: Final = 10_000
ROUNDS: Final = 5
VOCABULARY: Final = 10_000
HOSTILE_MS: Final = 10.0
HOSTILE_LENGTH: Final = 10_000
HOSTILE: Final = (
    r"(a+)+$",
    r"(a|aa)+$",
    r"(.*)*x",
    r"(x+x+)+y",
    r"(\w+\s?)*!$",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(?i)(\pL+\s*)+$",
    r"(a?){25}a{25}",
    r"(?:[ab]*a){8}c",
    r".{0,20}z",
)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"

PlainRule: TypeAlias = tuple[str, str, timedelta, re.Pattern[str]]


@dataclass(frozen=True)
class Wanted:
    """One rule of the bench, written once for both."""

    name: str
    kind: str
    over: timedelta
    pattern: str


def plain_loop(
    rules: Sequence[PlainRule], tasks: Sequence[Task], now: datetime
) -> list[str | None]:
    """Decide as a competent person would by hand: the first rule that holds."""
    decisions: list[str | None] = []
    for task in tasks:
        kind, text = task.type, task.description or ""
        age = now - (task.created_at or now)
        for name, wanted, over, pattern in rules:
            if kind == wanted and age > over and pattern.search(text):
                decisions.append(name)
                break
        else:
            decisions.append(None)
    return decisions


def make_rules(count: int, words: Sequence[str], dice: random.Random) -> list[Wanted]:
    """Make rules as people write them, for the four types in turn."""
    return [
        Wanted(
            name=f"rule-{number}",
            kind=DOCUMENTED_TYPES[number % 4],
            over=timedelta(days=dice.randint(1, 30)),
            pattern=_make_pattern(number, dice.sample(words, 3)),
        )
        for number in range(count)
    ]


def _make_pattern(shape: int, words: Sequence[str]) -> str:
    one, two, three = words
    shapes = (
        rf"(?i)\b{one}\b",
        rf"(?i)\b{one} {two}\b",
        rf"^\s*\[?{one.upper()}\b",
        rf"(?i)\b(?:{one}|{two}|{three})s?\b",
        rf"(?i)\b{one}.*{two}",
    )
    return shapes[shape % len(shapes)]


def make_tasks(words: Sequence[str], dice: random.Random) -> list[Task]:
    """Make tasks with descriptions of 20 to 300 characters, unseen before."""
    return [
        a_task(
            id=f"task-{number}",
            type=dice.choice(DOCUMENTED_TYPES),
            description=_make_text(words, dice),
            age=timedelta(days=dice.uniform(0, 90)),
        )
        for number in range(TASKS)
    ]


def _make_text(words: Sequence[str], dice: random.Random) -> str:
    length = dice.randint(20, 300)
    return " ".join(dice.choices(words, k=length // 4 + 1))[:length].capitalize()


def make_words(count: int, dice: random.Random) -> list[str]:
    """Make a vocabulary that rules and texts share, as they do in a workspace."""
    return [
        "".join(dice.choices(_LETTERS, k=dice.randint(3, 11))) for _ in range(count)
    ]


def compare_speed(count: int) -> bool:
    """Time both on the same tasks, fresh each time, and print the median ratio."""
    dice = random.Random(count)  # noqa: S311
    words = make_words(VOCABULARY, dice)
    wanted = make_rules(count, words, dice)
    rules = [(w.name, w.kind, w.over, re.compile(w.pattern)) for w in wanted]
    engine = CompiledRuleset(as_ruleset(wanted), build_prefilter)
    fast: list[float] = []
    slow: list[float] = []
    plain: list[str | None] = []
    for _ in range(ROUNDS):
        tasks = make_tasks(words, dice)
        gc.collect()
        start = time.process_time()
        decisions = engine.decide(tasks, now=T0)
        middle = time.process_time()
        plain = plain_loop(rules, tasks, T0)
        end = time.process_time()
        if [decision.rule for decision in decisions] != plain:
            _say(f"FAIL {count} rules: the two decide differently")
            return False
        fast.append((middle - start) / TASKS)
        slow.append((end - middle) / TASKS)
    ratio = statistics.median(s / f for s, f in zip(slow, fast, strict=True))
    passed = ratio >= TARGETS[count]
    _say(
        f"{'PASS' if passed else 'FAIL'} {count:>5} rules: {ratio:6.1f} times as fast"
        f" (target {TARGETS[count]:g}), {statistics.median(fast) * 1e6:.2f} µs a task"
        f" against {statistics.median(slow) * 1e6:.2f}, first list"
        f" {fast[0] * 1e6:.2f}, {sum(rule is not None for rule in plain)} dismissed"
    )
    return passed


def as_ruleset(wanted: Sequence[Wanted]) -> Ruleset:
    """Write the rules as the engine wants them."""
    return Ruleset(
        rules=tuple(
            Rule(
                name=w.name,
                match=AllOf(
                    (
                        TypeIn((w.kind,)),
                        AgeBetween(over=w.over),
                        DescriptionIs(Regex((compile_pattern(w.pattern),))),
                    )
                ),
                reason="testing",
            )
            for w in wanted
        )
    )


def face_hostile_text() -> bool:
    """Time one decision on each hostile text, against all hostile patterns at once."""
    patterns = tuple(map(compile_pattern, HOSTILE))
    rules = tuple(
        Rule(
            name=f"rule-{i}",
            match=DescriptionIs(Regex((p,))),
            reason=None,
            mode=Mode.ENFORCE,
        )
        for i, p in enumerate(patterns)
    )
    passed = True
    for name, text in hostile_texts():
        engine = CompiledRuleset(Ruleset(rules=rules), build_prefilter)
        task = a_task(description=text)
        start = time.process_time()
        engine.decide([task], now=T0)
        took = (time.process_time() - start) * 1e3
        passed &= took < HOSTILE_MS
        word = "PASS" if took < HOSTILE_MS else "FAIL"
        _say(f"{word} hostile text of {name}: {took:.2f} ms (target {HOSTILE_MS:g})")
    return passed


def hostile_texts() -> Iterator[tuple[str, str]]:
    """Give texts of 10,000 characters that backtracking does not come back from."""
    dice = random.Random(1)  # noqa: S311
    yield "one letter", "a" * HOSTILE_LENGTH
    yield "one letter and an end that spoils it", "a" * (HOSTILE_LENGTH - 1) + "!"
    yield "two letters", "".join(dice.choices("ab", k=HOSTILE_LENGTH))
    yield "words", ("word " * HOSTILE_LENGTH)[:HOSTILE_LENGTH]
    yield "anything", "".join(dice.choices("abx!?é漢 \n", k=HOSTILE_LENGTH))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> int:
    """Run everything; 0 when all of it passes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.decide")
    parser.add_argument("--pairs", type=int, default=0, metavar="N")
    pairs = parser.parse_args().pairs
    passed = [compare_speed(count) for count in TARGETS]
    passed.append(face_hostile_text())
    if pairs:
        different = count_differences(pairs)
        passed.append(different == 0)
        word = "PASS" if different == 0 else "FAIL"
        _say(f"{word} {pairs:,} pairs of pattern and text: {different} differences")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
