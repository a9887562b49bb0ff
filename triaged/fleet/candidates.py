"""Builds workspaces of the entries of fleet files, or finds why they cannot be used."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from triaged.errors import ConfigError, Problem
from triaged.fleet.fields import KeyPlace, RulesPath
from triaged.fleet.files import is_fleet_file
from triaged.fleet.parser import KEYS, Entry
from triaged.fleet.workspace import FleetWorkspace, Rejection
from triaged.leadlex.api_key import KEY_PREFIX, KeySource, parse_key
from triaged.rulesfile.problems import Location, suggest

_KEY: Final = re.compile(r"((?:workspaces\[[0-9]+\]|defaults)\.key)(?![\w-])(.*)")
# Its labels, or one of its keys, which have the path of the whole.
_LABELS: Final = re.compile(r"workspaces\[[0-9]+\](\.labels(?![\w-]).*)?")
_AN_API_KEY: Final = re.compile(rf"{KEY_PREFIX}[!-~]+")
_PLAIN_VALUES: Final = frozenset(
    {"api_url", "api_plan", "daily_limit", "rate_limit", "poll_interval", "reserve"}
)


@dataclass(slots=True)
class Candidate:
    """A workspace that may still turn out to be unusable.

    ``places`` are those of its values; ``key_hash`` identifies its key.
    ``files`` are the other files that it needs.
    """

    file: str
    name: str | None
    places: Mapping[str, Location]
    problems: list[Problem]
    labels: Mapping[str, str] | None = None
    workspace: FleetWorkspace | None = None
    key_hash: str = ""
    rules: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()

    def refuse(self, place: Location, message: str) -> None:
        self.problems.append(
            Problem(place.file, place.line, place.column, place.path, _redact(message))
        )

    def rejection(self) -> Rejection:
        problems = sorted(self.problems, key=lambda p: (p.line, p.column, p.path))
        return Rejection(
            file=self.file,
            name=self.name,
            problems=tuple(problems),
            labels=self.labels,
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the entries of all fleet files refer to: rules files, key files, variables.

    ``rules_problems`` has what is wrong with a rules file by its name, since many
    entries name the same.
    """

    directory: Path
    environ: Mapping[str, str]
    rules_problems: dict[str, str] = field(default_factory=dict)

    def candidate(
        self, entry: Entry, defaults: Entry, *, file: str, problems: list[Problem]
    ) -> Candidate:
        """Build the workspace of an entry and the defaults, or find why not."""
        values, places = _with_defaults(entry, defaults)
        labels = _labels(entry, defaults, problems)
        found = Candidate(file, entry.values.get("name"), places, problems, labels)
        rules: tuple[RulesPath, ...] = values.get("rules", ())
        for name in ("rules", "key"):
            if name not in places:
                message = f"missing key {name!r}; give it here, or in defaults"
                found.refuse(entry.place, message)
        wrong = [(path, self._rules_problem(path.text)) for path in rules]
        for path, problem in wrong:
            if problem:
                found.refuse(path.place, problem)
        found.rules = tuple(
            self.directory / p.text for p, problem in wrong if not problem
        )
        key = self._key(values.get("key"), found)
        found.files += tuple(self.directory / path.text for path in rules)
        if found.name is None or key is None or found.problems:
            return found
        found.workspace = FleetWorkspace(
            name=found.name,
            rules=found.rules,
            key=key,
            key_hash=found.key_hash,
            key_name=f"file {key.file}" if key.file else f"env {values['key'].text}",
            labels=labels or {},
            file=file,
            line=entry.place.line,
            **{name: value for name, value in values.items() if name in _PLAIN_VALUES},
        )
        return found

    def _rules_problem(self, name: str) -> str:
        if name not in self.rules_problems:
            self.rules_problems[name] = self._find_rules_problem(name)
        return self.rules_problems[name]

    def _find_rules_problem(self, name: str) -> str:
        root = self.directory.resolve()
        try:
            path = (root / name).resolve(strict=True)
        except (OSError, RuntimeError) as error:
            known = (each.name for each in self.directory.glob("*.yaml"))
            others = sorted(each for each in known if not is_fleet_file(each))
            why = getattr(error, "strerror", None) or str(error)
            return f"rules file cannot be read: {why}{suggest(name, others)}"
        if not path.is_relative_to(root):
            return "rules file leads outside the directory of the fleet"
        return "" if path.is_file() else "rules file cannot be read: not a regular file"

    def _key(self, key: KeyPlace | None, found: Candidate) -> KeySource | None:
        """Find the key; without a usable one, report why."""
        if key is None:
            return None
        try:
            source = self._key_source(key)
            found_hash = source.read().sha256()
        except (OSError, RuntimeError) as error:
            # The name is not shown, since it may be the key itself.
            why = getattr(error, "strerror", None) or str(error)
            found.refuse(key.place, f"the key file cannot be read: {why}")
        except ValueError as error:
            found.refuse(key.place, str(error))
        except ConfigError as error:
            found.refuse(key.place, error.problems[0].message)
        else:
            found.key_hash = found_hash
            return source
        finally:
            found.files = (self.directory / key.text,) if key.in_file else ()
        return None

    def _key_source(self, key: KeyPlace) -> KeySource:
        if key.in_file:
            path = self.directory / key.text
            path.stat()
            return KeySource(file=path)
        value = self.environ.get(key.text)
        if not value:
            # The name is not shown, since it may be the key itself.
            raise ValueError("this variable is not set")
        return KeySource(value=parse_key(value))


def _with_defaults(
    entry: Entry, defaults: Entry
) -> tuple[dict[str, Any], dict[str, Location]]:
    """Return the values and their places; a default stands in for no wrong value."""
    filled = {k: v for k, v in defaults.values.items() if k not in entry.places}
    return {**filled, **entry.values}, {**defaults.places, **entry.places}


def _labels(
    entry: Entry, defaults: Entry, problems: Iterable[Problem]
) -> dict[str, str] | None:
    """Return the labels; None if they are wrong, or may stand under a wrong key."""
    unknown = entry.places.keys() - KEYS
    is_misspelled = bool(unknown) and "labels" not in entry.places
    about = (p for p in problems if _LABELS.fullmatch(p.path))
    if is_misspelled or any(not p.message.startswith("unknown key") for p in about):
        return None
    labels: dict[str, str] = defaults.values.get("labels", {})
    return {**labels, **entry.values.get("labels", {})}


def refuse_shared(candidates: Sequence[Candidate]) -> None:
    """Refuse all workspaces that share a name, and all that share a key.

    It is not known which one is meant; and one key has one quota, which two workspaces
    would spend twice.
    """
    for one, other in _sharing((each.name or "", each) for each in candidates):
        place = one.places["name"]
        theirs = other.places["name"].seen_from(place)
        message = f"name {one.name!r} is in {theirs} too; each workspace needs its own"
        one.refuse(place, message)
    for one, other in _sharing((each.key_hash, each) for each in candidates):
        if one.name is not None and one.name == other.name:
            continue  # an entry that stands there twice is one mistake
        place = one.places["key"]
        theirs = other.places.get("name", other.places["key"]).seen_from(place)
        message = f"the key is that of the workspace in {theirs} too"
        one.refuse(place, f"{message}; each needs its own, because a key has one quota")


def _sharing(
    candidates: Iterable[tuple[str, Candidate]],
) -> Iterator[tuple[Candidate, Candidate]]:
    """Yield each candidate with the first other one that has the same text."""
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for text, candidate in candidates:
        if text:
            groups[text].append(candidate)
    for first, *others in groups.values():
        if others:
            yield first, others[0]
        yield from ((other, first) for other in others)


def without_key(problem: Problem) -> Problem:
    """Cut from a problem whatever may be an API key in the wrong place."""
    path, message = problem.path, problem.message
    if below := _KEY.fullmatch(path):
        path = path if below[2] in {"", ".file", ".env"} else below[1]
        if message.startswith(("anchor", "alias", "tag")):
            message = "anchors, aliases and tags are refused"
    return replace(problem, path=_redact(path), message=_redact(message))


def _redact(text: str) -> str:
    return _AN_API_KEY.sub(f"{KEY_PREFIX}…", text)
