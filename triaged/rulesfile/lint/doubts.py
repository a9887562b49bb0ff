"""Warnings about what a rules file as a whole probably does not mean."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from triaged.rules.conditions import (
    Condition,
    DescriptionIs,
    Equals,
    In,
    ListFile,
    ListId,
    MetadataMatches,
    MetadataTest,
    Pattern,
    Regex,
    Words,
    iter_leaves,
)
from triaged.rules.patterns.doubts import find_case_doubt
from triaged.rules.patterns.syntax import parse
from triaged.rules.task import Json
from triaged.rulesfile.document import LocatedMatch, RulesDocument
from triaged.rulesfile.lint.sample_tasks import metadata_paths
from triaged.rulesfile.problems import Location, ProblemCollector, quote_for_message

# What hardly stands in a text, and often in a pattern.
_OF_PATTERNS: Final = re.compile(
    r"""
      ^ \(\? [a-zA-Z]+ [:)]                     # (?i)
    | ^ \\b | \\b $                             # \bword\b
    | \\ [dDwWsS] (?: [+*?{] | $ | \\ )          # \d+
    | (?<! \.) \. (?: \* | \+ (?! \w) )          # .*
    | \[ \^? (?: a-z | A-Z | 0-9 )              # [a-z]
    | ^ \^ \w | [a-z]{3} \$ $                    # ^word, word$
    | ^ \* | \w \* $                            # word*, as in a shell
    | [^\W\d] \| [^\W\d]                        # one|other
    | ^ / [^/]+ / [gimsux]+ $                   # /word/i
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED: Final = re.compile(r"(['\"])[^'\"]+\1|.+,", re.DOTALL)
# Shorter names that differ in one letter are different names: min and max, x and y.
_SHORTEST: Final = 4


def find_doubts(draft: RulesDocument, report: ProblemCollector) -> None:
    """Warn of metadata keys in two spellings and of case-sensitive protected words."""
    for protection in draft.protect:
        for pattern in _patterns(protection.condition):
            word = find_case_doubt(parse(pattern.source))
            if word is not None:
                report.warn(
                    protection.place,
                    f"pattern {quote_for_message(pattern.source)} protects {word!r} in"
                    f" this case only; begin it with (?i) to protect"
                    f" {word.swapcase()!r} too",
                )
    in_lists: dict[ListId, tuple[str, ...]] = {}
    for match in _matches(draft):
        for leaf in iter_leaves(match.condition):
            if isinstance(leaf, DescriptionIs | MetadataMatches):
                for doubt in _text_doubts(leaf.test, in_lists):
                    report.warn(match.place, doubt)
    _warn_spellings(draft, report)


def _matches(draft: RulesDocument) -> Iterator[LocatedMatch]:
    yield from draft.protect
    for placed in draft.rules:
        yield LocatedMatch(placed.rule.match, placed.match_place)


def _warn_spellings(draft: RulesDocument, report: ProblemCollector) -> None:
    first: dict[str, Location] = {}
    for path, place in _used_paths(draft):
        first.setdefault(path, place)
    for one, other in _similar_pairs(first):
        report.warn(
            first[other],
            f"metadata key {quote_for_message(other)} is spelled"
            f" {quote_for_message(one)} in {first[one].seen_from(first[other])}; if"
            " they are one key, spell them alike",
        )


def _similar_pairs(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of keys that look like two spellings, earlier keys first."""
    # Two keys are similar if dropping at most one letter from each makes them equal.
    index: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        plain = _plain(key)
        forms = {plain, *(plain[:i] + plain[i + 1 :] for i in range(len(plain)))}
        near = dict.fromkeys(other for form in sorted(forms) for other in index[form])
        yield from ((other, key) for other in near if _is_other_spelling(other, key))
        for form in forms:
            index[form].append(key)


def _used_paths(draft: RulesDocument) -> Iterator[tuple[str, Location]]:
    for match in _matches(draft):
        yield from ((path, match.place) for path in metadata_paths(match.condition))
    for test in draft.tests:
        for task in (test.task, *test.other_tasks):
            paths = _paths_in(task.fields.get("metadata"))
            yield from ((path, test.place) for path in paths)


def _paths_in(metadata: Json) -> Iterator[str]:
    for key, value in metadata.items() if isinstance(metadata, Mapping) else ():
        inner = [f"{key}.{path}" for path in _paths_in(value)]
        yield from inner or [key]


def _is_other_spelling(one: str, other: str) -> bool:
    """Return whether two keys differ by case, separators, or one letter of a word."""
    if _plain(one) == _plain(other):
        return True
    words, others = _words(one), _words(other)
    different = [pair for pair in zip_longest(words, others) if pair[0] != pair[1]]
    if len(different) != 1 or None in different[0]:
        return False
    left, right = different[0]
    return min(len(left), len(right)) >= _SHORTEST and _is_one_letter_apart(left, right)


def _is_one_letter_apart(one: str, other: str) -> bool:
    start = 0
    while one[start : start + 1] == other[start : start + 1]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    if any(char.isdigit() for char in left + right):
        return False
    return max(len(left), len(right)) == 1 or (
        len(left) == len(right) == 2 and left == right[::-1]  # noqa: PLR2004 (swapped)
    )


def _plain(key: str) -> str:
    return "".join(filter(str.isalnum, key)).casefold()


def _words(key: str) -> list[str]:
    return key.replace("-", "_").replace(".", "_").casefold().split("_")


def _patterns(condition: Condition) -> Iterator[Pattern]:
    for leaf in iter_leaves(condition):
        match leaf:
            case DescriptionIs(Regex(patterns)) | MetadataMatches(_, Regex(patterns)):
                yield from patterns
            case _:
                pass


def _text_doubts(
    test: MetadataTest, in_lists: dict[ListId, tuple[str, ...]]
) -> Iterable[str]:
    """Say which texts were probably meant otherwise; each list is read only once."""
    match test:
        case Equals(str(value)):
            return _doubts_in((value,), None)
        case In(entries, None) | Words(entries, None):
            return _doubts_in(entries, None)
        case In(entries, ListFile() as file) | Words(entries, ListFile() as file):
            if file.id not in in_lists:
                in_lists[file.id] = tuple(_doubts_in(entries, file))
            return in_lists[file.id]
        case _:
            return ()


def _doubts_in(texts: Sequence[Json], file: ListFile | None) -> Iterator[str]:
    for number, text in enumerate(texts):
        if isinstance(text, str) and (why := _text_doubt(text)):
            listed = f"list {file.name}:{file.lines[number]}: " if file else ""
            yield f"{listed}{quote_for_message(text)} {why}"


def _text_doubt(text: str) -> str:
    """Return why a text was probably meant otherwise; empty if it was not."""
    if _OF_PATTERNS.search(text) is not None:
        return (
            "looks like a pattern, but is compared as it stands; write regex for a"
            " pattern"
        )
    if _QUOTED.fullmatch(text) is not None:
        return (
            "has quotes around it or a comma behind it, which are part of the text that"
            " is looked for; drop them if only the text is meant"
        )
    return ""
