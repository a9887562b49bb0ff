"""Copies of tasks: equal, or alike, in whatever order they are listed."""

import random
import time
from datetime import timedelta
from itertools import permutations
from typing import Final

import pytest

from tests.builders import T0, a_task
from triaged.rules.conditions import DuplicateOf, Ignore, Keep
from triaged.rules.duplicates import MAX_COMPARED, Partner, find_duplicates
from triaged.rules.task import Json, Task

OF: Final = ("type", "description")
SIMILAR: Final = DuplicateOf(OF, similarity=0.9)


def _tasks(*descriptions: Json) -> list[Task]:
    """Return tasks, oldest first, named by their number."""
    return [
        a_task(id=str(number), description=text, age=timedelta(days=9 - number))
        for number, text in enumerate(descriptions)
    ]


def _kept(duplicate: DuplicateOf, *descriptions: Json) -> dict[str, str | None]:
    found = find_duplicates(duplicate, _tasks(*descriptions), T0)
    return {name: one and one.kept for name, one in found.items()}


@pytest.mark.parametrize(
    ("ignore", "one", "other", "same"),
    [
        ((), "Find 20 CEOs", "find  20\u00a0ceos ", True),
        ((), "Find 20 CEOs", "Find 30 CEOs", False),
        ((), "caf\u00e9 stra\u00dfe", "CAFE\u0301 STRASSE", True),
        ((Ignore.NUMBERS,), "Find 20 CEOs", "Find 1,000 CEOs", True),
        ((Ignore.NUMBERS,), "Find 20 CEOs", "Find CEOs", True),
        ((Ignore.NUMBERS,), "Report of Q3", "Report of Q4", False),
        ((Ignore.NUMBERS,), "Due 2026-03-01", "Due 2026-04-01", True),
        ((Ignore.NUMBERS,), "Find 20 CEOs!", "Find 20 CEOs", False),
        ((Ignore.PUNCTUATION,), "Find: 20 CEOs!", "find 20 ceos", True),
        ((Ignore.PUNCTUATION,), "Find 20 CEOs", "Find 30 CEOs", False),
        (tuple(Ignore), "Find #20 CEOs (DE)", "find 30 CEOs DE.", True),
        (tuple(Ignore), "Find 20 CEOs (DE)", "find 30 CEOs (AT)", False),
    ],
)
def test_what_does_not_count(
    ignore: tuple[Ignore, ...], one: str, other: str, same: bool
) -> None:
    """Two descriptions are equal when they are so but for what is ignored."""
    found = _kept(DuplicateOf(OF, ignore=ignore), one, other)

    assert found == {"0": None, "1": "0" if same else None}


def test_nothing_left_is_unknown() -> None:
    """A description of numbers alone cannot be compared without its numbers."""
    assert _kept(DuplicateOf(OF, ignore=(Ignore.NUMBERS,)), "42", "43") == {}


@pytest.mark.parametrize("text", ["a\ud800b", "\ufffd", "", " ", None, 7])
def test_a_text_that_cannot_be_read_is_unknown(text: Json) -> None:
    """Two texts that have lost a part may have differed in it."""
    assert _kept(DuplicateOf(OF), text, text) == {}


@pytest.mark.parametrize("source", [float("inf"), ["a"], {"a": 1}, None])
def test_a_value_that_cannot_be_compared_is_unknown(source: Json) -> None:
    """Only texts are compared, and only those that can be read."""
    tasks = [a_task(id=name, metadata={"k": source}) for name in "ab"]

    assert find_duplicates(DuplicateOf(("metadata.k",)), tasks, T0) == {}


def test_alike_enough() -> None:
    """A slip of the pen and another order are alike, another place is not."""
    assert _kept(
        SIMILAR,
        "Find law firms in Munich and Augsburg",
        "Find law frims in Munich and Augsburg",
        "in Augsburg and Munich find law firms",
        "Find law firms in Hamburg and Bremen",
    ) == {"0": None, "1": "0", "2": "0", "3": None}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find law firms in Munich", "Find law firms in Zurich"),
        (
            "Find 20 law firms in Munich and around",
            "Find 30 law firms in Munich and around",
        ),
        (
            "Send the whole report of Q3 to the team",
            "Send the whole report of Q4 to the team",
        ),
        ("Update the contact of Mr Smith", "Update the contact of Mr Braun"),
        ("Call the client", "Call the clients of the client"),
    ],
)
def test_another_name_or_number_is_another_task(one: str, other: str) -> None:
    """A few letters may make all the difference: no misspelling, no copy."""
    assert _kept(SIMILAR, one, other) == {"0": None, "1": None}


def test_the_score_is_told() -> None:
    """Each copy knows its partner and how alike they are."""
    found = find_duplicates(SIMILAR, _tasks("Find law firms", "Find law firm"), T0)

    assert found == {"0": None, "1": Partner("0", 0.9565)}


def test_a_chain_does_not_pull_in_what_is_not_alike() -> None:
    """A copy is alike the task that is kept for it, not only another copy."""
    chain = ["aaaaaaaaaa bbbbbbbbbb", "aaaaaaaaaa bbbbbbbbcc", "aaaaaaaaaa bbbbbbcccc"]

    assert _kept(SIMILAR, *chain) == {"0": None, "1": "0", "2": None}


def test_the_newest_can_be_kept() -> None:
    """Then older ones are its copies."""
    newest = DuplicateOf(OF, Keep.NEWEST, similarity=0.9)

    assert _kept(newest, "Find law firms", "Find law firm", "x y z") == {
        "0": "1",
        "1": None,
        "2": None,
    }


@pytest.mark.parametrize("keep", Keep)
def test_the_order_of_the_list_changes_nothing(keep: Keep) -> None:
    """The same tasks in any order have the same partners, ties decided by id."""
    texts = ["find law firms", "find law firm", "find the law firm", "find law firms!"]
    tasks = [a_task(id=str(n), description=t) for n, t in enumerate(texts)]
    duplicate = DuplicateOf(OF, keep, similarity=0.8)

    answers = [
        dict(sorted(find_duplicates(duplicate, order, T0).items()))
        for order in permutations(tasks)
    ]

    assert all(answer == answers[0] for answer in answers)


def test_a_long_list_is_bounded_and_no_order_changes_it() -> None:
    """Beyond 5,000 of a type the newest are unknown, and all of it takes a second."""
    dice = random.Random(1)  # noqa: S311
    words = ["".join(dice.choices("abcdefghij", k=7)) for _ in range(500)]
    tasks = [
        a_task(
            id=f"{n:05}",
            description=" ".join(dice.choices(words, k=dice.randint(5, 30))),
            age=timedelta(seconds=9_000 - n),
        )
        for n in range(MAX_COMPARED)
    ]
    tasks[4_000] = a_task(
        id="04000", description=f"{tasks[7].description}s", age=timedelta(seconds=5_000)
    )
    beyond = [a_task(id="new", description=tasks[7].description, age=timedelta(0))]

    began = time.process_time()
    found = find_duplicates(SIMILAR, [*tasks, *beyond], T0)
    took = time.process_time() - began

    assert "new" not in found
    assert found["04000"] is not None
    assert found["04000"].kept == "00007"
    assert found == find_duplicates(SIMILAR, [*beyond, *reversed(tasks)], T0)
    assert took < 5
