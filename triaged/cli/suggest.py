"""``triaged suggest``: rules found in what people dismissed and approved."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from triaged.cli.files import refuse_no_directory, write_out
from triaged.cli.options import CALL_OPTIONS, with_settings
from triaged.cli.output import count_of, echo, notice, print_table
from triaged.cli.session import open_session
from triaged.cli.settled_lists import SettledList, SettledLists
from triaged.cli.streams import shows_unicode
from triaged.cli.suggest_file import SuggestedFile, write_file
from triaged.cli.suggest_names import NamedProposal, name_proposals
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.rules.compiled import compile_condition
from triaged.rules.conditions import conjuncts
from triaged.rules.context import build_context
from triaged.rules.rule import Ruleset
from triaged.rules.task import DOCUMENTED_REASONS, HumanDecision
from triaged.rulesfile.lint.unreachable import subsumes
from triaged.rulesfile.loader import load_rules
from triaged.settings import Settings
from triaged.triage.agreement import human_decision_for
from triaged.triage.suggest.history import History, SettledTask
from triaged.triage.suggest.proposals import Proposals, propose

# Where the settings look for rules, unless told otherwise.
_DEFAULT_RULES: Final = Path("rules.yaml")


@dataclass(frozen=True, slots=True, repr=False)
class _Settled:
    """What people settled, what is not known of it, and what triaged dismissed."""

    tasks: tuple[SettledTask, ...]
    notes: tuple[str, ...]
    incomplete: bool
    ours: int


@click.command
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the rules file here; never overwrites.",
)
@click.option(
    "--redact", is_flag=True, help="Replace names and numbers in the tests' tasks."
)
@click.option(
    "--reason", metavar="R", help="The reason code of every rule [default: a guess]."
)
@with_settings(*CALL_OPTIONS)
def suggest(
    *, settings: Settings, out: Path | None, redact: bool, reason: str | None
) -> None:
    """Propose rules for what people dismissed."""
    if out is not None:
        if out.is_file() or out.is_dir() or out.is_symlink():
            why = f"{out} exists already; suggest never overwrites"
            raise click.BadParameter(why, param_hint="--out")
        refuse_no_directory(out)
    now = SystemClock().now()
    existing, reasons = _existing_rules(settings.rules, now)
    if reason is not None and reason not in reasons:
        raise click.BadParameter(
            f"unknown reason {reason!r}; known: {', '.join(sorted(reasons))}",
            param_hint="--reason",
        )
    settled = asyncio.run(_ask(settings))
    history = History.of(_explained(settled.tasks, existing, now))
    found = propose(
        history,
        is_covered=lambda parts: any(
            subsumes(parts, conjuncts(condition)) for condition in existing.conditions()
        ),
        incomplete=settled.incomplete,
    )
    taken = [rule.name for rule in existing.rules]
    named = name_proposals(found.rules, history, taken=taken, reason=reason)
    notes = list(settled.notes)
    if history.undated:
        notes.append(
            f"{history.undated} tasks without a usable created_at were left out."
        )
    file = write_file(named, history, now=now, redact=redact, notes=notes)
    _say_what_was_found(file, found, history, settled, notes)
    if not file.rules:
        return
    if out is None:
        _print(file.text)
    else:
        _write(out, file)


def _existing_rules(
    paths: tuple[Path, ...], now: datetime
) -> tuple[Ruleset, frozenset[str]]:
    """Load the rules in force; a person without any has not written them yet."""
    if paths == (_DEFAULT_RULES,) and not _DEFAULT_RULES.exists():
        notice(f"there is no {_DEFAULT_RULES} here, so no rule counts as known")
        return Ruleset(), frozenset(DOCUMENTED_REASONS)
    rules, loaded = load_rules(*paths, now=now)
    return rules.ruleset, frozenset(loaded.reasons)


async def _ask(settings: Settings) -> _Settled:
    async with open_session(settings) as (workspace, activity):
        lists = SettledLists(workspace.ledger, now=workspace.clock.now)
        missing = lists.missing
        if missing:
            calls = count_of(len(missing), "API call")
            notice(f"listing the {', '.join(missing)} tasks: {calls}")
        collector = workspace.feedback()
        for status in missing:
            with activity.show(f"listing the {status} tasks"):
                await lists.ask(collector, status)
        kept = lists.lists()
        if not missing:
            asked = min(one.asked_at for one in kept)
            notice(
                f"using the lists of {asked:%Y-%m-%d %H:%M:%S} UTC, kept for a"
                " day; no API call"
            )
        return _settled(kept, workspace.ledger)


def _settled(lists: Sequence[SettledList], ledger: Ledger) -> _Settled:
    by_rules = ledger.dismissals.by_rules()
    reasons = ledger.dismissals.reasons_by_hand()
    times = ledger.decisions.times()
    found: dict[str, SettledTask] = {}
    contradicted: set[str] = set()
    ours: set[str] = set()
    by_people = (
        (task, human_decision_for(one.status)) for one in lists for task in one.tasks
    )
    for task, decision in by_people:
        if task.id is None:
            continue
        if decision is HumanDecision.DISMISSED and task.id in by_rules:
            ours.add(task.id)
        elif task.id in found and found[task.id].decision is not decision:
            contradicted.add(task.id)
        else:
            found[task.id] = SettledTask(
                task=task,
                decision=decision,
                seen_at=times.get(task.id),
                reason=reasons.get(task.id),
            )
    return _Settled(
        tasks=tuple(o for task_id, o in found.items() if task_id not in contradicted),
        notes=tuple(_doubts(lists)),
        incomplete=any(one.incomplete is not None for one in lists),
        ours=len(ours),
    )


def _doubts(lists: Sequence[SettledList]) -> Iterator[str]:
    for one in lists:
        if one.incomplete is not None:
            yield (
                f"The list of {one.status} tasks may be incomplete"
                f" ({one.incomplete}): the evidence is weaker."
            )
    cuts = {one.complete_from for one in lists if one.complete_from is not None}
    for cut in cuts:
        yield f"There are too many tasks to keep: only those since {cut:%Y-%m-%d}."


def _explained(
    tasks: Sequence[SettledTask], existing: Ruleset, now: datetime
) -> list[SettledTask]:
    """Mark what existing rules, whatever their mode, or protection deal with."""
    conditions = list(existing.conditions())
    if not conditions:
        return list(tasks)
    # Conditions on duplicates need tasks that are pending together; these once were.
    pending = [replace(one.task, status="pending") for one in tasks]
    context = build_context(conditions, pending, now=now)
    # Protection, and a rule that leaves, act on what is unknown too.
    judges = [(compile_condition(one), True) for one in existing.protect]
    judges += [
        (compile_condition(rule.match), rule.reason is None) for rule in existing.rules
    ]

    def is_explained(one: SettledTask) -> bool:
        moment = replace(context, now=one.moment)
        truths = ((judge(one.task, moment), doubt) for judge, doubt in judges)
        return any(truth or (truth is None and doubt) for truth, doubt in truths)

    return [
        replace(one, explained=is_explained(one))
        if one.decision is HumanDecision.DISMISSED and one.task.created_at
        else one
        for one in tasks
    ]


def _say_what_was_found(
    file: SuggestedFile,
    found: Proposals,
    history: History,
    settled: _Settled,
    notes: Sequence[str],
) -> None:
    count = len(file.rules)
    rules = {0: "No rule is", 1: "1 rule is"}.get(count, f"{count} rules are")
    dismissed, approved = history.dismissed.bit_count(), history.approved.bit_count()
    notice(
        f"{rules} proposed, from {dismissed:,} tasks that people dismissed and"
        f" {approved:,} that they approved, not counting {settled.ours:,} that triaged"
        " dismissed itself"
    )
    if found.unconfirmed:
        notice(
            f"{found.unconfirmed} more held for older tasks and were not"
            " confirmed by newer ones"
        )
    if found.covered:
        notice(f"{found.covered} more are covered by existing rules")
    for one in file.left_out:
        notice(
            f"{one.name} is left out: no rules file with tests can be written for it"
        )
    for note in notes:
        notice(note)


def _print(text: str) -> None:
    """Print the file; a replaced character would make it another one."""
    if not (text.isascii() or shows_unicode(sys.stdout)):
        raise click.UsageError(
            "standard output cannot show every character of the file; use --out FILE"
        )
    echo(text, end="")


def _write(out: Path, file: SuggestedFile) -> None:
    write_out(out, file.text)
    print_table(
        ("rule", "reason", "dismissed", "approved", "agreement on newer tasks"),
        [_row(one) for one in file.rules],
    )
    echo(f"\n{out}: these rules, in observe mode, with tests.  Next:")
    echo(f"  triaged check --strict {out}")
    echo(f"  triaged plan --rules {out}    show what they would observe (1 API call)")


def _row(one: NamedProposal) -> tuple[str, ...]:
    found, verified = one.proposal.found, one.proposal.verified
    return (
        one.name,
        one.reason.code,
        f"{found.dismissed + verified.dismissed:,}",
        f"{found.approved + verified.approved:,}",
        str(verified),
    )
