"""The values that rules work on: tasks, decisions and the causes for leaving a task."""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias, TypeGuard

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

DOCUMENTED_TYPES: Final = (
    "prospect_search",
    "campaign_start",
    "contact_update",
    "list_operation",
)
DOCUMENTED_REASONS: Final = (
    "not_relevant",
    "manual_execution",
    "incorrect_params",
    "duplicate",
    "testing",
)

# Metadata is small in practice; deeper nesting would attack the recursive functions.
MAX_METADATA_DEPTH: Final = 32

# Python refuses to convert longer integers to text: about 4,200 digits.
_MAX_INTEGER_BITS: Final = 14_000

# The key of the object that replaces a value that cannot be represented.
_UNREADABLE: Final = "$unreadable"

# Replaces each part of a string that was not valid Unicode.
REPLACEMENT: Final = "\ufffd"

_LEAP_SECOND: Final = re.compile(r"(?<=\d\d:\d\d:)60(?![0-9])", re.ASCII)

_HASHED_FIELDS: Final = (
    "id",
    "type",
    "status",
    "description",
    "created_at",
    "metadata",
)


class LeaveCause(StrEnum):
    """Why a task was left alone; a closed set, used as a metric label."""

    NO_RULE = "no_rule"
    LEAVE_RULE = "leave_rule"
    PROTECTED = "protected"
    YOUNG = "young"
    HELD = "held"
    OVER_CAP = "over_cap"
    BREAKER = "breaker"
    PAUSED = "paused"
    VETOED = "vetoed"
    NOT_PENDING = "not_pending"
    MALFORMED = "malformed"
    AUDIT = "audit"


class Change(StrEnum):
    """What happened to the mode of a rule; a closed set, used as a metric label."""

    PROMOTED = "promoted"
    DEMOTED = "demoted"


# The latest change of each rule, by its name and the fingerprint that it had then.
Changes: TypeAlias = Mapping[str, Mapping[str, Change]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task as listed at one moment: a snapshot, never live.

    A field that is absent, null or of the wrong JSON type is None. Strings and metadata
    are in Unicode NFC, like the strings of the rules; ``raw`` has them as listed.
    """

    id: str | None
    type: str | None
    status: str | None
    description: str | None
    created_at: datetime | None
    metadata: Mapping[str, Json] | None
    raw: Mapping[str, Json]

    @property
    def is_pending(self) -> bool:
        """Return whether the task can be evaluated: it has an id and is pending."""
        return self.id is not None and self.status == "pending"

    def content_hash(self) -> str:
        """Return a SHA-256 (hex) of the fields of the task that a person can see."""
        content = {key: self.raw.get(key) for key in _HASHED_FIELDS}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        # Imported here: it loads OpenSSL, which commands on the ledger do not need.
        from hashlib import sha256  # noqa: PLC0415

        return sha256(text.encode()).hexdigest()


class ProposedDismissal(NamedTuple):
    """What a dismiss rule asks for: which rule, with which reason code."""

    rule: str
    reason: str


class Decision(NamedTuple):
    """The decision on one task: dismissed if ``cause`` is None, else left for it.

    ``rule`` and ``reason`` are those of the rule that decided, if one did; ``observed``
    lists what observing rules would have dismissed it for.
    """

    task: Task
    cause: LeaveCause | None
    rule: str | None = None
    reason: str | None = None
    observed: tuple[ProposedDismissal, ...] = ()

    @property
    def is_dismissal(self) -> bool:
        return self.cause is None


def parse_task(value: Json) -> Task:
    """Parse one entry of a list response; fields that cannot be used become None.

    Text that is not valid Unicode is kept with replacement characters, except in the
    id: an id that would change in a URL is treated as absent.
    """
    listed = value if isinstance(value, dict) else {}
    cleaned = _clean(listed, -1)
    fields = cleaned if isinstance(cleaned, dict) else {}
    return Task(
        id=_valid_id(listed.get("id")),
        type=_text(fields.get("type")),
        status=_text(fields.get("status")),
        description=_text(fields.get("description")),
        created_at=parse_timestamp(fields.get("created_at")),
        metadata=_metadata(fields.get("metadata")),
        raw=fields,
    )


def parse_timestamp(value: Json) -> datetime | None:
    """Parse ISO 8601 to UTC; None without a zone. A leap second counts as the next."""
    if not isinstance(value, str):
        return None
    text = value.strip().upper()
    whole = _LEAP_SECOND.sub("59", text)
    try:
        moment = datetime.fromisoformat(whole)
        if moment.tzinfo is None:
            return None
        return moment.astimezone(UTC) + timedelta(seconds=whole != text)
    except (ValueError, OverflowError):
        return None


def unreadable(why: str) -> Json:
    """Return the replacement, in JSON, for a value that cannot be represented."""
    return {_UNREADABLE: why}


def is_unreadable(value: Json) -> bool:
    """Return whether a value is present but cannot be represented."""
    return isinstance(value, dict) and _UNREADABLE in value


def get_path(metadata: Mapping[str, Json] | None, path: str) -> Json:
    """Return the value at a dotted path; None if it is absent or null.

    A path that leads into something other than a mapping is unreadable, not missing.
    """
    if metadata is None:
        return None
    if path in metadata:
        return metadata[path]
    if _UNREADABLE in metadata:
        return dict(metadata)
    first, *rest = path.split(".")
    value = metadata.get(first)
    for key in rest:
        if value is None or is_unreadable(value):
            return value
        if not isinstance(value, dict):
            return unreadable("the path leads into a value that is no mapping")
        value = value.get(key)
    return value


def json_equal(left: Json, right: Json) -> bool | None:
    """Compare as JSON: numbers by value; values of different types are never equal.

    Returns None if a part of either is unreadable and no other part differs.
    """
    if is_unreadable(left) or is_unreadable(right):
        return None
    if is_number(left) and is_number(right):
        return left == right
    if type(left) is not type(right):
        return False
    if isinstance(left, str) and isinstance(right, str):
        lost = REPLACEMENT in left or REPLACEMENT in right
        return None if lost else left == right
    if isinstance(left, list) and isinstance(right, list):
        same = len(left) == len(right)
        return same and _all_equal(zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        same = left.keys() == right.keys()
        return same and _all_equal((left[key], right[key]) for key in left)
    return left == right


def _all_equal(pairs: Iterable[tuple[Json, Json]]) -> bool | None:
    found = {json_equal(one, other) for one, other in pairs}
    return False if False in found else None if None in found else True


def is_number(value: Json) -> TypeGuard[int | float]:
    """Return whether a value is a JSON number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def nfc(text: str) -> str:
    """Return a string in Unicode NFC, so that equal characters have one encoding."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _text(value: Json) -> str | None:
    return nfc(value) if isinstance(value, str) else None


def _metadata(value: Json) -> Mapping[str, Json] | None:
    """Return metadata in NFC; anything but a mapping becomes an unreadable mapping."""
    composed = _composed(value)
    if composed == value and isinstance(value, dict):
        return value  # nearly always, and half the memory
    if composed is None or isinstance(composed, dict):
        return composed
    return {_UNREADABLE: "metadata is no mapping"}


def _composed(value: Json) -> Json:
    if isinstance(value, str):
        return nfc(value)
    if isinstance(value, list):
        return [_composed(item) for item in value]
    if isinstance(value, dict):
        return _unique((nfc(key), _composed(item)) for key, item in value.items())
    return value


def _valid_id(value: Json) -> str | None:
    if not isinstance(value, str) or replace_invalid_unicode(value) != value:
        return None
    # "." and ".." are path segments that clients and servers resolve away, and a NUL
    # could not be recorded, because PostgreSQL's text cannot hold it.
    usable = value.strip() and value not in {".", ".."} and "\0" not in value
    return value if usable else None


def replace_invalid_unicode(text: str) -> str:
    """Replace lone surrogates, which are not valid Unicode, by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _clean(value: Json, depth: int) -> Json:
    match value:
        case str():
            return replace_invalid_unicode(value)
        case dict() | list() if depth > MAX_METADATA_DEPTH:
            return unreadable(f"nested deeper than {MAX_METADATA_DEPTH} levels")
        case dict():
            return _unique(
                (replace_invalid_unicode(key), _clean(item, depth + 1))
                for key, item in value.items()
            )
        case list():
            return [_clean(item, depth + 1) for item in value]
        case float() if not math.isfinite(value):
            return unreadable("a number beyond what can be represented")
        case int() if value.bit_length() > _MAX_INTEGER_BITS:
            return unreadable("an integer of too many digits")
        case _:
            return value


def _unique(items: Iterable[tuple[str, Json]]) -> dict[str, Json]:
    """Build an object; a key that occurs twice after conversion becomes unreadable."""
    made: dict[str, Json] = {}
    for key, value in items:
        made[key] = unreadable("two keys read the same") if key in made else value
    return made


class HumanDecision(StrEnum):
    """What a person did with a task."""

    APPROVED = "approved"
    DISMISSED = "dismissed"
