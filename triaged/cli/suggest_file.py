"""Proposed rules as a rules file: they observe, and its tests are tasks of the past."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from triaged.cli.suggest_names import NamedProposal
from triaged.cli.suggest_tests import TestWriter
from triaged.errors import ConfigError
from triaged.rules.conditions import AgeBetween, DuplicateOf, TypeIn, iter_leaves
from triaged.rules.describe import condition_to_json
from triaged.rules.task import DOCUMENTED_REASONS, DOCUMENTED_TYPES, Json
from triaged.rulesfile.lint.yaml_flow import flow
from triaged.rulesfile.loader import compile_rules, parse, run_rule_tests
from triaged.text import escape_unprintable
from triaged.triage.suggest.history import History
from triaged.triage.suggest.proposals import Parts

_CAVEAT_AGES: Final = " Ages are those at which triaged last decided on the tasks."
_CAVEAT_DUPLICATES: Final = (
    " Which tasks were pending together is not known: requests repeated within a week"
    " count as duplicates here."
)


@dataclass(frozen=True, slots=True)
class SuggestedFile:
    """The file's text, its rules, and those that no file can hold."""

    text: str
    rules: tuple[NamedProposal, ...]
    left_out: tuple[NamedProposal, ...]


def write_file(
    named: Sequence[NamedProposal],
    history: History,
    *,
    now: datetime,
    redact: bool,
    notes: Sequence[str] = (),
) -> SuggestedFile:
    """Write a file that loads without a warning; what does not is left out."""
    render = partial(_render, history=history, now=now, redact=redact, notes=notes)
    for whole in (True, False):
        text = render(named, whole=whole)
        if is_clean(text, now=now):
            return SuggestedFile(text, tuple(named), ())
    kept: list[NamedProposal] = []
    for one in named:
        if is_clean(render([*kept, one], whole=False), now=now):
            kept.append(one)
    text = render(kept, whole=False)
    left_out = tuple(one for one in named if one not in kept)
    return SuggestedFile(text, tuple(kept), left_out)


def is_clean(text: str, *, now: datetime) -> bool:
    """Say whether ``triaged check --strict`` accepts a file."""
    try:
        loaded = parse(text.encode(), "suggested")
    except ConfigError:
        return False
    report = run_rule_tests(loaded, compile_rules(loaded), now=now)
    return not loaded.warnings and not report.failures


def _render(
    named: Sequence[NamedProposal],
    *,
    history: History,
    now: datetime,
    redact: bool,
    notes: Sequence[str],
    whole: bool,
) -> str:
    tests = list(TestWriter(named, history, redact=redact, whole=whole).write())
    types = _types(named, tests)
    codes = sorted({one.reason.code for one in named} - set(DOCUMENTED_REASONS))
    lines = [
        f"# Proposed by triaged suggest on {now:%Y-%m-%d}, by what people did.",
        "# While a rule has mode: observe, it dismisses nothing.  Copy what you want.",
        *(f"# {escape_unprintable(note)}" for note in notes),
        "",
        "version: 1",
    ]
    lines += [f"task_types: {flow(types)}"] if types else []
    lines += [f"reasons: {flow(list(codes))}"] if codes else []
    lines += ["rules:"]
    for one in named:
        lines += [
            f"  - name: {one.name}",
            f"    note: {flow(note_for(one))}",
            "    mode: observe",
            f"    match: {flow(match_to_json(one.proposal.parts))}",
            f"    dismiss: {one.reason.code}",
        ]
    lines += ["tests:"]
    for test in tests:
        name, *rest = (f"{key}: {flow(value)}" for key, value in test.items())
        lines += [f"  - {name}", *(f"    {line}" for line in rest)]
    return "\n".join(lines) + "\n"


def note_for(one: NamedProposal) -> str:
    """Say what speaks for a rule, in the numbers that it was proposed by."""
    found, verified = one.proposal.found, one.proposal.verified
    note = (
        f"Found in older tasks, where it holds for {found.dismissed} dismissed and"
        f" {found.approved} approved ones. Of {verified.total} newer tasks, not used to"
        f" find it, people dismissed {verified.dismissed} and approved"
        f" {verified.approved}: {verified}. Reason {one.reason.code}:"
        f" {one.reason.source}."
    )
    leaves = list(iter_leaves(one.proposal.match))
    if any(isinstance(leaf, AgeBetween) for leaf in leaves):
        note += _CAVEAT_AGES
    if any(isinstance(leaf, DuplicateOf) for leaf in leaves):
        note += _CAVEAT_DUPLICATES
    return note


def match_to_json(parts: Parts) -> dict[str, Json]:
    """Return conditions as the keys of one match, or as a list where keys clash."""
    forms = [_plain(condition_to_json(part)) for part in parts]
    merged: dict[str, Json] = {}
    for form in forms:
        ((key, value),) = form.items()
        if key == "metadata" and isinstance(merged.get(key), dict):
            known = merged[key]
            if isinstance(known, dict) and isinstance(value, dict):
                if known.keys() & value.keys():
                    return {"all": list(forms)}
                merged[key] = {**known, **value}
        elif key in merged:
            return {"all": list(forms)}
        else:
            merged[key] = value
    return merged


def _plain(form: dict[str, Json]) -> dict[str, Json]:
    """Write lists of one as that one, and equality without its operator."""
    return {key: _shorter(value) for key, value in form.items()}


def _shorter(value: Json) -> Json:
    if isinstance(value, dict):
        if value.keys() == {"equals"} and not isinstance(value["equals"], dict):
            return value["equals"]
        return {key: _shorter(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    return value


def _types(
    named: Sequence[NamedProposal], tests: Iterable[Mapping[str, Json]]
) -> list[Json]:
    used = {
        name
        for one in named
        for part in one.proposal.parts
        if isinstance(part, TypeIn)
        for name in part.types
    }
    for test in tests:
        others = test.get("other_tasks")
        tasks = [test.get("task"), *(others if isinstance(others, list) else ())]
        kinds = [task.get("type") for task in tasks if isinstance(task, dict)]
        used |= {kind for kind in kinds if isinstance(kind, str)}
    return [*sorted(used - set(DOCUMENTED_TYPES))]
