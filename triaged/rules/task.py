"""What the engine talks about: tasks, decisions and why a task was left.

Nothing here knows where a task came from or what will become of a decision.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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

# Metadata is small in practice; deeper nesting is an attack on our own recursion.
MAX_METADATA_DEPTH: Final = 32

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task as listed at one moment: a snapshot, never live.

    A field that is absent, null or of the wrong JSON type is None: it cannot be
    judged, so every condition about it is unknown.
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
        """Say whether the task can be judged at all: it has an id and waits."""
        return self.id is not None and self.status == "pending"

    def content_hash(self) -> str:
        """Return a SHA-256 of what a person would see of the task, as hex."""
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
    """What is to become of one task, and why.

    ``cause`` is None when the task is to be dismissed, and says why it is left
    otherwise; ``rule`` and ``reason`` then tell what was wanted, where a rule did.
    """

    task: Task
    cause: LeaveCause | None
    rule: str | None = None
    reason: str | None = None
    observed: tuple[ProposedDismissal, ...] = ()

    @property
    def is_dismissal(self) -> bool:
        """Say whether the task is to be dismissed."""
        return self.cause is None


def parse_task(value: Json) -> Task:
    """Read one entry of a list answer; what cannot be judged becomes None.

    Text that is not valid Unicode is kept with replacement characters, except in
    the id: an id that would change on the way to a URL is no id.
    """
    fields: Mapping[str, Json] = value if isinstance(value, dict) else {}
    listed_id = _text(fields.get("id"))
    listed_status = _text(fields.get("status"))
    try:
        fields = {
            replace_invalid_unicode(key): _clean(item, 0)
            for key, item in fields.items()
        }
    except _TooDeepError:
        fields = {"id": _clean(listed_id, 0), "status": _clean(listed_status, 0)}
    metadata = fields.get("metadata")
    return Task(
        id=_valid_id(listed_id),
        type=_text(fields.get("type")),
        status=_text(fields.get("status")),
        description=_text(fields.get("description")),
        created_at=parse_timestamp(fields.get("created_at")),
        metadata=metadata if isinstance(metadata, dict) else None,
        raw=fields,
    )


def parse_timestamp(value: Json) -> datetime | None:
    """Read an ISO 8601 moment; None unless it is a text with a time zone."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def json_equal(left: Json, right: Json) -> bool:
    """Compare as JSON: numbers by value, and never across types."""
    if is_number(left) and is_number(right):
        return left == right
    if type(left) is not type(right):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(json_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            json_equal(value, right[key]) for key, value in left.items()
        )
    return left == right


def is_number(value: Json) -> TypeGuard[int | float]:
    """Say whether a value is a JSON number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class _TooDeepError(Exception):
    """A task's content is nested beyond what anybody would write."""


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _valid_id(value: Json) -> str | None:
    # "." and ".." are path segments that clients and servers resolve away.
    if not isinstance(value, str) or not value.strip() or value in {".", ".."}:
        return None
    return value if replace_invalid_unicode(value) == value else None


def replace_invalid_unicode(text: str) -> str:
    """Replace what is not valid Unicode (lone surrogates) by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _clean(value: Json, depth: int) -> Json:
    if isinstance(value, str):
        return replace_invalid_unicode(value)
    if depth > MAX_METADATA_DEPTH:
        raise _TooDeepError
    if isinstance(value, dict):
        return {
            replace_invalid_unicode(k): _clean(v, depth + 1) for k, v in value.items()
        }
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    # JSON numbers may overflow a float; infinity is nobody's limit.
    return None if isinstance(value, float) and not math.isfinite(value) else value


class HumanDecision(StrEnum):
    """What a person did with a task."""

    APPROVED = "approved"
    DISMISSED = "dismissed"
