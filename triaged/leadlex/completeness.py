"""Judges whether a list answer is what it seems: all tasks of one status, as of now.

LeadLex documents neither pages nor filters that fail, so each sign of them counts; a
list that may be incomplete resolves nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from triaged.rules.task import Json, Task

Members = Mapping[tuple[str, ...], Json]

_TOTALS: Final = frozenset(
    {"total", "totalcount", "totalitems", "totalresults", "totalrecords"}
)
_PAGES: Final = frozenset({"page", "currentpage", "pagenumber"})
_LAST_PAGES: Final = frozenset({"pages", "totalpages", "pagecount", "lastpage"})
_OFFSETS: Final = frozenset({"offset", "skip"})
_SIZES: Final = frozenset({"perpage", "pagesize", "limit"})
_MORE: Final = frozenset(
    {"hasmore", "hasnext", "hasnextpage", "more", "moreavailable", "truncated"}
    | {"partial", "incomplete", "istruncated", "ispartial", "isincomplete"}
    | {"cursor", "endcursor", "continuation", "continuationtoken", "pagetoken"}
)
# Members that tell of the rate limit: their ``limit`` is of calls, not of rows.
_NOT_OF_ROWS: Final = ("ratelimit", "quota", "usage")
_MAX_DEPTH: Final = 4

_TOTAL_HEADERS: Final = ("x-total-count", "x-total", "x-pagination-total-count")
_NEXT_HEADERS: Final = ("x-next-page", "x-next-cursor", "x-has-more", "x-continuation")
_LINK_NEXT: Final = re.compile(r"(?i);\s*rel\s*=\s*\"?[^\";,]*\bnext\b")
_OF_TOTAL: Final = re.compile(r"\w+\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)")
_NOTHING: Final = frozenset({"", "0", "false", "none", "null", "no"})


class Doubt(NamedTuple):
    """Why a list may not be what it seems.

    ``rows`` says that its rows may be wrong or out of date, so that none of them must
    be acted on; otherwise tasks may be missing beside them.
    """

    why: str
    rows: bool = False


def find_doubt(
    *,
    asked: str,
    tasks: Sequence[Task],
    members: Members,
    headers: Mapping[str, str],
    status: int = HTTPStatus.OK,
    is_cached: bool = False,
    broken: int = 0,
) -> Doubt | None:
    """Say why a list may be incomplete or out of date; None if nothing points to it.

    ``members`` is what the answer says beside its tasks, by path.
    """
    if is_cached:
        return Doubt("a cache gave an earlier answer", rows=True)
    errors = [path for path in members if _plain(path[-1]) in {"error", "errors"}]
    if any(members[path] for path in errors):
        return Doubt("the answer has an error beside its tasks", rows=True)
    others = {task.status for task in tasks} - {asked, None}
    if others:
        return Doubt(f"tasks that are not {asked} are listed: the filter was ignored")
    if broken:
        return Doubt(f"{broken} of its entries are not JSON")
    if status != HTTPStatus.OK:
        return Doubt(f"the answer has status {status}")
    rows = len(tasks)
    said = [*_facts(members), *_header_facts(headers)]
    signs = [_page(name, value, rows) for name, value in said]
    if not any(name in _TOTALS for name, _ in said):
        signs += [_full(name, value, rows) for name, value in said]
    return next((Doubt(why) for why in signs if why), None)


def _facts(members: Members) -> Iterator[tuple[str, Json]]:
    for path, value in members.items():
        yield from _walk(path[-1], value, 0)


def _walk(name: str, value: Json, depth: int) -> Iterator[tuple[str, Json]]:
    """Go through what an answer says of itself, by plain names."""
    plain = _plain(name)
    if plain.startswith(_NOT_OF_ROWS):
        return
    yield plain, value
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for inner, item in value.items():
            yield from _walk(inner, item, depth + 1)
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict) and item.get("rel") == "next":
            yield "next", item


def _header_facts(headers: Mapping[str, str]) -> Iterator[tuple[str, Json]]:
    yield from (("total", headers[name]) for name in _TOTAL_HEADERS if name in headers)
    yield from (("next", headers[name]) for name in _NEXT_HEADERS if name in headers)
    if _LINK_NEXT.search(headers.get("link", "")):
        yield "next", "link"
    if found := _OF_TOTAL.fullmatch(headers.get("content-range", "").strip()):
        first, _, total = found.groups()
        yield "offset", first
        yield "total", total


def _page(name: str, value: Json, rows: int) -> str | None:
    """Return what one fact has to do with further pages."""
    number = _number(value)
    if name in _TOTALS | {"count"} and number is not None and number > rows:
        return f"{rows} of {number:.0f} tasks are listed"
    if name in _PAGES and number is not None and number > 1:
        return f"it is page {number:.0f}"
    if name in _LAST_PAGES and number is not None and number > 1:
        return f"it is one of {number:.0f} pages"
    if name in _OFFSETS and number is not None and number > 0:
        return f"it begins behind {number:.0f} other tasks"
    if name in _MORE or name.startswith("next"):
        return f"it says that there is more ({name})" if _says_yes(value) else None
    return None


def _full(name: str, value: Json, rows: int) -> str | None:
    size = _number(value) if name in _SIZES else None
    if size is None or not 0 < size <= rows:
        return None
    return f"a page holds {size:.0f} tasks, and {rows} are listed"


def _says_yes(value: Json) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in _NOTHING
    if isinstance(value, dict):
        return any(map(_says_yes, value.values()))
    return bool(value)


def _number(value: Json) -> float | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value.strip(), re.ASCII):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 10**15 else None  # NaN compares false


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())
