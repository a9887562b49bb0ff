"""The corpus of the fuzzers, replayed without one, and damaged at random besides."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, corpus

CASES = [(name, path) for name in TARGETS for path in corpus(name)]


@pytest.mark.parametrize(
    ("name", "path"), CASES, ids=lambda each: getattr(each, "name", each)
)
def test_a_file_of_the_corpus(name: str, path: Path) -> None:
    """What fuzzing once found, and what it begins with, ends in an error of ours."""
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_damage(name: str) -> None:
    """Valid files with a few bytes cut, doubled or changed end in an error of ours."""
    chance = random.Random(6)  # noqa: S311 - must repeat
    files = [path.read_bytes() for path in corpus(name)]
    for _ in range(100):
        data = bytearray(chance.choice(files))
        for _ in range(chance.randint(1, 4)):
            damage(data, chance)
        TARGETS[name](bytes(data))


def damage(data: bytearray, chance: random.Random) -> None:
    """Do one harm."""
    at = chance.randint(0, len(data))
    size = chance.choice([1, 2, 8, 40])
    odd = chance.choice(
        [
            b"\0",
            b"\xff",
            b"\xed\xa0\x80",
            b"[" * 100,
            b"9" * 5_000,
            b'"',
            b"NaN",
            b"\n- ",
        ]
    )
    match chance.randint(0, 3):
        case 0:
            del data[at : at + size]
        case 1:
            data[at:at] = data[at : at + size]
        case 2:
            data[at : at + 1] = odd
        case _:
            data[at:at] = chance.randbytes(size)


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is not None, reason="atheris is here"
)
def test_without_atheris_it_says_so() -> None:
    """The script does not fail with a traceback where atheris is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.rules"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "atheris is not installed" in done.stderr
