"""Every wrong use that a person will make: what was found, what would do, which code.

Nothing listens where the API should be, so a wrong use that spends a call ends as
unreachable, and its test fails.
"""

import shlex
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.commands import GOLDEN, INPUTS, NOW
from tests.e2e.inprocess import CommandLine, FixedClock, settings_for
from triaged.cli import COMMAND_MODULES

NOWHERE: Final = "http://127.0.0.1:9/functions/v1/api-gateway"

# Arguments, and what must be said of them; all of these end with 2.
USAGE: Final = {
    "nonsense": "No such command 'nonsense'.",
    "stauts": "No such command 'stauts'. Did you mean 'status'?",
    "--verbose": "No such option '--verbose'. Did you mean '--version'?",
    "run --dryrun": "No such option '--dryrun'. Did you mean '--dry-run'?",
    "run now": "unexpected extra argument (now)",
    "run --api-key wbk_x": "Did you mean one of: '--api-key-file'",
    "run --poll-interval": "Option '--poll-interval' requires an argument",
    "check --format csv": "'csv' is not one of table, json",
    "check --strickt": "Did you mean '--strict'?",
    "plan --now yesterday": "2026-03-01T00:00:00Z, found 'yesterday'",
    "plan --now 2026-03-01T00:00:00": "found '2026-03-01T00:00:00'",
    "plan --tasks nowhere.json": "nowhere.json: No such file or directory",
    "plan --tasks .": ".: Is a directory",
    "plan --tasks rules.yaml": 'rules.yaml is no list answer {"data": {"tasks": […]}}',
    "plan --tasks task.json": "no 'data' where it should be",
    "plan --out no/where.json": "there is no directory no to write where.json to",
    "plan --out .": ". is a directory",
    "plan --format csv": "'csv' is not one of table, json",
    "plan --task tasks.json": "Did you mean '--tasks'?",
    "plan tasks.json": "unexpected extra argument (tasks.json)",
    "apply": "Missing argument 'PLAN'",
    "apply nowhere.json": "nowhere.json: No such file or directory",
    "apply .": ".: Is a directory",
    "apply plan.json other.json": "unexpected extra argument (other.json)",
    "explain": "give the task: its TASK_ID, or --task FILE",
    "explain ''": "give the task: its TASK_ID, or --task FILE",
    "explain t1 --task task.json": "give a TASK_ID or --task FILE, not both",
    "explain t1 t2": "unexpected extra argument (t2)",
    "explain --task nowhere.json": "--task: nowhere.json: No such file or directory",
    "explain --task .": "--task: .: Is a directory",
    "explain --task rules.yaml": "rules.yaml is not JSON: Expecting value: line 1",
    "explain --task list.json": "list.json must hold one task, an object",
    "explain --task tasks.json": "a list answer, not one task; plan --tasks takes it",
    "explain t1 --now noon": "2026-03-01T00:00:00Z, found 'noon'",
    "explain t1 --format html": "'html' is not one of table, json",
    "promote": "Missing argument 'RULE'",
    "promote nowhere": "there is no rule 'nowhere'",
    "demote": "Missing argument 'RULE'",
    "demote a b": "unexpected extra argument (b)",
    "backtest --format csv": "'csv' is not one of table, json, html",
    "backtest rules.yaml": "unexpected extra argument (rules.yaml)",
    "suggest --out rules.yaml": "rules.yaml exists already; suggest never overwrites",
    "suggest --out nowhere/new.yaml": "there is no directory nowhere",
    "suggest --reason because": "unknown reason 'because'; known:",
    "review": "a review needs a terminal; scripts use triaged dismiss",
    "review t1": "unexpected extra argument (t1)",
    "dismiss": "Missing option '--reason'",
    "dismiss t1": "Missing option '--reason'",
    "dismiss --reason testing": "say which: IDs, --type, --older-than, --description",
    "dismiss t1 --all --reason testing": "instead of all of these, --all",
    "dismiss --type '' --reason testing": "say which: IDs",
    "dismiss '' --reason testing": "an ID is empty; say which tasks",
    "dismiss t1 --reason because": "unknown reason 'because'; known: asked_by_law,",
    "dismiss t1 --reason ''": "unknown reason ''; known: asked_by_law,",
    "dismiss --older-than 14 --reason testing": "14d or 1d12h, found '14'",
    "dismiss --older-than=-1d --reason testing": "found '-1d'",
    "dismiss --description '(' --reason testing": "for the character itself write \\(",
    "dismiss --description '(?=x)' --reason testing": "look-ahead (?= is not supported",
    "dismiss --description 'x*' --reason testing": "even an empty one; write + for *",
    "dismiss --all --reason testing --yess": "No such option '--yess'",
    "history --since yesterday": "or a timestamp such as 2026-03-01T00:00:00Z",
    "history --since 2026-03-01": "found '2026-03-01'",
    "history --outcome fine": "'fine' is not one of confirmed, already_handled, gone",
    "history --format html": "'html' is not one of table, json, csv",
    "history t1": "unexpected extra argument (t1)",
    "history --held --rule clutter": "drop the other flags",
    "budget --format csv": "'csv' is not one of table, json",
    "history --held --agreement": "give one of --observed, --held and --agreement",
    "history --refresh": "--refresh goes with --agreement",
    "history --observed --outcome gone": "what was only observed has no --outcome",
    "status now": "unexpected extra argument (now)",
    "status --format csv": "'csv' is not one of table, json",
    "init --dir rules.yaml": "'rules.yaml' is a file",
    "init": "rules.yaml exists already; init never overwrites",
    "backup": "Missing argument 'FILE'",
    "backup x --verify --overwrite": "--verify writes nothing",
    "ledger drop": "No such command 'drop'",
    "ledger copy state": "Missing argument 'TO'",
    "ledger copy state state": "FROM and TO are the same place",
    "ledger copy state mysql://x": "expected a URL such as postgresql://",
    "ledger copy state postgresql://a:b@c/d": "the URL holds a password",
    "completion": "Missing argument '{bash|zsh|fish}'",
    "completion csh": "'csh' is not one of 'bash', 'zsh', 'fish'",
    "workspaces": "this needs a fleet: set TRIAGED_FLEET",
    "daemons now": "unexpected extra argument (now)",
    "daemons --format csv": "'csv' is not one of table, json",
    "status --all": "this needs a fleet: set TRIAGED_FLEET",
    "history -l region=eu": "this needs a fleet: set TRIAGED_FLEET",
    "pause --all -l region=eu": "give one of --workspace, -l and --all",
    "resume --workspace a --all": "give one of --workspace, -l and --all",
    "sandbox --workspaces 0": "0 is not in the range",
    "veto": "Missing argument 'TASK_ID'",
    "veto ''": "Missing argument 'TASK_ID'",
    "veto t1 --list": "--list shows every veto; drop the other arguments",
    "veto t1 t2": "unexpected extra argument (t2)",
    "pause now": "unexpected extra argument (now)",
    "pause --note": "Option '--note' requires an argument",
    "resume t1": "unexpected extra argument (t1)",
    "notify": "give either --test or --preview",
    "notify --test --preview": "give either --test or --preview",
    "notify --test --html x.html": "--html needs --preview",
    "notify --preview --html .": "'.' is a directory",
    "notify now": "unexpected extra argument (now)",
    "schema rules.yaml": "unexpected extra argument (rules.yaml)",
    "schema --format json": "No such option '--format'",
    "sandbox --port 99999": "99999 is not in the range 0<=x<=65535",
    "sandbox --port http": "'http' is not a valid integer",
    "sandbox --tasks -1": "-1 is not in the range 0<=x<=200000",
    "sandbox --plan gold": "'gold' is not one of 'starter', 'pro', 'org', 'unlimited'",
    "sandbox --minute-window soon": "90s, 14d or 1d12h, found 'soon'",
    "sandbox --day-window 0s": "expected at least 1s, found '0s'",
    "sandbox --fault nonsense": "expected OPERATION:FAULT[:COUNT[@SKIP]]",
    "sandbox --fault dismiss:odd": "unknown fault 'odd' (known: 429, daily-429,",
    "sandbox --fault dismiss:500:p=2": "from 0 to 1, not '2'",
    "demo --seconds 1": "1 is not in the range 5<=x<=600",
    "demo now": "unexpected extra argument (now)",
}

# One setting wrong at a time; all of these end with 78 and name the variable.
SETTINGS: Final = {
    "TRIAGED_API_KEY": ("wbk one two", "one word of printable ASCII"),
    "TRIAGED_API_KEY_FILE": ("nokey", "nokey: No such file or directory"),
    "TRIAGED_API_URL": ("http://leadlex.example", "use https"),
    "TRIAGED_RULES": ("nowhere.yaml", "nowhere.yaml: cannot be read: No such file"),
    "TRIAGED_WORKSPACE": ("a b", "letters, digits, '.', '_' or '-', found 'a b'"),
    "TRIAGED_API_PLAN": ("gold", "expected one of starter, pro, org, found 'gold'"),
    "TRIAGED_RATE_LIMIT": ("50", "calls and a duration such as 50/1m, found '50'"),
    "TRIAGED_DAILY_LIMIT": ("0", "expected a whole number above 0, found '0'"),
    "TRIAGED_RESERVE": ("20%", "from 0 to below 1 such as 0.2, found '20%'"),
    "TRIAGED_POLL_INTERVAL": ("10", "such as 90s, 14d or 1d12h, found '10'"),
    "TRIAGED_LEDGER_URL": ("mysql://x/y", "expected a URL such as postgresql://"),
    "TRIAGED_RETENTION": ("1d", "at least 2d and at most 36500d, found '1d'"),
    "TRIAGED_NOTIFY_FILE": ("json://h", "this is a URL, not the name of a file"),
    "TRIAGED_NOTIFY_AT": ("8:00", "a time such as 08:00 or 08:00 Europe/Berlin"),
    "TRIAGED_PAGE_URL": ("triaged.example", "an https URL such as https://triaged"),
    "TRIAGED_LISTEN": ("9464", "HOST:PORT such as 127.0.0.1:9464, found '9464'"),
    "TRIAGED_PAGE": ("write", "expected one of off, read, keep, found 'write'"),
    "TRIAGED_PAGE_USER_HEADER": ("X User", "the name of a header such as X-Remote"),
    "TRIAGED_LOG_LEVEL": ("loud", "one of debug, info, warning, error, found 'loud'"),
    "TRIAGED_LOG_FORMAT": ("xml", "expected one of json, console, found 'xml'"),
}

ASK_THE_API: Final = (
    "run --once",
    "plan",
    "explain t1",
    "backtest",
    "suggest",
    "dismiss t1 --reason testing --yes",
)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    for name in INPUTS:
        shutil.copy(GOLDEN / name, tmp_path / name)
    (tmp_path / "list.json").write_text("[1]")
    clock = FixedClock(NOW)
    return CommandLine(tmp_path, monkeypatch, clock, settings_for(NOWHERE))


def test_every_command_is_in_the_table() -> None:
    """No command is without a wrong use that was tried."""
    assert {use.split()[0] for use in USAGE} >= set(COMMAND_MODULES)


@pytest.mark.parametrize(("use", "said"), USAGE.items())
def test_a_wrong_use_is_explained(command: CommandLine, use: str, said: str) -> None:
    """A wrong use ends with 2, says what is wrong on stderr, and leaves no trace."""
    done = command.run(*shlex.split(use))

    assert (done.code, done.out) == (2, "")
    assert "Error: " in done.err
    assert said in done.err
    assert not (command.directory / "state").exists()


def test_no_command_at_all_shows_the_commands(command: CommandLine) -> None:
    """Whoever types the bare name learns what there is."""
    done = command.run()

    assert done.code == 2
    assert all(f"\n  {name} " in done.err + done.out for name in COMMAND_MODULES)


@pytest.mark.parametrize("variable", SETTINGS)
def test_a_malformed_setting_is_explained(command: CommandLine, variable: str) -> None:
    """A setting that cannot be ends with 78, is named, and so is what would do."""
    value, said = SETTINGS[variable]
    if variable == "TRIAGED_API_KEY_FILE":
        del command.settings["TRIAGED_API_KEY"]
    command.settings[variable] = value
    done = command.run("run", "--once")

    assert (done.code, done.out) == (78, "")
    assert said in done.err
    assert variable in done.err or variable == "TRIAGED_RULES"
    assert all(line.startswith("triaged: ") for line in done.err.splitlines())


def test_all_wrong_settings_are_told_at_once(command: CommandLine) -> None:
    """Nobody corrects a setting only to be told of the next."""
    wrong = {n: v for n, (v, _) in SETTINGS.items() if n != "TRIAGED_RULES"}
    command.settings.update(wrong)
    done = command.run("run", "--once")

    told = [line.split(": ")[2] for line in done.err.splitlines()]
    assert set(told) == wrong.keys() - {"TRIAGED_API_KEY_FILE"}


def test_a_flag_that_is_wrong_is_told_as_its_setting(command: CommandLine) -> None:
    """A flag is checked as its variable is, before anything starts."""
    done = command.run("budget", "--poll-interval", "fast", "--reserve", "1")

    assert done.code == 78
    assert "TRIAGED_POLL_INTERVAL: expected a duration such as" in done.err
    assert "TRIAGED_RESERVE: expected a share" in done.err


def test_a_missing_key_says_where_to_put_one(command: CommandLine) -> None:
    """Without a key nothing is asked, and both ways to give one are named."""
    del command.settings["TRIAGED_API_KEY"]
    for use in ASK_THE_API:
        done = command.run(*use.split())

        assert done.code == 78, use
        assert "set TRIAGED_API_KEY_FILE to a file that holds it" in done.err
        assert "or TRIAGED_API_KEY" in done.err


@pytest.mark.parametrize("use", ASK_THE_API)
def test_an_api_that_is_not_there_is_told(command: CommandLine, use: str) -> None:
    """Where nobody listens the code is 69, and the message says so."""
    done = command.run(*use.split())

    assert done.code == 69
    assert use.startswith("run") or "LeadLex cannot be reached" in done.err


@pytest.mark.parametrize("use", ASK_THE_API)
def test_wrong_rules_stop_what_would_use_them(command: CommandLine, use: str) -> None:
    """Rules that do not load end with 78, failing tests with 3, before any call."""
    wrong = command.run(*use.split(), "--rules", "rules.bad.yaml")
    failing = command.run(*use.split(), "--rules", "rules.failing.yaml")

    assert wrong.code == 78
    assert "rules.bad.yaml:4:5: rules[0]: unknown key 'mach'" in wrong.err
    assert failing.code == 3
    assert "test 'a search for tests stays': expected leave" in failing.err


def test_an_empty_state_directory_is_nothing_to_fear(command: CommandLine) -> None:
    """What only reads says that there is nothing yet, and makes nothing."""
    history = command.run("history", "--format", "json")
    observed = command.run("history", "--observed", "--format", "csv")
    budget = command.run("budget", "--format", "json")

    assert observed.out.startswith("task_id,rule,reason,kind,observed_at,")
    assert (history.code, history.json) == (0, [])
    assert "no ledger in state yet" in history.err
    assert (budget.code, budget.json["now"]) == (0, None)
    assert not (command.directory / "state").exists()


@pytest.mark.parametrize("use", ["veto t1", "pause", "resume", "status"])
def test_without_a_ledger_nothing_is_confirmed(command: CommandLine, use: str) -> None:
    """What tells a running daemon something makes no ledger of its own."""
    done = command.run(*use.split())

    assert done.code == 1
    assert "no ledger" in done.err + done.out
    assert not (command.directory / "state").exists()


@pytest.mark.parametrize("use", ["plan", "run --once"])
def test_a_state_directory_that_is_a_file_is_told(
    command: CommandLine, use: str
) -> None:
    """A ledger that cannot be made ends with 1, and what would do is said."""
    done = command.run(*use.split(), "--state-dir", "task.json")

    assert done.code == 1
    assert "task.json" in done.err
    assert "give a writable TRIAGED_STATE_DIR" in done.err


def test_a_file_that_is_no_ledger_is_told(command: CommandLine) -> None:
    """Somebody else's file is never taken for a ledger, nor written over."""
    state = command.directory / "state"
    state.mkdir(mode=0o700)
    (state / "ledger.sqlite3").write_text("shopping list " * 100)
    done = command.run("history")

    assert done.code == 1
    assert "state/ledger.sqlite3" in done.err
    assert "move it away" in done.err
    assert (state / "ledger.sqlite3").read_text().startswith("shopping list")


def test_hostile_arguments_cannot_steer_the_terminal(command: CommandLine) -> None:
    """What was typed comes back with its control characters made visible."""
    done = command.run("plan", "--rules", "no\x1b[31m\u202efile.yaml")

    assert done.code == 78
    assert "no\\x1b[31m\\u202efile.yaml" in done.err
    assert done.err.replace("\n", "").isprintable()
