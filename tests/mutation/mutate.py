"""Mutate the core part by part with mutmut, in copies outside of the checkout."""

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeAlias

from tests.mutation.report import Fate, Mutant, Row, as_table, fate_of

ROOT: Final = Path(__file__).parents[2]
WANTED_SHARE: Final = 0.9
NO_TESTS: Final = 5  # as pytest says it

Mutants: TypeAlias = list[tuple[str, str]]  # the module's path, the mutant's name

# What the tests read besides the code.
ALSO: Final = ("README.md", "rules.example.yaml")

# The same examples in every run, and no search for the smallest one, which takes longer
# than all else and is of no use for a mutant.
PROFILE: Final = """

import hypothesis

hypothesis.settings.register_profile(
    "mutation",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=50,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("mutation")
"""

# What `mutmut run` does before it looks for tests.  It would start pytest for each
# mutant, and run property tests before examples; `mutant_run` does neither.
GENERATE: Final = """
from pathlib import Path
from mutmut import __main__ as mutmut
Path("mutants").mkdir()
mutmut.set_mutant_under_test("mutant_generation")
mutmut.copy_src_dir()
mutmut.copy_also_copy_files()
mutmut.setup_source_paths()
mutmut.store_lines_covered_by_tests()
mutmut.create_mutants(1)
"""

# What each mutant changes, as JSON.
SHOW: Final = """
import json, sys
from mutmut.mutation.diff_apply import get_diff_for_mutant
mutants = json.load(sys.stdin)
json.dump([get_diff_for_mutant(name, path=path) for path, name in mutants], sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Some modules, and the tests that are there to kill their mutants."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


PARTS: Final[Mapping[str, Part]] = {
    "engine": Part(
        modules=("triaged/rules/decide.py", "triaged/rules/evaluate.py"),
        tests=("test_rules_*.py",),
    ),
    "conditions": Part(
        modules=(
            "triaged/rules/com*.py",
            "triaged/rules/con*.py",
            "triaged/rules/du*.py",
            "triaged/rules/[rt]*.py",
        ),
        tests=("test_rules_*.py",),
    ),
    "guard": Part(modules=("triaged/triage/guard.py",), tests=("test_guard.py",)),
    "quota": Part(modules=("triaged/quota/*.py",), tests=("quota/test_*.py",)),
    "ledger": Part(
        modules=(
            "triaged/ledger/dismissals.py",
            "triaged/ledger/decisions.py",
            "triaged/ledger/flags.py",
        ),
        tests=(
            "test_ledger_dismissals.py",
            "test_ledger_decisions.py",
            "test_ledger_flags.py",
        ),
    ),
    "outcomes": Part(
        modules=("triaged/triage/reconcile.py", "triaged/triage/requests.py"),
        tests=("test_reconcile.py", "test_requests.py"),
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Mutate the parts that are named, or all; fail when too few mutants die."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    given = parser.parse_args(arguments)
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for name in given.parts or PARTS:
        place = given.scratch / name
        tests = lay_out(PARTS[name], place)
        mutants = generate(place)
        fates = try_them(place, mutants, tests)
        rows += report(place, mutants, fates)
    total = Row("all", sum((row.counts for row in rows), Counter()))
    print(as_table([*rows, total]))  # noqa: T201
    return 0 if all(row.share >= WANTED_SHARE for row in rows) else 1


def lay_out(part: Part, place: Path) -> list[str]:
    """Copy the code and its tests, and say which of the tests to run."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for folder in ("triaged", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "mutation")
        shutil.copytree(ROOT / folder, place / folder, ignore=ignored)
    for name in (*ALSO, "pyproject.toml"):
        shutil.copy(ROOT / name, place / name)
    with (place / "tests/conftest.py").open("a") as conftest:
        conftest.write(PROFILE)
    tests = sorted(
        str(path.relative_to(ROOT))
        for pattern in part.tests
        for path in (ROOT / "tests/unit").glob(pattern)
    )
    options: dict[str, Sequence[str]] = {
        "source_paths": ("triaged",),
        "only_mutate": part.modules,
        "also_copy": ALSO,
        "use_git_change_detection": ("false",),
    }
    lines = ["\n    ".join([f"{key} =", *values]) for key, values in options.items()]
    (place / "setup.cfg").write_text("\n".join(["[mutmut]", *lines, ""]))
    return tests


def generate(place: Path) -> Mutants:
    """Have mutmut mutate the copy; return the mutants, each with its module."""
    with (place / "mutmut.log").open("w") as log:
        _python(place, "-c", GENERATE, stdout=log)
    mutants: Mutants = []
    for meta in sorted((place / "mutants").rglob("*.py.meta")):
        module = str(meta.relative_to(place / "mutants")).removesuffix(".meta")
        names = json.loads(meta.read_text())["exit_code_by_key"]
        mutants += [(module, name) for name in names]
    return mutants


def try_them(place: Path, mutants: Mutants, tests: Sequence[str]) -> Mapping[str, Fate]:
    """Run the examples, and the properties for the mutants that live through them."""
    fates = _try(place, mutants, [*tests, "-m", "not hypothesis"])
    left = [(module, name) for module, name in mutants if fates[name].lives]
    if not left:
        return fates
    try:
        return fates | _try(place, left, [*tests, "-m", "hypothesis"])
    except NoTestsError:
        return fates


class NoTestsError(Exception):
    """A part has no tests of this kind."""


def _try(place: Path, mutants: Mutants, arguments: Sequence[str]) -> dict[str, Fate]:
    (place / "todo.json").write_text(json.dumps(mutants))
    results = place / "results.txt"
    results.write_text("")
    with (place / "mutants.log").open("w") as log:
        done = _python(
            place / "mutants",
            str(Path(__file__).with_name("mutant_run.py")),
            str(place / "todo.json"),
            str(results),
            f"--basetemp={place / 'tmp'}",
            *arguments,
            stdout=log,
            may_fail=True,
        )
    if done == NO_TESTS:
        raise NoTestsError
    lines = [line.split() for line in results.read_text().splitlines()]
    if len(lines) != len(mutants):
        sys.exit(f"the run broke off (do the tests pass?), see {place / 'mutants.log'}")
    return {name: fate_of(int(code)) for name, code in lines}


def report(place: Path, mutants: Mutants, fates: Mapping[str, Fate]) -> list[Row]:
    """Count by module what became of the mutants; write those that live to a file."""
    rows: list[Row] = []
    diffs = _diffs(place, [each for each in mutants if fates[each[1]].lives])
    with (place / "survivors.diff").open("w") as out:
        for module in dict.fromkeys(module for module, _ in mutants):
            of_it = [
                Mutant(name, fates[name], diffs.get(name, ""))
                for where, name in mutants
                if where == module
            ]
            rows.append(Row(module, Counter(each.column for each in of_it)))
            out.writelines(str(each) for each in of_it if each.must_be_judged)
    print(f"to be judged: {place / 'survivors.diff'}", flush=True)  # noqa: T201
    return rows


def _diffs(place: Path, mutants: Mutants) -> dict[str, str]:
    shown = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=place,
        input=json.dumps(mutants),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    names = [name for _, name in mutants]
    return dict(zip(names, json.loads(shown.stdout), strict=True))


def _python(
    place: Path, *arguments: str, stdout: IO[str], may_fail: bool = False
) -> int:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        check=not may_fail,
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
