"""A rules file that is being written: half of one may load, and lack its protection."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import T0
from tests.fakes import RULES
from triaged.errors import ConfigError
from triaged.rulesfile.being_written import LOOKS, wait_until_written

PROTECT = "protect: [{type: contact_update}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a rules file that was changed at T0."""
    path = tmp_path / "rules.yaml"
    write(path, RULES)
    return path


def write(path: Path, text: str, at: float = T0.timestamp()) -> None:
    path.write_text(text)
    os.utime(path, (at, at))


class Pauses:
    """Counts pauses; what happens in each is given, the last one repeats nothing."""

    def __init__(self, *steps: Callable[[], None]) -> None:
        self.count = 0
        self._steps = list(steps)

    def __call__(self, _seconds: float) -> None:
        self.count += 1
        if self._steps:
            self._steps.pop(0)()


def test_an_old_file_costs_no_time(file: Path) -> None:
    """Nothing waits for a file that was not changed lately, or changed in a future."""
    for now in (T0 + timedelta(seconds=2), T0 - timedelta(hours=1)):
        wait_until_written([file], now=now, pause=(pauses := Pauses()))

        assert pauses.count == 0


def test_a_file_of_now_is_looked_at_again(file: Path) -> None:
    """It is taken once two looks in a row agree."""
    wait_until_written([file], now=T0, pause=(pauses := Pauses()))

    assert pauses.count == 1


def test_a_file_that_grows_is_waited_for(file: Path) -> None:
    """Size, time and content have to stand still, the whole of it included."""
    pauses = Pauses(
        lambda: write(file, RULES + PROTECT[:12]),
        lambda: write(file, RULES + PROTECT),
        lambda: write(file, RULES + PROTECT, at=T0.timestamp() + 1),
    )

    wait_until_written([file], now=T0, pause=pauses)

    assert pauses.count == 4
    assert file.read_text().endswith(PROTECT)


def test_a_list_is_a_part_of_the_rules(tmp_path: Path, file: Path) -> None:
    """A list of words that is being written is waited for as well."""
    words = tmp_path / "kept.txt"
    protect = "protect: [{description: {words: {file: kept.txt}}}]\n"
    write(file, RULES + protect, at=0)
    write(words, "acme\n")
    pauses = Pauses(lambda: write(words, "acme\nboard\n"))

    wait_until_written([file], now=T0, pause=pauses)

    assert pauses.count == 2


def test_a_file_that_keeps_changing_is_refused(file: Path) -> None:
    """It is not taken half after all: the message says to try again."""
    grow = (lambda n=n: write(file, RULES + "#" * n) for n in range(1, LOOKS + 5))

    with pytest.raises(ConfigError, match=r"rules\.yaml: is being written; try again"):
        wait_until_written([file], now=T0, pause=Pauses(*grow))


def test_what_is_no_file_is_left_to_the_loader(tmp_path: Path) -> None:
    """A pipe is not read before its time, and what is missing is reported later."""
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", tmp_path / "missing", tmp_path):
        wait_until_written([path], now=T0, pause=(pauses := Pauses()))

        assert pauses.count == 0
