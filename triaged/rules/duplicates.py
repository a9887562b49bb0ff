"""Finds which listed tasks are duplicates of another, and which one is kept."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Final, NamedTuple

from triaged.rules.conditions import DuplicateOf, Ignore, Keep
from triaged.rules.task import REPLACEMENT, Json, Task, get_path
from triaged.rules.words import fold

# Limit of tasks that differ in the description only; beyond it the newest are unknown.
MAX_COMPARED: Final = 5_000
# Up to this many kept tasks are all compared; beyond it only those sharing rare words.
_ALL: Final = 100
_RARE_WORDS: Final = 5
_PER_WORD: Final = 40
_CANDIDATES: Final = 20
# The longer the text, the fewer comparisons; very long texts must be equal.
_CHARACTERS: Final = 10_000
_LONGEST: Final = 2_000
# Margin of the first, whole-text comparison; texts within it are compared by words.
_ROUGHLY: Final = 0.1
_VERIFIED: Final = 5
# One letter in five may be wrong, or two may be transposed.
_MISSPELLED: Final = 80.0

# A number that stands alone: not the 3 of Q3.
_NUMBER: Final = re.compile(r"(?<!\w)\d+(?:[.,:/-]\d+)*(?!\w)")
_PUNCTUATION: Final = re.compile(r"[^\w\s]|_")


class Partner(NamedTuple):
    """The kept task that another is a copy of, and their similarity, 0 to 1."""

    kept: str
    score: float = 1.0


class _Entry(NamedTuple):
    """A task that can be compared; ``text`` is its normalized description."""

    created_at: datetime
    task_id: str
    text: str


def find_duplicates(
    duplicate: DuplicateOf, tasks: Sequence[Task], now: datetime
) -> Mapping[str, Partner | None]:
    """Map each task id that can be compared to the task kept instead, or to None.

    The result does not depend on the order of the list: the tasks are processed by age,
    the one to keep first, and each is either a copy of the most similar kept task or
    becomes a kept task itself.
    """
    groups: dict[tuple[str, ...], list[_Entry]] = defaultdict(list)
    for task in tasks:
        if not task.is_pending or task.created_at is None or task.created_at > now:
            continue
        texts = {path: _text_at(task, path, duplicate.ignore) for path in duplicate.of}
        if task.id is not None and all(texts.values()):
            similar = duplicate.similarity is not None
            text = texts.get("description", "") if similar else ""
            if text:
                del texts["description"]
            groups[tuple(texts.values())].append(_Entry(task.created_at, task.id, text))
    found: dict[str, Partner | None] = {}
    for members in groups.values():
        members.sort(reverse=duplicate.keep is Keep.NEWEST)
        if duplicate.similarity is None:
            kept = members[0].task_id
            found |= {m.task_id: Partner(kept) for m in members}
            found[kept] = None
        else:
            found |= _cluster(members[:MAX_COMPARED], duplicate.similarity)
    return found


def _text_at(task: Task, path: str, ignore: Sequence[Ignore]) -> str:
    """Return the normalized text at a dotted path; empty if there is none.

    Text with replacement characters is not compared, since the originals may differ.
    """
    value: Json
    match path:
        case "type":
            value = task.type
        case "description":
            value = task.description
        case _:
            value = get_path(task.metadata, path.removeprefix("metadata."))
    if not isinstance(value, str) or REPLACEMENT in value:
        return ""
    text = fold(value)
    if path != "description" or not ignore:
        return text
    if Ignore.NUMBERS in ignore:
        text = _NUMBER.sub(" ", text)
    if Ignore.PUNCTUATION in ignore:
        text = _PUNCTUATION.sub(" ", text)
    return " ".join(text.split())


def _cluster(entries: Sequence[_Entry], similarity: float) -> dict[str, Partner | None]:
    words = [sorted(entry.text.split()) for entry in entries]
    frequency = Counter(word for one in words for word in set(one))
    by_rarity = sorted(frequency, key=lambda word: (frequency[word], word))
    kept = _Kept({word: rank for rank, word in enumerate(by_rarity)})
    return {
        entry.task_id: kept.find_or_add(entry.task_id, its, similarity)
        for entry, its in zip(entries, words, strict=True)
    }


@dataclass(slots=True)
class _Kept:
    """The tasks kept so far, indexed by their rarest words.

    Words are sorted before comparison, so word order makes no difference.
    """

    rarity: Mapping[str, int]
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    with_word: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def find_or_add(
        self, task_id: str, words: Sequence[str], similarity: float
    ) -> Partner | None:
        """Return the most similar kept task; if there is none, add this one."""
        text = " ".join(words)
        if (same := self.numbers.get(text)) is not None:
            return Partner(self.ids[same])
        rare = sorted(set(words), key=self.rarity.__getitem__)[:_RARE_WORDS]
        partner = self._most_like(text, rare, similarity)
        if partner is None:
            number = self.numbers[text] = len(self.ids)
            self.ids.append(task_id)
            self.texts.append(text)
            for word in rare:
                if len(self.with_word[word]) < _PER_WORD:
                    self.with_word[word].append(number)
        return partner

    def _most_like(
        self, text: str, rare: Sequence[str], similarity: float
    ) -> Partner | None:
        if len(text) > _LONGEST:
            return None
        # Imported here: loading it takes longer than many commands run.
        from rapidfuzz import fuzz, process  # noqa: PLC0415

        candidates = self._candidates(len(text), rare)
        roughly = process.extract(
            text,
            {number: self.texts[number] for number in candidates},
            scorer=fuzz.ratio,
            score_cutoff=(similarity - _ROUGHLY) * 100,
            limit=_VERIFIED,
        )
        scores = [
            (round(_likeness(text.split(), kept.split(), fuzz.ratio), 4), -number)
            for kept, _, number in roughly
        ]
        score, number = max(scores, default=(0.0, 0))
        return Partner(self.ids[-number], score) if score >= similarity else None

    def _candidates(self, length: int, rare: Sequence[str]) -> Sequence[int]:
        """Return the indices of the kept tasks to compare with, a bounded number."""
        if len(self.ids) <= min(_ALL, _CHARACTERS // length):
            return range(len(self.ids))
        shared = Counter(chain.from_iterable(self.with_word[word] for word in rare))
        most = min(_CANDIDATES, max(1, _CHARACTERS // length))
        return sorted(number for number, _ in shared.most_common(most))


def _likeness(
    one: Sequence[str], other: Sequence[str], ratio: Callable[[str, str], float]
) -> float:
    """Return the share (0 to 1) of letters in common words, allowing for misspellings.

    Different names and different numbers never count as misspellings.
    """
    first, second = Counter(one), Counter(other)
    left, right = sorted((first - second).elements()), list((second - first).elements())
    if any(map(_has_digit, (*left, *right))):
        return 0.0
    same = 2.0 * sum(len(word) for word in (first & second).elements())
    for word in left:
        best = max(right, key=lambda there: ratio(word, there), default="")
        if best and ratio(word, best) >= _MISSPELLED:
            same += (len(word) + len(best)) * ratio(word, best) / 100
            right.remove(best)
    return same / (sum(map(len, one)) + sum(map(len, other)))


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))
