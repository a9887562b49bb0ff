"""What test modules may import from each other."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]


def imported(path: Path) -> Iterator[str]:
    """Return the modules that a file imports, by their full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_test(module: str) -> bool:
    parts = module.split(".")
    return parts[0] == "tests" and any(part.startswith("test_") for part in parts)


def imports_of(pattern: str) -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(TESTS.parent)), module)
        for path in sorted(TESTS.glob(pattern))
        for module in imported(path)
    ]


def test_no_module_imports_from_a_test_module() -> None:
    """What tests share lies in modules without tests."""
    found = imports_of("**/*.py")

    assert ("tests/unit/test_fakes.py", "tests.fakes") in found
    assert [pair for pair in found if is_test(pair[1])] == []


def test_unit_tests_stand_on_their_own() -> None:
    """No unit test imports a benchmark or a part of the reliability tests."""
    banned = ("tests.bench", "tests.reliability")

    assert [p for p in imports_of("unit/**/*.py") if p[1].startswith(banned)] == []
