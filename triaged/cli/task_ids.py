"""Task ids as people type and read them: unique prefixes of at least 8 characters."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Protocol

import click

MIN_PREFIX: Final = 8
# Shorter ids are shown whole: a prefix would save nothing.
_WHOLE: Final = 12
_MAX_CANDIDATES: Final = 8
_MAX_ADJACENT: Final = 2_000
_MAX_SHOWN: Final = 40


class Lookup(Protocol):
    """Where ids are known."""

    def __call__(self, prefix: str = "", *, limit: int) -> Sequence[str]:
        """Return the known ids that begin with a prefix, sorted, up to a limit."""
        ...


def lookup_in(ids: Iterable[str]) -> Lookup:
    """Look ids up in a collection."""
    known = sorted(set(ids))

    def find(prefix: str = "", *, limit: int) -> list[str]:
        start = bisect_left(known, prefix)
        end = start
        while (
            end < len(known) and end - start < limit and known[end].startswith(prefix)
        ):
            end += 1
        return known[start:end]

    return find


def either(*lookups: Lookup) -> Lookup:
    """Look ids up in several places."""

    def find(prefix: str = "", *, limit: int) -> list[str]:
        found = {
            task_id for lookup in lookups for task_id in lookup(prefix, limit=limit)
        }
        return sorted(found)[:limit]

    return find


def expand(typed: str, lookup: Lookup) -> str | None:
    """Return the one id that was meant; None when no known id begins like this.

    Raises:
        click.UsageError: several begin like this; names them.
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
    """Return the known ids nearest to one that is not known."""
    text = typed.strip()
    import difflib  # noqa: PLC0415 - only for typing errors

    if begins := list(lookup(text, limit=3)) if text else []:
        return begins
    # A prefix resembles beginnings, not whole ids.
    known = {task_id[: len(text)]: task_id for task_id in lookup(limit=_MAX_ADJACENT)}
    return [known[near] for near in difflib.get_close_matches(text, known, n=3)]


def unknown_id(typed: str, lookup: Lookup, where: str) -> str:
    """Return the sentence for an id that is not known."""
    near = suggest(typed, lookup)
    hint = f"; similar ids: {', '.join(near)}" if near else ""
    text = typed.strip()
    if near and len(text) < MIN_PREFIX and near[0].startswith(text):
        hint += f" (a prefix needs at least {MIN_PREFIX} characters)"
    return f"no task {text!r} in {where}{hint}"


def shorten(ids: Collection[str], lookup: Lookup) -> dict[str, str]:
    """Return for each id a unique prefix, or the whole id where that is short."""
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
    # Among sorted ids, the neighbours share the most.
    at = bisect_left(others, task_id)
    near = [other for other in others[max(at - 1, 0) : at + 2] if other != task_id]
    shared = max((_shared(task_id, other) for other in near), default=0)
    return task_id[: max(shared + 1, MIN_PREFIX)]


def _shared(left: str, right: str) -> int:
    """Count the characters at the start that two ids share."""
    pairs = zip(left, right, strict=False)
    return next(
        (at for at, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right))
    )


def printable(task_id: str) -> str:
    """Cut an id that no person can read anyway; the API sets no limit to them."""
    if len(task_id) <= _MAX_SHOWN:
        return task_id
    return task_id[: _MAX_SHOWN - 1] + "…"
