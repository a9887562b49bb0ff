"""Task ids as people type and read them."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.cli.task_ids import (
    MIN_PREFIX,
    either,
    expand,
    lookup_in,
    shorten,
    suggest,
    unknown_id,
)

IDS = (
    "4f0c9a6e-1b7d-4f83-9a51-0c5a3a7e1d11",
    "4f0c9a6e-1b7d-4f83-9a51-0c5a3a7e1d12",
    "77aa0000-0000-4000-8000-000000000000",
    "t-7",
)
KNOWN = lookup_in(IDS)
ANY_ID = st.text("ab-", min_size=1, max_size=24)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("t-7", "t-7"),
        (" t-7\r", "t-7"),
        ("77aa0000", IDS[2]),
        ("77aa0000-0000", IDS[2]),
        (IDS[0], IDS[0]),
        ("77aa", None),
        ("t-8", None),
        ("", None),
        ("99999999", None),
    ],
)
def test_a_unique_prefix_of_eight_characters_names_a_task(
    typed: str, meant: str | None
) -> None:
    """White space around an id is dropped; shorter prefixes name nothing."""
    assert expand(typed, KNOWN) == meant


def test_an_ambiguous_prefix_is_refused_with_the_candidates() -> None:
    """The person sees which ids begin like this."""
    with pytest.raises(click.UsageError) as refused:
        expand("4f0c9a6e", KNOWN)

    assert IDS[0] in refused.value.message
    assert IDS[1] in refused.value.message


def test_a_whole_id_that_is_the_start_of_another_is_not_ambiguous() -> None:
    """What was typed whole is meant as it is."""
    known = lookup_in(["task-0001", "task-00010"])

    assert expand("task-0001", known) == "task-0001"


def test_an_unknown_id_comes_with_the_nearest_known_ones() -> None:
    """A typo is told, with what was probably meant."""
    assert suggest("t-8", KNOWN) == ["t-7"]
    assert suggest("77aa", KNOWN) == [IDS[2]]
    assert unknown_id("t-8", KNOWN, "the ledger") == (
        "no task 't-8' in the ledger; similar ids: t-7"
    )


@given(st.sets(ANY_ID, max_size=12))
def test_what_is_shown_can_be_typed(ids: set[str]) -> None:
    """Every prefix that is shown leads back to its task, and to no other."""
    known = lookup_in(ids)
    shown = shorten(ids, known)

    assert {task_id: expand(text, known) for task_id, text in shown.items()} == {
        task_id: task_id for task_id in ids
    }
    assert all(len(shown[i]) >= min(MIN_PREFIX, len(i)) for i in ids)


def test_ids_from_elsewhere_make_a_prefix_longer() -> None:
    """A prefix is unique among all that is known, not only among what is shown."""
    elsewhere = either(lookup_in([IDS[0]]), lookup_in([IDS[1]]))

    assert shorten([IDS[0]], lookup_in(IDS[:1])) == {IDS[0]: "4f0c9a6e"}
    assert shorten([IDS[0]], elsewhere) == {IDS[0]: IDS[0]}


def test_lookups_are_bounded() -> None:
    """A limit is a limit, over several places too."""
    both = either(lookup_in(IDS[:2]), lookup_in(IDS[2:]))

    assert both("", limit=3) == list(IDS[:3])
    assert KNOWN("4f0c", limit=1) == [IDS[0]]


def test_a_mistyped_prefix_suggests_the_id_that_was_meant() -> None:
    """One wrong character in eight still resembles how the id begins."""
    assert suggest("77aa0001", KNOWN)[0] == IDS[2]


def test_a_prefix_that_is_too_short_is_told_how_long_it_must_be() -> None:
    """The id that it begins is named, and why it was not taken."""
    told = unknown_id("77aa", KNOWN, "the ledger")

    assert told == (
        f"no task '77aa' in the ledger; similar ids: {IDS[2]}"
        " (a prefix needs at least 8 characters)"
    )
