"""A list answer in pieces: the same tasks however it is cut, and never too much."""

import json
import random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.leadlex import list_decoder
from triaged.leadlex.entries import task_size
from triaged.leadlex.list_decoder import ListDecoder
from triaged.rules.task import Json, Task, parse_task

BODY: Final = (
    '{"meta":{"n":[1,2.5e3,"a\\"b"]}, "data":{"tasks":[{"id":"a","description":'
    '"é\\ud83d\\ude00 😀 [TEST]"}, 12.5 ,{"id":"b","metadata":{"k":[true,null]}}],'
    '"more":-1} ,"x":"\\u00e9"}\n'
).encode()


def decoded(*pieces: bytes) -> list[Task]:
    decoder = ListDecoder()
    for piece in pieces:
        decoder.feed(piece)
    return decoder.close()


def test_it_does_not_matter_where_an_answer_is_cut() -> None:
    """Cut in two at any byte, or into single bytes: the tasks are the same."""
    whole = decoded(BODY)

    assert [task.id for task in whole] == ["a", None, "b"]
    assert whole[0].description == "é😀 😀 [TEST]"
    assert decoded(*(bytes([byte]) for byte in BODY)) == whole
    for at in range(len(BODY)):
        assert decoded(BODY[:at], BODY[at:]) == whole


def test_an_answer_cut_short_is_none() -> None:
    """Nothing but the whole answer gives tasks: not a byte may be missing."""
    for end in range(len(BODY.rstrip())):
        decoder = ListDecoder()
        decoder.feed(BODY[:end])
        with pytest.raises(ValueError, match=r"\S"):
            decoder.close()


def test_what_was_refused_once_stays_refused() -> None:
    """Going on behind an error does not give half of a list."""
    decoder = ListDecoder()
    with pytest.raises(ValueError, match="where one of"):
        decoder.feed(b'{"data":{"tasks":[{"id":"a"}];')
    decoder.feed(b"}}")

    with pytest.raises(ValueError, match="given up"):
        decoder.close()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>", "'<' where an object that has 'data' should be"),
        ("", "'' where an object"),
        ('{"data":{"tasks":{}}}', "'{' where a list of tasks should be"),
        ('{"data":{"items":[]}}', "no 'tasks' where it should be"),
        ('{"data":{"tasks":[],"tasks":[]}}', "'tasks' twice"),
        ('{"data":{"tasks":[]},"data":{"tasks":[]}}', "'data' twice"),
        ('{"data":{"tasks":[1,', "cut short behind 1 tasks"),
        ('{"data":{"tasks":[1 1}', "'}' where one of ',]' should be"),
        ('{"a":tru,"data":{"tasks":[]}}', "no JSON behind 0 tasks"),
        ('{"data":{"tasks":1}}', "'1' where a list of tasks should be"),
        ('{"data":{"tasks":nul}}', "no JSON"),
        ('{"data":{"tasks":nan}}', "no JSON"),
        ('{"data":{"tasks":[]},}', "a key that is no text"),
        ('{"data":{"tasks":[]}}}', "'}' behind the end"),
        ('{1:2,"data":{"tasks":[]}}', "a key that is no text"),
    ],
)
def test_a_refusal_says_what_was_found(body: str, said: str) -> None:
    """The message names what is there and what should be."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - looked at below
        decoded(body.encode())

    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("limit", "body", "said"),
    [
        ("MAX_TASKS", b"1,1,1,1,1,1", "more than 5 tasks"),
        ("MAX_HELD_BYTES", b'{"id":"a"}', "more than 0 MiB of memory"),
    ],
)
def test_too_much_is_refused(
    limit: str, body: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever multiplies in memory has a limit, and the refusal tells it."""
    monkeypatch.setattr(list_decoder, limit, 5)

    with pytest.raises(ValueError, match=said):
        decoded(b'{"data":{"tasks":[' + body + b"]}}")


def test_an_entry_has_a_limit_however_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One entry that does not end is given up; many that do are not, nor blanks."""
    monkeypatch.setattr(list_decoder, "MAX_ENTRY_CHARS", 200_000)
    many = b",".join([b'"' + b"x" * 1_000 + b'"'] * 500)
    decoder = ListDecoder()
    decoder.feed(b'{"data":{"tasks":["')

    assert len(decoded(b'{"data":{"tasks":[' + many + b" " * 900_000 + b"]}}")) == 500
    for _ in range(199):
        decoder.feed(b"x" * 1_000)
    with pytest.raises(ValueError, match="more than 200,000 characters"):
        decoder.feed(b"x" * 1_000)


def test_an_ordinary_answer_is_far_from_any_limit() -> None:
    """100,000 tasks with texts of 300 characters take 60 % of what is allowed."""
    rows = [
        {
            "id": f"4b1c7f0e-0000-4000-8000-{number:012d}",
            "type": "prospect_search",
            "status": "pending",
            "description": "Find 20 General Counsel in Bavaria, and add them; " * 6,
            "created_at": "2026-01-01T08:30:00Z",
            "metadata": {"query": f"counsel {number}", "limit": 50, "source": "api"},
        }
        for number in range(1_000)
    ]
    tasks = decoded(json.dumps({"data": {"tasks": rows}}).encode())
    held = sum(map(task_size, tasks))

    assert held * 100 < list_decoder.MAX_HELD_BYTES * 0.6
    assert list_decoder.MAX_TASKS >= 200_000


def test_nothing_is_kept_once_forgotten() -> None:
    """An error keeps the decoder alive, but not what it has read."""
    decoder = ListDecoder()
    decoder.feed(BODY[:150])
    decoder.discard()

    assert not [held for held in vars(decoder).values() if "TEST" in repr(held)]


_json: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.lists(_json), _json, st.randoms(use_true_random=False))
def test_it_reads_as_json_does(
    entries: list[Json], other: Json, chance: random.Random
) -> None:
    """Piece by piece it comes to what reading the whole at once comes to."""
    answer = {"a": other, "data": {"b": other, "tasks": entries, "c": other}}
    indent = chance.choice([None, 1])
    body = json.dumps(answer, indent=indent, ensure_ascii=chance.random() < 0.5)
    cut = [body.encode()[at : at + 7] for at in range(0, len(body.encode()), 7)]
    wanted = [parse_task(entry) for entry in json.loads(body)["data"]["tasks"]]

    assert decoded(*cut) == wanted


@given(st.binary(max_size=200), st.integers(0, len(BODY)), st.integers(0, 20))
def test_a_damaged_answer_is_refused_or_read(data: bytes, at: int, gone: int) -> None:
    """A few wrong bytes anywhere end in tasks or in a ValueError."""
    damaged = BODY[:at] + data + BODY[at + gone :]
    try:
        tasks = decoded(damaged)
    except ValueError:
        return

    assert all(isinstance(task, Task) for task in tasks)
