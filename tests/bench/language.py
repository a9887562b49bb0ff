"""How long the larger parts of the rules language take.

``python -m tests.bench.language`` loads 1,000 rules with a list of 20,000 phrases, and
looks for those phrases in descriptions, also by RE2's Set and, where installed, by
ahocorasick_rs; it finds similar ones among 5,000 tasks.  Exits 1 if one is too slow.
"""

import importlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.builders import T0, a_task
from triaged.rules.conditions import DuplicateOf
from triaged.rules.duplicates import find_duplicates
from triaged.rules.patterns.prefilter import build_set
from triaged.rules.words import WordIndex, fold
from triaged.rulesfile.loader import compile_rules, load

RULES: Final = 1_000
PHRASES: Final = 20_000
TASKS: Final = 5_000
LOAD_SECONDS: Final = 2.0
WORDS_MICROSECONDS: Final = 20.0
SIMILAR_SECONDS: Final = 1.0
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def _say(*, passed: bool, line: str) -> bool:
    sys.stdout.write(f"{'PASS' if passed else 'FAIL'} {line}\n")
    return passed


def _vocabulary(dice: random.Random, size: int) -> list[str]:
    found = (
        "".join(dice.choices(_LETTERS, k=dice.randint(4, 11))) for _ in range(size)
    )
    return list(dict.fromkeys(found))


def _phrases(dice: random.Random, words: Sequence[str]) -> list[str]:
    return [
        " ".join(dice.sample(words, dice.choice((1, 2, 2, 3)))) for _ in range(PHRASES)
    ]


def _texts(dice: random.Random, words: Sequence[str]) -> list[str]:
    return [
        " ".join(dice.choices(words, k=dice.randint(4, 50)))[:300] for _ in range(TASKS)
    ]


def time_loading(dice: random.Random) -> bool:
    """Load a thousand rules, each with the list or a pattern, ready to decide by."""
    words = _vocabulary(dice, 30_000)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "clients.txt").write_text("\n".join(_phrases(dice, words)))
        rules = "".join(
            f"  - name: rule-{n}\n    match: {{type: contact_update,"
            f" description: {{words: {{file: clients.txt}}, regex: '{words[n]}'}}}}\n"
            "    dismiss: testing\n"
            for n in range(RULES)
        )
        path = folder / "rules.yaml"
        path.write_text(f"version: 1\nrules:\n{rules}")
        start = time.process_time()
        compile_rules(load(path))
        took = time.process_time() - start
    line = f"{RULES} rules with {PHRASES} phrases load in {took:.2f} s"
    return _say(passed=took < LOAD_SECONDS, line=f"{line} (target {LOAD_SECONDS:g})")


def time_words(dice: random.Random) -> bool:
    """Look for all phrases in descriptions unseen before, folding included."""
    words = _vocabulary(dice, 30_000)
    phrases, texts = _phrases(dice, words), _texts(dice, words)
    spaced = [f" {fold(phrase)} " for phrase in phrases]
    took = _per_text(WordIndex(phrases).find, texts)
    one_pass = build_set(spaced, 256 << 20)
    if one_pass is not None:
        by_set = _per_text(lambda text: one_pass(f" {fold(text)} "), texts)
        _say(passed=True, line=f"  by RE2's Set {by_set:.1f} µs")
    try:
        library = importlib.import_module("ahocorasick_rs")
    except ImportError:
        _say(passed=True, line="  ahocorasick_rs is not installed")
    else:
        find = library.AhoCorasick(spaced).find_matches_as_indexes
        by_library = _per_text(
            lambda text: find(f" {fold(text)} ", overlapping=True), texts
        )
        _say(passed=True, line=f"  by ahocorasick_rs {by_library:.1f} µs")
    line = f"{PHRASES} phrases cost {took:.1f} µs a task"
    return _say(
        passed=took < WORDS_MICROSECONDS,
        line=f"{line} (target {WORDS_MICROSECONDS:g})",
    )


def _per_text(search: Callable[[str], object], texts: Sequence[str]) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        for text in texts:
            search(text)
        best = min(best, time.process_time() - start)
    return best / len(texts) * 1e6


def time_similarity(dice: random.Random) -> bool:
    """Compare as many tasks of one type as are compared at all."""
    texts = _texts(dice, _vocabulary(dice, 1_000))
    tasks = [
        a_task(id=f"task-{n}", description=text, age=timedelta(seconds=n))
        for n, text in enumerate(texts)
    ]
    find_duplicates(DuplicateOf(("description",), similarity=0.9), tasks[:50], now=T0)
    start = time.process_time()
    find_duplicates(DuplicateOf(("type", "description"), similarity=0.9), tasks, now=T0)
    took = time.process_time() - start
    line = f"{TASKS} descriptions compared in {took:.2f} s (target {SIMILAR_SECONDS:g})"
    return _say(passed=took < SIMILAR_SECONDS, line=line)


def main() -> int:
    """Run everything; 0 when all of it passes."""
    parts = (time_loading, time_words, time_similarity)
    results = [part(random.Random(1)) for part in parts]  # noqa: S311
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
