"""Which list answers are whole: a list that may be incomplete settles nothing."""

import json
from typing import Final

import httpx
import pytest

from tests.clocks import ManualClock
from tests.connections import OwnConnection
from triaged.leadlex.completeness import Doubt, find_doubt
from triaged.leadlex.errors import MalformedResponse
from triaged.leadlex.list_decoder import ListDecoder
from triaged.leadlex.models import TaskList
from triaged.leadlex.reader import LexiReader

ROWS: Final = '[{"id":"a","status":"pending"},{"id":"b","status":"pending"}]'
MORE: Final = "it says that there is more"


def doubt(body: str, **headers: str) -> Doubt | None:
    decoder = ListDecoder()
    decoder.feed(body.encode())
    tasks = decoder.close()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return find_doubt(
        asked="pending",
        tasks=tasks,
        members=decoder.members,
        headers=named,
        broken=decoder.broken,
    )


@pytest.mark.parametrize(
    "more",
    [
        "",
        '"meta":null',
        '"meta":{"total":2,"page":1,"per_page":2}',
        '"meta":{"total":2,"page":1,"per_page":50}',
        '"meta":{"page":1,"per_page":50,"next":null,"has_more":false}',
        '"meta":{"total":"2","last_page":1,"from":1,"to":2,"current_page":1}',
        '"meta":{"count":2,"limit":100,"offset":0}',
        '"meta":{"total_count":0}',
        '"meta":{"rate_limit":{"limit":2,"total":1000}}',
        '"links":{"next":null,"self":"/x"}',
        '"links":[{"rel":"self","href":"/x"}]',
        '"next":""',
        '"next_cursor":null',
        '"error":null',
        '"errors":[]',
        '"truncated":"false"',
        '"request_id":"req_next"',
        '"success":true,"ok":true,"status":"ok"',
        '"meta":{"last":true,"complete":true,"stale":false,"cached":false}',
        '"meta":{"total":{"value":2,"relation":"eq"}}',
        '"meta":{"total":2},"meta":{"total":2}',
        '"meta":{"found":2,"matched":2,"available":500,"totalElements":2}',
        '"meta":{"context":"x","done":null,"last":7}',
    ],
)
def test_a_whole_list(more: str) -> None:
    """What says that nothing is missing, and what says nothing, raises no doubt."""
    tail = f",{more}" if more else ""

    assert doubt(f'{{"data":{{"tasks":{ROWS}}}{tail}}}') is None
    assert doubt(f'{{"data":{{"tasks":{ROWS}{tail}}}}}') is None


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('"meta":{"total":3}', "2 of 3 tasks are listed"),
        ('"meta":{"total":"3"}', "2 of 3 tasks are listed"),
        ('"meta":{"pagination":{"totalCount":120}}', "2 of 120 tasks are listed"),
        ('"total":3', "2 of 3 tasks are listed"),
        ('"count":7', "2 of 7 tasks are listed"),
        ('"meta":{"page":2}', "it is page 2"),
        ('"meta":{"total_pages":4}', "it is one of 4 pages"),
        ('"meta":{"offset":50}', "it begins behind 50 other tasks"),
        ('"meta":{"per_page":2}', "a page holds 2 tasks, and 2 are listed"),
        ('"meta":{"count":2,"limit":2}', "a page holds 2 tasks, and 2 are listed"),
        ('"next":"/v1/lexi/tasks?page=2"', MORE),
        ('"next_cursor":"abc"', MORE),
        ('"nextPageToken":"abc"', MORE),
        ('"meta":{"next_page":2}', MORE),
        ('"links":{"next":{"href":"/x"}}', MORE),
        ('"_links":[{"rel":"next","href":"/x"}]', MORE),
        ('"has_more":true', MORE),
        ('"hasNextPage":"true"', MORE),
        ('"pageInfo":{"endCursor":"x"}', MORE),
        ('"truncated":true', MORE),
        ('"meta":{"partial":1}', MORE),
        ('"meta":{"total":{"value":3,"relation":"eq"}}', "2 of 3 tasks are listed"),
        ('"page":{"size":2,"totalElements":3}', "2 of 3 tasks are listed"),
        ('"meta":{"returned":2,"matched":3}', "2 of 3 tasks are listed"),
        ('"meta":{"last":false}', MORE),
        ('"meta":{"complete":false}', MORE),
        ('"@odata.nextLink":"/x"', MORE),
        ('"total":2,"total":3', "its total cannot be read"),
        ('"meta":{"total":2,"total":3}', "its total cannot be read"),
        ('"meta":{"total":NaN}', "its total cannot be read"),
        ('"meta":{"total":1e999}', "its total cannot be read"),
        (f'"meta":{{"total":{"9" * 5000}}}', "its total cannot be read"),
    ],
)
def test_a_list_with_more_behind_it(more: str, why: str) -> None:
    """Each sign of pages makes a list incomplete; its rows are still what they are."""
    found = [
        doubt(f'{{"data":{{"tasks":{ROWS}}},{more}}}'),
        doubt(f'{{{more},"data":{{"tasks":{ROWS}}}}}'),
        doubt(f'{{"data":{{"tasks":{ROWS},{more}}}}}'),
    ]

    assert all(it is not None and it.why.startswith(why) for it in found), found
    assert not any(it and it.rows for it in found)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"link": '</x?page=2>; rel="next"'}, MORE),
        ({"link": '</x>; rel="first", </y>; title="z"; rel=next'}, MORE),
        ({"link": '</x>; rel="last next"'}, MORE),
        ({"link": '</x>; rel="prev", </next>; rel="self"'}, None),
        ({"x-total-count": "3"}, "2 of 3 tasks are listed"),
        ({"x-total-count": "2"}, None),
        ({"x-next-page": "2"}, MORE),
        ({"x-next-page": ""}, None),
        ({"content-range": "tasks 0-1/120"}, "2 of 120 tasks are listed"),
        ({"content-range": "tasks 50-51/*"}, "it begins behind 50 other tasks"),
        ({"content-range": "tasks 0-1/2"}, None),
        ({"total-count": "3"}, "2 of 3 tasks are listed"),
        ({"X-Total-Pages": "3"}, "it is one of 3 pages"),
        ({"X-Page": "2"}, "it is page 2"),
        ({"x-per-page": "2"}, "a page holds 2 tasks"),
        ({"x-per-page": "2", "x-total": "2"}, None),
        ({"x-pagination": '{"total":3,"page":1}'}, "2 of 3 tasks are listed"),
        ({"x-pagination": '{"total":2'}, None),
        ({"x-nextjs-cache": "HIT", "x-ratelimit-limit": "2"}, None),
    ],
)
def test_headers_that_tell_of_pages(headers: dict[str, str], why: str | None) -> None:
    """Pages are told in headers as well."""
    found = doubt(f'{{"data":{{"tasks":{ROWS}}}}}', **headers)

    assert (found.why.startswith(why) if found and why else found) is (
        True if why else None
    )


@pytest.mark.parametrize(
    ("body", "why", "rows"),
    [
        # The filter was ignored: row 8 of the faults.
        (
            '{"data":{"tasks":[{"id":"a"},{"id":"b","status":"approved"}]}}',
            "tasks that are not pending are listed",
            False,
        ),
        # A task without a status contradicts nothing.
        ('{"data":{"tasks":[{"id":"a"},{"id":"b","status":null},7]}}', None, False),
        ('{"data":{"tasks":null}}', None, False),
        ('{"data":{"tasks":[]}}', None, False),
        # An error beside the data: row 25.
        (
            '{"data":{"tasks":[]},"error":{"code":"timeout","message":"x"}}',
            "the answer has an error beside its tasks",
            True,
        ),
        ('{"error":"x","data":{"tasks":[]}}', "the answer has an error", True),
        ('{"data":{"tasks":[],"errors":["x"]}}', "the answer has an error", True),
        ('{"error":null,"error":"x","data":{"tasks":[]}}', "the answer has an", True),
        # Another way to say that it failed, or that the rows are of earlier.
        ('{"success":false,"data":{"tasks":[]}}', "the answer speaks against", True),
        ('{"data":{"tasks":[],"ok":false}}', "the answer speaks against", True),
        ('{"status":"error","data":{"tasks":[]}}', "the answer speaks against", True),
        ('{"data":{"tasks":[]},"status":"partial"}', "the answer speaks", True),
        ('{"data":{"tasks":[]},"meta":{"stale":true}}', "the answer speaks", True),
        ('{"data":{"tasks":[]},"meta":{"from_cache":true}}', "the answer", True),
        # Where a broken entry ends is only likely.
        ('{"data":{"tasks":[{"id":"a" "b"}]}}', "1 of its entries are not JSON", False),
        ('{"data":{"tasks":[' + "[" * 3_000 + "]" * 3_000 + "]}}", None, False),
    ],
)
def test_lists_that_contradict_themselves(
    body: str, why: str | None, *, rows: bool
) -> None:
    """A list is judged by each task's own status and by all that the answer says."""
    found = doubt(body)

    assert (
        (found.why.startswith(why), found.rows) == (True, rows)
        if found and why
        else (found is None and why is None)
    )


def test_many_members_are_refused() -> None:
    """What an answer says beside its tasks is bounded; a long text still counts."""
    members = ",".join(f'"m{number}":1' for number in range(101))
    error = json.dumps({"error": "x" * 100_000, "data": {"tasks": []}})

    with pytest.raises(ValueError, match="more than 100 members"):
        doubt(f'{{{members},"data":{{"tasks":[]}}}}')
    assert doubt(error) == Doubt("the answer has an error beside its tasks", rows=True)


class Answers:
    """A server that gives one answer after the other."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        del request
        return self.answers.pop(0)


def answer(status: int = 200, rows: str = ROWS, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    body = f'{{"data":{{"tasks":{rows}}}}}'.encode()
    return httpx.Response(status, content=body, headers=named)


async def lists(*answers: httpx.Response) -> list[TaskList]:
    clock = ManualClock()
    async with OwnConnection(
        base_url="http://127.0.0.1",
        key=lambda: "wbk_x",
        clock=clock,
        transport=httpx.MockTransport(Answers(*answers)),
    ) as connection:
        return [await LexiReader(connection).list_tasks() for _ in answers]


@pytest.mark.anyio
async def test_a_list_says_that_it_is_incomplete() -> None:
    """The list of the connection has the doubt in words."""
    (whole, part, link) = await lists(
        answer(), answer(206), answer(link='</x>; rel="next"')
    )

    assert (whole.incomplete, whole.rows_in_doubt) == (None, False)
    assert part.incomplete == "the answer has status 206"
    assert str(link.incomplete).startswith(MORE)


@pytest.mark.anyio
async def test_an_answer_from_a_cache_says_nothing_of_now() -> None:
    """Its rows are in doubt, and neither its quota nor its clock counts."""
    date = "Sun, 01 Mar 2026 00:00:00 GMT"
    old = "Sat, 28 Feb 2026 23:00:00 GMT"
    (fresh, aged, stale) = await lists(
        answer(date=date, age="0", x_ratelimit_remaining="5"),
        answer(date=date, age="30", x_ratelimit_remaining="9", retry_after="7"),
        answer(date=old, x_ratelimit_remaining="9"),
    )

    assert (fresh.incomplete, fresh.rate_limit.remaining) == (None, 5)
    for cached in (aged, stale):
        assert cached.incomplete == "a cache gave an earlier answer"
        assert cached.rows_in_doubt
        assert (cached.rate_limit.remaining, cached.rate_limit.date) == (None, None)
    assert aged.rate_limit.retry_after is not None


@pytest.mark.anyio
async def test_one_request_id_for_all_is_none() -> None:
    """A server that gives all its answers one id is not taken for a broken proxy."""
    date = "Sun, 01 Mar 2026 00:00:00 GMT"
    same = [answer(x_request_id="req_1", date=date) for _ in range(3)]

    assert [it.incomplete for it in await lists(*same)] == [None] * 3


@pytest.mark.anyio
async def test_a_truncated_list_is_no_list() -> None:
    """An answer that is cut short is an error, not a shorter list."""
    with pytest.raises(MalformedResponse, match="cut short"):
        await lists(answer(rows='[{"id":"a"},{"id":"b'))
