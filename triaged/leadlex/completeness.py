"""Decides whether a list response is complete and current for its status.

LeadLex documents neither pagination nor failing filters, so any sign of either counts.
A list that may be incomplete is not used to resolve outcomes.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from triaged.rules.task import Json, Task

Members = Mapping[tuple[str, ...], Json]

_TOTALS: Final = frozenset(
    {"total", "totalcount", "totalitems", "totalresults", "totalrecords"}
    | {"totalelements", "totaltasks", "totalrows", "totalhits", "totalmatches"}
    | {"found", "numfound", "matched", "matches"}
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
# What is false if there is more, or if the rows are not to be relied on.
_WHOLE: Final = frozenset(
    {"last", "islast", "lastpage", "complete", "iscomplete", "done", "final"}
)
_SOUND: Final = frozenset({"success", "ok"})
# What is true of rows that are not those of now.
_OLD: Final = frozenset({"stale", "isstale", "cached", "fromcache", "degraded"})
_BAD_STATES: Final = frozenset({"error", "failed", "failure", "fail", "partial"})
# Members about the rate limit: their ``limit`` counts calls, not rows.
_NOT_OF_ROWS: Final = ("ratelimit", "quota", "usage")
_MAX_DEPTH: Final = 4

_HEADERS: Final = _TOTALS | _PAGES | _LAST_PAGES | _MORE | {"perpage", "pagesize"}
_NEXT_HEADER: Final = re.compile(
    r"next(?:page|cursor|link|url|token|offset|pagetoken)?"
)
_LINK_NEXT: Final = re.compile(r"(?i);\s*rel\s*=\s*\"?[^\";,]*\bnext\b")
_OF_TOTAL: Final = re.compile(r"\w+\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)")
_NOTHING: Final = frozenset({"", "0", "false", "none", "null", "no"})


class Doubt(NamedTuple):
    """Why a list may be incomplete or out of date.

    If ``rows`` is set, the rows themselves may be wrong or out of date, so no decision
    may be based on them; otherwise only further tasks may be missing.
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
    """Return why a list may be incomplete or out of date, or None.

    ``members`` are the other members of the response besides its tasks, by path.
    """
    if is_cached:
        return Doubt("a cache gave an earlier answer", rows=True)
    errors = [path for path in members if _plain(path[-1]) in {"error", "errors"}]
    if any(members[path] for path in errors):
        return Doubt("the answer has an error beside its tasks", rows=True)
    said = [*_facts(members), *_header_facts(headers)]
    if denied := next((name for name, value in said if _denies(name, value)), None):
        return Doubt(f"the answer speaks against its tasks ({denied})", rows=True)
    others = {task.status for task in tasks} - {asked, None}
    if others:
        return Doubt(f"tasks that are not {asked} are listed: the filter was ignored")
    if broken:
        return Doubt(f"{broken} of its entries are not JSON")
    if status != HTTPStatus.OK:
        return Doubt(f"the answer has status {status}")
    rows = len(tasks)
    signs = [_page(name, value, rows) for name, value in said]
    if not any(name in _TOTALS for name, _ in said):
        signs += [_full(name, value, rows) for name, value in said]
    return next((Doubt(why) for why in signs if why), None)


def _denies(name: str, value: Json) -> bool:
    """Return whether a member says that the request failed or the rows are old."""
    if name in _SOUND:
        return value is False
    if name in _OLD:
        return value is True
    return name == "status" and isinstance(value, str) and value.lower() in _BAD_STATES


def _facts(members: Members) -> Iterator[tuple[str, Json]]:
    for path, value in members.items():
        yield from _walk(path[-1], value, 0)


def _walk(name: str, value: Json, depth: int) -> Iterator[tuple[str, Json]]:
    """Yield the members of a response with normalized names."""
    plain = _plain(name)
    if plain.startswith(_NOT_OF_ROWS):
        return
    if plain in _TOTALS and isinstance(value, dict):
        value = {"total": value.get("value"), **value}
    yield plain, value
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for inner, item in value.items():
            yield from _walk(inner, item, depth + 1)
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict) and item.get("rel") == "next":
            yield "next", item


def _header_facts(headers: Mapping[str, str]) -> Iterator[tuple[str, Json]]:
    for name, value in headers.items():
        plain = _plain(name).removeprefix("x").removeprefix("pagination")
        if plain in _HEADERS or _NEXT_HEADER.fullmatch(plain):
            yield plain, value
        elif not plain:
            yield from _walk("pagination", _json_of(value), 0)
    if _LINK_NEXT.search(headers.get("link", "")):
        yield "next", "link"
    if found := _OF_TOTAL.fullmatch(headers.get("content-range", "").strip()):
        first, _, total = found.groups()
        yield "offset", first
        yield "total", total


def _json_of(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def _page(name: str, value: Json, rows: int) -> str | None:
    number = _number(value)
    if name in _TOTALS and isinstance(value, float) and number is None:
        return "its total cannot be read"
    if name in _TOTALS | {"count"} and number is not None and number > rows:
        return f"{rows} of {number:.0f} tasks are listed"
    if name in _PAGES and number is not None and number > 1:
        return f"it is page {number:.0f}"
    if name in _WHOLE and value is False:
        return f"it says that there is more ({name})"
    if name in _LAST_PAGES and number is not None and number > 1:
        return f"it is one of {number:.0f} pages"
    if name in _OFFSETS and number is not None and number > 0:
        return f"it begins behind {number:.0f} other tasks"
    if name in _MORE or name.startswith("next") or name.endswith("nextlink"):
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
