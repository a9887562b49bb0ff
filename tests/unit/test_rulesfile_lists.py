"""Lists in files of their own: read with the rules, hashed with them, never outside."""

import json
import os
import time
from pathlib import Path
from typing import Final

import pytest

from tests.builders import T0, a_task
from triaged.errors import ConfigError
from triaged.rules.context import build_context
from triaged.rules.decide import decide
from triaged.rules.explain import explain
from triaged.rules.explain_json import dump_trace
from triaged.rulesfile.lists import MAX_LINES
from triaged.rulesfile.loader import (
    LoadedRules,
    compile_rules,
    load,
    parse,
    parse_bundle,
    run_rule_tests,
)
from triaged.rulesfile.sources import fingerprint

RULES: Final = """version: 1
rules:
  - name: clients
    match: {description: {words: {file: clients.txt}}}
    dismiss: testing
  - name: ids
    match: {metadata: {campaign: {in: {file: ids.txt}}}}
    dismiss: testing
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Return a rules file beside its two lists."""
    (tmp_path / "clients.txt").write_text("# ours\n\nMiller & Sons\n  Acme \n")
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbfc-1\r\nc-2\r\n")
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def _rule(loaded: LoadedRules, **fields: object) -> str | None:
    task = a_task(**fields)  # type: ignore[arg-type]
    return decide(loaded.ruleset, [task], now=T0)[0].rule


def test_entries_are_read(rules: Path) -> None:
    """One a line, trimmed, without comments, a byte-order mark or carriage returns."""
    loaded = load(rules)

    assert _rule(loaded, description="for ACME.") == "clients"
    assert _rule(loaded, description="miller\u00a0&\tSONS") == "clients"
    assert _rule(loaded, description="# ours") is None
    assert _rule(loaded, metadata={"campaign": "c-1"}) == "ids"
    assert _rule(loaded, metadata={"campaign": "c-2"}) == "ids"
    assert _rule(loaded, metadata={"campaign": 1}) is None


def test_explain_names_the_entry_and_its_line(rules: Path) -> None:
    """What was found can be looked up in the list."""
    ruleset = load(rules).ruleset
    task = a_task(description="call acme", metadata={"campaign": "c-2"})
    context = build_context(ruleset.conditions(), [task], now=T0)

    trace = json.loads(dump_trace(explain(ruleset, task, context)))

    clients, ids = (rule["match"] for rule in trace["rules"])
    assert clients["expected"] == "words one of the 2 entries of clients.txt"
    assert clients["actual"] == '"call acme", with "Acme" (clients.txt:4)'
    assert ids["actual"] == '"c-2", "c-2" (ids.txt:2)'


def test_the_hash_covers_rules_and_lists(rules: Path) -> None:
    """A change of a list is a change of the rules; the watcher sees the same hash."""
    first = load(rules).ruleset.sha256
    assert fingerprint(rules) == first

    (rules.parent / "clients.txt").write_text("Acme\n")
    assert fingerprint(rules) == load(rules).ruleset.sha256 != first

    second = fingerprint(rules)
    (rules.parent / "clients.txt").unlink()
    assert fingerprint(rules) not in {first, second}


def test_a_list_that_no_rule_names_changes_nothing(rules: Path) -> None:
    """Other files beside the rules are not theirs."""
    before = fingerprint(rules)

    (rules.parent / "others.txt").write_text("x")

    assert fingerprint(rules) == before


def test_what_was_loaded_can_be_kept_in_one_text(rules: Path) -> None:
    """The ledger keeps rules and lists, and judges by them when the files are gone."""
    loaded = load(rules)
    (rules.parent / "clients.txt").unlink()

    again = parse_bundle(loaded.source, "kept")

    assert again.ruleset.rules == loaded.ruleset.rules
    assert again.source == loaded.source


def test_a_config_map_can_hold_a_list(tmp_path: Path) -> None:
    """A mounted ConfigMap is links to a hidden directory in the same directory."""
    real = tmp_path / "..2026_03_01"
    real.mkdir()
    (real / "rules.yaml").write_text(RULES)
    (real / "clients.txt").write_text("Acme\n")
    (real / "ids.txt").write_text("c-1\n")
    (tmp_path / "..data").symlink_to(real.name)
    for name in ("rules.yaml", "clients.txt", "ids.txt"):
        (tmp_path / name).symlink_to(f"..data/{name}")

    before = load(tmp_path / "rules.yaml").ruleset.sha256
    newer = tmp_path / "..2026_03_02"
    newer.mkdir()
    for path in real.iterdir():
        (newer / path.name).write_text(path.read_text())
    (newer / "clients.txt").write_text("Acme\nMiller\n")
    (tmp_path / "..data").unlink()
    (tmp_path / "..data").symlink_to(newer.name)

    assert fingerprint(tmp_path / "rules.yaml") != before


def _refused(rules: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(rules)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (4, 41)
    assert problem.path == "rules[0].match.description.words.file"
    return problem.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "list clients.txt is empty; write one entry a line"),
        (b"# nothing\n\n", "list clients.txt is empty; write one entry a line"),
        (b"Acme\n\xff\n", "list clients.txt:2: not UTF-8; save it as UTF-8"),
        (
            b"Acme\na\x00b\n",
            "list clients.txt:2: it contains the control character U+0000; remove it",
        ),
        (
            "\ufeffAcme\n\ufeffBoard\n".encode(),  # two files with a mark, joined
            (
                "list clients.txt:2: it contains U+FEFF, which cannot be seen; remove"
                r" it, or use regex with \x{FEFF} if it is meant"
            ),
        ),
        (
            b"a\n" * (MAX_LINES + 1),
            "list clients.txt has 20001 lines; at most 20,000",
        ),
        (
            b"a" * 257,
            "list clients.txt:1: an entry of 257 characters; at most 256",
        ),
        (b"a" * (5 << 20), "list clients.txt is larger than 4 MiB"),
        (
            b"Acme\n&\n",
            "list clients.txt:2: '&' has no letter or digit to look for",
        ),
    ],
)
def test_a_list_that_cannot_be_used(rules: Path, content: bytes, message: str) -> None:
    """It is refused with its own line and the place that names it."""
    (rules.parent / "clients.txt").write_bytes(content)

    found = _refused(rules)

    assert found == message


def test_as_many_lines_as_allowed(rules: Path) -> None:
    """20,000 lines are not too many."""
    (rules.parent / "clients.txt").write_text("Acme\n" * MAX_LINES)

    assert load(rules).ruleset.rules


def test_a_missing_list(rules: Path) -> None:
    """A list that is not there is refused."""
    (rules.parent / "clients.txt").unlink()

    assert _refused(rules) == (
        "list clients.txt cannot be read: No such file or directory"
    )


def test_a_link_out_of_the_directory(rules: Path) -> None:
    """No link leads outside, neither of the file nor of a directory on the way."""
    outside = rules.parent.parent / f"{rules.parent.name}-outside"
    outside.mkdir(exist_ok=True)
    (outside / "clients.txt").write_text("secret\n")
    (rules.parent / "clients.txt").unlink()
    (rules.parent / "clients.txt").symlink_to(outside / "clients.txt")

    assert "leads outside the directory" in _refused(rules)

    (rules.parent / "sub").symlink_to(outside)
    rules.write_text(RULES.replace("clients.txt", "sub/clients.txt"))
    assert "leads outside the directory" in _refused(rules)


@pytest.mark.parametrize("name", ["/etc/hostname", "../x.txt", "a/../../x.txt", "."])
def test_a_path_out_of_the_directory(rules: Path, name: str) -> None:
    """Only what lies beside the rules file, or below, can be named."""
    rules.write_text(RULES.replace("clients.txt", name))

    message = _refused(rules)

    assert "below the directory" in message or "not a regular file" in message


def test_a_pipe_is_no_list(rules: Path) -> None:
    """A named pipe would wait for ever."""
    (rules.parent / "clients.txt").unlink()
    os.mkfifo(rules.parent / "clients.txt")

    assert _refused(rules).endswith("cannot be read: not a regular file")


def test_a_list_below_the_directory(rules: Path) -> None:
    """A list may lie in a directory beside the rules file."""
    (rules.parent / "lists").mkdir()
    (rules.parent / "clients.txt").rename(rules.parent / "lists" / "clients.txt")
    rules.write_text(RULES.replace("clients.txt", "lists/clients.txt"))

    assert _rule(load(rules), description="acme") == "clients"


def test_tests_can_bring_lists_of_their_own(rules: Path) -> None:
    """In a test, ``files`` stand in for the lists, whatever these say today."""
    rules.write_text(
        RULES
        + """tests:
  - name: a client of today
    task: {description: Acme}
    expect: {decision: dismiss, rule: clients}
  - name: no client here
    files: {clients.txt: [Miller]}
    task: {description: Acme}
    expect: {decision: leave, cause: no_rule}
  - name: a client and a campaign of this test
    files: {clients.txt: [zo\u00eb], ids.txt: [c-9]}
    task: {description: ZOE\u0308, metadata: {campaign: c-9}}
    expect: {decision: dismiss, rule: clients}
"""
    )
    loaded = load(rules)

    report = run_rule_tests(loaded, compile_rules(loaded), now=T0)

    assert [str(failure) for failure in report.failures] == []
    assert report.passed == 3


def test_an_entry_that_was_meant_otherwise_is_warned_of(rules: Path) -> None:
    """A pattern, or quotes from a spreadsheet, are looked for as they stand."""
    (rules.parent / "clients.txt").write_text('Acme\n"Initech",\nboard.*\n')

    found = [problem.message for problem in load(rules).warnings]

    assert any("list clients.txt:2: '\"Initech\",' has quotes" in one for one in found)
    assert any("list clients.txt:3: 'board.*' looks like" in one for one in found)


def test_a_list_is_looked_through_once_for_all_rules() -> None:
    """The time to load grows with the list and with the rules, not with both."""
    rows = "".join(
        f"  - {{name: rule-{n}, match: {{type: contact_update, description:"
        f" {{words: {{file: clients.txt}}, regex: word{n}x}}}}, dismiss: testing}}\n"
        for n in range(300)
    )
    entries = "\n".join(f"client {n}" for n in range(10_000))

    text, lists = f"version: 1\nrules:\n{rows}", {"clients.txt": entries.encode()}
    start = time.process_time()
    loaded = parse(text.encode(), "rules.yaml", lists)

    assert len(loaded.ruleset.rules) == 300
    assert time.process_time() - start < 3
