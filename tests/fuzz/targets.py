"""What is fuzzed: any bytes in, a value or an error of the project's own out."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from tests.builders import T0
from triaged.cli.plan_file import read_plan
from triaged.errors import ConfigError, PlanRejected, Problem
from triaged.leadlex import protocol
from triaged.leadlex.list_decoder import ListDecoder
from triaged.rules.decide import decide
from triaged.rules.task import Task, parse_task, replace_invalid_unicode
from triaged.rulesfile.loader import parse, run_tests
from triaged.text import escape_unprintable

Target: TypeAlias = Callable[[bytes], None]

CORPUS: Final = Path(__file__).parent / "corpus"


def fuzz_rules(data: bytes) -> None:
    """Load a rules file: it is refused with its problems, or its tests can be run."""
    problems: tuple[Problem, ...] = ()
    try:
        loaded = parse(data, "rules.yaml")
    except ConfigError as error:
        problems, loaded = error.problems, None
    if loaded is not None:
        run_tests(loaded, now=T0)
        decide(loaded.ruleset, [parse_task({"id": "a"})], now=T0)
    assert (loaded is None) is bool(problems)
    assert all(escape_unprintable(str(problem)).encode() for problem in problems)


def fuzz_wire(data: bytes) -> None:
    """Read an answer as each of the things that it might be, whole and in pieces."""
    tasks = _listed([data])
    middle = len(data) // 2
    pieces = _listed([data[:middle], data[middle:]])
    assert pieces == tasks
    for task in tasks or ():
        assert len(task.content_hash()) == 64
        assert escape_unprintable(task.description or "").isprintable()
        path = protocol.path_of(task.id or "x", "dismiss")
        assert path.count("/") == protocol.TASKS_PATH.count("/") + 2
    assert all(
        text == replace_invalid_unicode(text) for text in protocol.read_error(data)
    )
    for status in (200, 400, 404, 429, 500):
        assert str(
            protocol.error_from_response("dismiss", status, data, request_id=None)
        ).encode()
    with contextlib.suppress(ValueError):
        protocol.verify_confirmation(data, task_id="a", status="dismissed")
        assert b"dismissed" in data or b"\\u" in data


def _listed(pieces: list[bytes]) -> list[Task] | None:
    decoder = ListDecoder()
    try:
        for piece in pieces:
            decoder.feed(piece)
        return decoder.close()
    except ValueError:
        return None


def fuzz_plan(data: bytes) -> None:
    """Read a plan file as ``apply`` does: it is a whole plan, or it is refused."""
    try:
        plan = read_plan(data.decode("utf-8", "replace"))
    except PlanRejected:
        return
    assert plan.made_at.tzinfo is not None
    assert all(
        entry.task_id and entry.content_sha256 and entry.rule and entry.reason
        for entry in plan.entries
    )


TARGETS: Final[dict[str, Target]] = {
    "rules": fuzz_rules,
    "wire": fuzz_wire,
    "plan": fuzz_plan,
}


def corpus(name: str) -> list[Path]:
    """Return the files that fuzzing begins with."""
    return sorted((CORPUS / name).iterdir())
