"""``triaged promote`` and ``demote``: by hand what evidence does by itself."""

import click

from triaged.cli.control import insist, login_name, open_control, whose
from triaged.cli.fleet_use import FleetUse, NotHere
from triaged.cli.options import LEDGER_OPTIONS, with_settings
from triaged.cli.output import echo, notice
from triaged.clock import SystemClock
from triaged.ledger import Ledger
from triaged.rules.describe import rule_fingerprint
from triaged.rules.evidence import mode_in_force
from triaged.rules.rule import Mode, Rule, Ruleset
from triaged.rules.task import Change
from triaged.rulesfile.loader import load
from triaged.settings import Settings
from triaged.triage import evidence
from triaged.triage.agreement import Agreement


@click.command
@click.argument("name", metavar="RULE")
@with_settings("rules", *LEDGER_OPTIONS)
def promote(*, settings: Settings, name: str) -> None:
    """Let an observing rule act."""
    agreement = _change(settings, name, Change.PROMOTED)
    if agreement is not None:
        echo(f"{name} acts from the next cycle on.")
        echo(f"Of what it observed, people settled {agreement.total}: {agreement}")


@click.command
@click.argument("name", metavar="RULE")
@with_settings("rules", *LEDGER_OPTIONS, fleet=FleetUse.EACH)
def demote(*, settings: Settings, name: str) -> None:
    """Let an acting rule only observe."""
    if _change(settings, name, Change.DEMOTED) is not None:
        echo(f"{name} only observes from now on; it dismisses nothing more.")


def _change(settings: Settings, name: str, change: Change) -> Agreement | None:
    """Record a change; return the evidence so far, or None if it was so already."""
    rule = _rule(load(*settings.rules).ruleset, name)
    with open_control(settings) as ledger:
        agreement = insist(settings, lambda: _record(ledger, rule, change))
        if agreement is None:
            does = "acts" if change is Change.PROMOTED else "only observes"
            echo(f"{name} already {does}.")
        where = whose(ledger, settings)
        known = evidence.daemon_version(ledger, rule)
    echo(where, error=True)
    if change is Change.PROMOTED and known and known[0] != rule_fingerprint(rule):
        notice(
            f"warning: the daemon's last cycle had another rule {name}; this"
            " one acts once a daemon has loaded it"
        )
    return agreement


def _record(ledger: Ledger, rule: Rule, change: Change) -> Agreement | None:
    now, wanted = SystemClock().now(), evidence.MODE_AFTER[change]
    with ledger.transaction():
        agreement = evidence.agreement_of(ledger, rule, now=now)
        versions = [
            (
                rule_fingerprint(rule),
                mode_in_force(rule, ledger.rule_changes.changes()),
            )
        ]
        known = evidence.daemon_version(ledger, rule)
        if change is Change.DEMOTED and known is not None:
            # What dismisses is the daemon's version of the rule, whatever this one is.
            versions.append(known)
        changed = {version for version, mode in versions if mode is not wanted}
        for version in changed:
            evidence.change_mode(
                ledger,
                rule,
                change,
                evidence.evidence_json(agreement),
                now,
                by=login_name(),
                fingerprint=version,
            )
    return agreement if changed else None


def _rule(ruleset: Ruleset, name: str) -> Rule:
    """Return the rule to change, or reject the name."""
    rule = ruleset.rule(name)
    if rule is None:
        import difflib  # noqa: PLC0415 - only for mistyped names

        near = difflib.get_close_matches(name, [r.name for r in ruleset.rules], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        why = f"there is no rule {name!r}{hint}"
    elif rule.reason is None:
        why = f"{name} leaves tasks to people, so it has nothing to observe"
    elif rule.mode is Mode.OFF:
        why = f"{name} is off; set its mode in the rules file"
    else:
        return rule
    raise NotHere(why, param_hint="RULE")
