"""Every mistake in tests/rejects, with the message that its author gets."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0
from triaged.errors import ConfigError
from triaged.rulesfile.loader import load, parse, run_tests
from triaged.rulesfile.parser.nodes import MAX_BYTES
from triaged.rulesfile.problems import MAX_PROBLEMS

ROOT: Final = Path(__file__).parents[2]
REJECTS: Final = sorted((ROOT / "tests" / "rejects").glob("*.yaml"))
EXAMPLE: Final = (ROOT / "rules.example.yaml").read_bytes()

_PIECES: Final = st.sampled_from(
    [
        *"-:,[]{}'\"#&*!|>%@`?~\n\t \\",
        *(b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85"),
        *("null", "no", "12:30", "1.10", "<<", "- ", ": ", "  ", "---\n", "...\n"),
        *("{}", "[]", "!!str ", "&a ", "*a", "999999999w", ".inf", "'(?=x)'"),
        "9" * 400,
        "[" * 40,
    ]
).map(lambda piece: piece.encode() if isinstance(piece, str) else piece)


@pytest.mark.parametrize("path", REJECTS, ids=lambda path: path.stem)
def test_each_mistake_is_answered(path: Path) -> None:
    """All problems at once, each with its place, what was found and what would do."""
    with pytest.raises(ConfigError) as caught:
        parse(path.read_bytes(), path.name)

    expected = path.with_suffix(".txt").read_text(encoding="utf-8")
    assert f"{caught.value}\n" == expected


def test_a_missing_file_is_a_problem_of_the_file(tmp_path: Path) -> None:
    """Nothing is there, and the message says so with the path."""
    path = tmp_path / "rules.yaml"

    with pytest.raises(ConfigError, match=r"rules\.yaml: cannot be read: No such file"):
        load(path)


def test_a_directory_is_a_problem_of_the_file(tmp_path: Path) -> None:
    """A path that cannot be read is answered like any other mistake."""
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_path_that_cannot_be_is_a_problem_of_the_file() -> None:
    """Not even an impossible path raises anything else."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(Path("rules\0.yaml"))


def test_a_file_in_another_encoding_is_refused() -> None:
    """UTF-16 is no UTF-8, with or without a mark."""
    with pytest.raises(ConfigError, match="not UTF-8"):
        parse(EXAMPLE.decode().encode("utf-16"), "rules.yaml")


def test_a_file_may_have_a_mebibyte() -> None:
    """The limit is on the edge: one byte more is refused, unread."""
    filled = EXAMPLE + b"#" * (MAX_BYTES - len(EXAMPLE) - 1) + b"\n"

    assert parse(filled, "rules.yaml").ruleset.rules
    with pytest.raises(ConfigError, match=r"larger than 1 MiB \(1,048,576 bytes\)$"):
        parse(filled + b"\n", "rules.yaml")


def test_problems_end_somewhere() -> None:
    """A file that is no rules file at all is not complained about for ever."""
    with pytest.raises(ConfigError, match="was not read") as caught:
        parse(b"version: 1\nrules:\n" + b"  - {}\n" * 5000, "rules.yaml")

    assert len(caught.value.problems) == MAX_PROBLEMS + 1


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_order(data: bytes) -> None:
    """Random bytes are no rules; nothing but ConfigError says so."""
    with pytest.raises(ConfigError):
        parse(data, "rules.yaml")


@given(st.data())
def test_a_damaged_file_loads_or_is_refused(data: st.DataObject) -> None:
    """However the example is damaged: rules whose tests can be run, or ConfigError."""
    damaged = EXAMPLE
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        end = start + data.draw(st.sampled_from([0, 0, 1, 5, 40, 400]))
        damaged = damaged[:start] + data.draw(_PIECES) + damaged[end:]

    try:
        loaded = parse(damaged, "rules.yaml")
    except ConfigError as error:
        places = [(problem.line, problem.column) for problem in error.problems]
    else:
        places = [(1, 1)]
        run_tests(loaded, now=T0)

    assert places
    assert places == sorted(places)
