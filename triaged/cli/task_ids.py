"""Shortens and expands task ids: unique prefixes of at least 8 characters."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from os.path import commonprefix
from typing import Final, Protocol

import click

from triaged.errors import TriagedError

MIN_PREFIX: Final = 8
# Shorter ids are shown whole: a prefix would save nothing.
_WHOLE: Final = 12
_MAX_CANDIDATES: Final = 8
_MAX_ADJACENT: Final = 2_000
_MAX_SHOWN: Final = 40


class UnknownTask(TriagedError):
    """The task is neither in the ledger nor pending; the message names similar ids."""


class Lookup(Protocol):
    """Looks up known ids by prefix."""

    def __call__(self, prefix: str = "", *, limit: int) -> Sequence[str]:
        """Return the known ids that begin with a prefix, sorted, up to a limit."""
        ...


def lookup_in(ids: Iterable[str]) -> Lookup:
    """Return a lookup in a collection of ids."""
    known = sorted(set(ids))

    def find(prefix: str = "", *, limit: int) -> list[str]:
        start = bisect_left(known, prefix)
        near = known[start : start + limit]
        return list(takewhile(lambda task_id: task_id.startswith(prefix), near))

    return find


def either(*lookups: Lookup) -> Lookup:
    """Return a lookup that combines several lookups."""

    def find(prefix: str = "", *, limit: int) -> list[str]:
        found = {
            task_id for lookup in lookups for task_id in lookup(prefix, limit=limit)
        }
        return sorted(found)[:limit]

    return find


def expand(typed: str, lookup: Lookup) -> str | None:
    """Return the known id with this prefix; None if there is none.

    If several ids have it, raise a ``UsageError`` that lists them.
    """
    text = typed.strip()
    found = lookup(text, limit=_MAX_CANDIDATES + 1)
    if text in found:
        return text
    if not found or len(text) < MIN_PREFIX:
        return None
    if len(found) == 1:
        return found[0]
    more = ", …" if len(found) > _MAX_CANDIDATES else ""
    names = ", ".join(found[:_MAX_CANDIDATES])
    raise click.UsageError(f"{text!r} is ambiguous: {names}{more}")


def suggest(typed: str, lookup: Lookup) -> list[str]:
    """Return the known ids most similar to an unknown one."""
    text = typed.strip()
    import difflib  # noqa: PLC0415 - only for mistyped ids

    if begins := list(lookup(text, limit=3)) if text else []:
        return begins
    # A prefix resembles beginnings, not whole ids.
    known = {task_id[: len(text)]: task_id for task_id in lookup(limit=_MAX_ADJACENT)}
    return [known[near] for near in difflib.get_close_matches(text, known, n=3)]


def unknown_id(typed: str, lookup: Lookup, where: str) -> str:
    """Return the message about an unknown id."""
    near = suggest(typed, lookup)
    hint = f"; similar ids: {', '.join(near)}" if near else ""
    text = typed.strip()
    if near and len(text) < MIN_PREFIX and near[0].startswith(text):
        hint += f" (a prefix needs at least {MIN_PREFIX} characters)"
    return f"no task {text!r} in {where}{hint}"


def shorten(ids: Collection[str], lookup: Lookup) -> dict[str, str]:
    """Map each id to a unique prefix, or to itself if it is short."""
    adjacent: dict[str, Sequence[str]] = {}
    shown: dict[str, str] = {}
    for task_id in ids:
        start = task_id[:MIN_PREFIX]
        if len(task_id) <= _WHOLE or not start.isprintable():
            shown[task_id] = task_id
            continue
        if start not in adjacent:
            adjacent[start] = lookup(start, limit=_MAX_ADJACENT)
        shown[task_id] = _unique_prefix(task_id, adjacent[start])
    return shown


def _unique_prefix(task_id: str, others: Sequence[str]) -> str:
    if len(others) >= _MAX_ADJACENT:
        return task_id
    # Among sorted ids, neighbours have the longest common prefix.
    at = bisect_left(others, task_id)
    near = [other for other in others[max(at - 1, 0) : at + 2] if other != task_id]
    starts = [commonprefix([task_id, other]) for other in near]  # noqa: RUF071 - not paths
    shared = max(map(len, starts), default=0)
    return task_id[: max(shared + 1, MIN_PREFIX)]


def printable(task_id: str) -> str:
    """Truncate a very long id; the API does not limit their length."""
    if len(task_id) <= _MAX_SHOWN:
        return task_id
    return task_id[: _MAX_SHOWN - 1] + "…"
