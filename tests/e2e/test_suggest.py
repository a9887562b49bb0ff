"""Rules proposed from what people did: by the real program, against the sandbox."""

import os
import random
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.builders import T0
from tests.e2e.harness import a_listed, add
from tests.e2e.inprocess import CommandLine, FixedClock, settings_for
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.rulesfile.loader import parse
from triaged.sandbox.faults import parse_fault
from triaged.sandbox.settings import SandboxSettings

GOLDEN: Final = Path(__file__).parents[1] / "golden/commands/suggested.yaml"
RULES: Final = r"""
version: 1
rules:
  - name: campaigns
    match: {type: campaign_start}
    leave: true
"""
PEOPLE: Final = ("Jane Doe", "Tom Becker", "Priya Raman", "Zoë Müller", "Hans Weber")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def people(clock: FixedClock) -> Iterator[RunningSandbox]:
    """Return a sandbox in which people dismiss test tasks and large imports."""
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, clock) as sandbox:
        add(sandbox, settled(random.Random(7), 900))  # noqa: S311
        yield sandbox


@pytest.fixture
def command(
    people: RunningSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: FixedClock,
) -> CommandLine:
    (tmp_path / "rules.yaml").write_text(RULES)
    settings = settings_for(people.api_url)
    return CommandLine(tmp_path, monkeypatch, clock, settings)


def settled(dice: random.Random, count: int) -> list[dict[str, Any]]:
    return [_settled(dice, number, count) for number in range(count)]


def _settled(dice: random.Random, number: int, count: int) -> dict[str, Any]:
    is_test, source = dice.random() < 0.2, dice.choice(("api", "chat", "import"))
    limit = round(10 ** dice.uniform(1, 4))
    text = f"{dice.choice(('Find', 'Update'))} {limit} of {dice.choice(PEOPLE)}"
    dismissed = is_test or (source == "import" and limit > 1000)
    if dice.random() < 0.03:
        dismissed = not dismissed
    return a_listed(
        f"s{number}",
        f"[TEST] {text}" if is_test else text,
        type=dice.choice(("prospect_search", "contact_update", "data_export")),
        status="dismissed" if dismissed else "completed",
        created_at=(T0 - timedelta(hours=count - number)).isoformat(),
        metadata={"source": source, "limit": limit, "owner": dice.choice(PEOPLE)},
    )


def names(text: str) -> Sequence[str]:
    return [rule.name for rule in parse(text.encode(), "new.yaml").ruleset.rules]


def test_rules_are_proposed_with_tests_that_pass(
    command: CommandLine, people: RunningSandbox
) -> None:
    """Both habits of people become observing rules that check --strict accepts."""
    before = len(people.world.calls)
    done = command.run("suggest", "--out", "new.yaml")
    text = (command.directory / "new.yaml").read_text()
    rules = parse(text.encode(), "new.yaml").ruleset.rules
    if os.environ.get("TRIAGED_UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(text)

    assert done.code == 0, done.err
    assert len(people.world.calls) - before == 4
    assert "4 API calls" in done.err
    assert len(rules) == 2
    assert {rule.mode.value for rule in rules} == {"observe"}
    assert command.run("check", "--strict", "new.yaml").code == 0
    assert text == GOLDEN.read_text()


def test_the_lists_are_kept_for_a_day(
    command: CommandLine, people: RunningSandbox, clock: FixedClock
) -> None:
    """A second run proposes the same without a call; a day later it asks again."""
    first = command.run("suggest")
    before = len(people.world.calls)
    clock.at += timedelta(hours=23)
    second = command.run("suggest")
    clock.at += timedelta(hours=2)
    between = len(people.world.calls)
    command.run("suggest")

    assert names(second.out) == names(first.out)
    assert between == before
    assert "no API call" in second.err
    assert len(people.world.calls) - between == 4


def test_a_failed_call_does_not_cost_the_others(
    command: CommandLine, people: RunningSandbox
) -> None:
    """What was listed before a failure is not asked for again."""
    people.world.faults.add(parse_fault("list:500:9@2"))
    failed = command.run("suggest")
    people.world.faults.clear()
    again = command.run("suggest")

    assert "listing the dismissed, approved, completed, failed tasks" in failed.err
    assert failed.code != 0
    assert not failed.out
    assert "listing the completed, failed tasks: 2 API calls" in again.err
    assert len(names(again.out)) == 2


def test_a_list_that_may_be_wrong_proposes_nothing(
    command: CommandLine, people: RunningSandbox
) -> None:
    """Rows that may be out of date are no evidence; the list is asked for again."""
    people.world.faults.add(parse_fault("list:partial-error:1"))
    stopped = command.run("suggest", "--out", "new.yaml")

    assert stopped.code == 1
    assert "the list of dismissed tasks may be wrong or out of date" in stopped.err
    assert not (command.directory / "new.yaml").exists()
    assert "4 API calls" in command.run("suggest").err


def test_redaction_leaves_no_name_and_no_number(command: CommandLine) -> None:
    """Nothing of a task is shown that a proposed rule does not itself ask for."""
    done = command.run("suggest", "--redact")
    (command.directory / "new.yaml").write_text(done.out)
    tests = done.out.partition("\ntests:\n")[2]
    tasks = " ".join(re.findall(r"(?m)^    task: (.*)$", tests))

    assert len(names(done.out)) == 2
    assert tasks
    for word in " ".join(PEOPLE).split():
        assert word not in done.out
    bounds = set(re.findall(r"\d+", done.out.partition("tests:")[0]))
    near = {str(int(b) + step) for b in bounds for step in (-1, 0, 1)}
    assert set(re.findall(r"\d+", tasks)) <= near | {"0"}
    assert command.run("check", "--strict", "new.yaml").code == 0


def test_what_existing_rules_cover_is_not_proposed(command: CommandLine) -> None:
    """A habit that a rule in force follows already, in other words, is left out."""
    rules = command.directory / "rules.yaml"
    covering = (
        "  - name: tests\n    match: {description: 'TEST'}\n    dismiss: testing\n"
    )
    rules.write_text(RULES + covering)
    found = names(command.run("suggest").out)

    assert len(found) == 1
    assert "limit" in found[0]


def test_dismissals_by_rules_are_not_what_people_did(
    command: CommandLine, people: RunningSandbox
) -> None:
    """Tasks that the daemon dismissed are no evidence for its own rule."""
    rules = command.directory / "rules.yaml"
    acting = (
        "safety: {max_share_of_pending: 1.0, max_dismissals_per_cycle: 200}\n"
        "rules:\n  - name: odd\n    match: {description: ODD}\n    dismiss: testing\n"
    )
    rules.write_text(f"version: 1\n{acting}")
    add(people, [a_listed(f"odd{n}", f"ODD thing {n}") for n in range(60)])
    command.run("run", "--once")
    rules.write_text(RULES)
    done = command.run("suggest")

    assert "not counting 60 that triaged dismissed" in done.err
    assert not [name for name in names(done.out) if "odd" in name]


def test_a_reason_can_be_chosen(command: CommandLine) -> None:
    """--reason is used for every rule, and the notes do not call it a guess."""
    done = command.run("suggest", "--reason", "duplicate")
    rules = parse(done.out.encode(), "new.yaml").ruleset.rules

    assert {rule.reason for rule in rules} == {"duplicate"}
    assert "guess" not in done.out


def test_an_incomplete_list_is_said(
    command: CommandLine, people: RunningSandbox
) -> None:
    """Where tasks may be missing, the file and stderr say that evidence is weaker."""
    people.world.faults.add(parse_fault("list:paged=500:4"))
    done = command.run("suggest")

    assert "The list of completed tasks may be incomplete (" in done.err
    assert "# The list of completed tasks may be incomplete (" in done.out
    assert names(done.out)


def test_a_stream_without_unicode_gets_no_broken_file(command: CommandLine) -> None:
    """Where standard output cannot show a task's text, --out is asked for instead."""
    command.patch.setattr("triaged.cli.suggest.shows_unicode", lambda _: False)
    done = command.run("suggest")

    assert (done.code, done.out) == (2, "")
    assert "use --out" in done.err
    assert command.run("suggest", "--out", "new.yaml").code == 0


def test_a_person_without_rules_gets_their_first(
    command: CommandLine, people: RunningSandbox
) -> None:
    """No rules file here is no obstacle; a named one that is missing is a mistake."""
    (command.directory / "rules.yaml").unlink()
    first = command.run("suggest")
    before = len(people.world.calls)
    wrong = command.run("suggest", "--rules", "ruels.yaml")

    assert first.code == 0
    assert "there is no rules.yaml here" in first.err
    assert len(names(first.out)) == 2
    assert (wrong.code, len(people.world.calls)) == (78, before)
