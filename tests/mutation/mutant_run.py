"""Runs mutants: collect the tests once, then fork for each mutant and run them.

Runs in a copy mutated by mutmut, where an environment variable selects the mutant.
Writes one line for each mutant: its name and how the tests ended.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

MUTANT: Final = "MUTANT_UNDER_TEST"
HANGS_AFTER: Final = 600  # seconds, of a test that waits for ever


class MutantRunner:
    """A pytest plugin that runs all tests once for each mutant, in a child each."""

    def __init__(self, mutants: Sequence[tuple[str, str]], results: Path) -> None:
        self._mutants = mutants
        self._results = results

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        code, seconds = _fork(session.items, "", limit=None)
        if code:
            sys.exit("the tests fail without any mutant")
        limit = 5 * seconds + 5
        with self._results.open("w") as out:
            for module, name in self._mutants:
                stem = Path(module).stem
                # The tests of the module itself are the likeliest to notice.
                items = sorted(
                    session.items, key=lambda item: stem not in item.path.stem
                )
                code, _ = _fork(items, name, limit=limit)
                out.write(f"{name} {code}\n")
                out.flush()
        return True


def _fork(
    items: Sequence[pytest.Item], mutant: str, *, limit: float | None
) -> tuple[int, float]:
    """Run the tests in a child; return how it ended and the processor time it took."""
    child = os.fork()
    if not child:
        _run(items, mutant, limit)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def _run(items: Sequence[pytest.Item], mutant: str, limit: float | None) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.environ[MUTANT] = mutant
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(HANGS_AFTER)
    if limit is not None:
        seconds = int(limit) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if item.session.testsfailed:
            os._exit(1)
    os._exit(0)


def main(arguments: Sequence[str]) -> int:
    """Run the mutants of a JSON file: which, where to write, pytest's arguments."""
    mutants, results, *rest = arguments
    os.environ[MUTANT] = ""
    runner = MutantRunner(json.loads(Path(mutants).read_text()), Path(results))
    return pytest.main(["-q", "-p", "no:cacheprovider", *rest], plugins=[runner])


if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())
    sys.exit(main(sys.argv[1:]))
