"""A stop in any wrong setting: effective at once, or refused in words."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from tests.e2e.harness import PATIENCE, Program, RunningDaemon, a_listed, eventually
from tests.reliability.report import FULL, Report
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.sandbox.settings import SandboxSettings
from triaged.sandbox.state import RecordedCall

pytestmark = pytest.mark.reliability

CHAPTER: Final = "Emergency stop"
# A request that was written before the command returned may be read this much later.
IN_TRANSIT: Final = timedelta(seconds=0.3)
# Enough tasks that every cycle dismisses, few enough that cycles stay short.
BACKLOG, FEED_SECONDS = 15, 0.1
LISTS_AFTER: Final = 2
RULES: Final = """
version: 1
safety: {min_age: 0s, max_share_of_pending: 1.0, max_dismissals_per_cycle: 1000,
  max_dismissals_per_day: 100000}
rules:
- {name: clutter, match: {description: TEST}, dismiss: testing}
"""
RULE: Final = "clutter"
NOBODY: Final = 65534
IS_ROOT: Final = os.geteuid() == 0
SETPRIV: Final = shutil.which("setpriv")


Settings: TypeAlias = AbstractContextManager[dict[str, str]]


def now() -> datetime:
    """Return the time; daemon, commands and server share one clock."""
    return datetime.now(UTC)  # noqa: TID251 - real processes, real time


@dataclass
class Stage:
    """A daemon that dismisses without end, and a person at another terminal."""

    program: Program
    sandbox: RunningSandbox
    daemon: RunningDaemon
    made: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def state(self) -> Path:
        return self.program.directory / "state"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger.sqlite3"

    def backup(self) -> Path:
        """Copy the ledger as it is now."""
        copy = self.program.directory / "backup.sqlite3"
        assert self.program.run("backup", str(copy)).returncode == 0
        return copy

    def feed(self) -> None:
        """Add tasks that the rules want dismissed until the stage ends."""
        store = self.sandbox.world.store
        while not self.over.wait(FEED_SECONDS):
            if len(store.ids("pending")) < BACKLOG:
                store.add([a_listed(self.next_id())])

    def next_id(self) -> str:
        self.made += 1
        return f"t{self.made:06}"

    def tell(self, *arguments: str, **settings: str) -> "Answer":
        """Run a command as a person without any capability; note when it returned."""
        prefix = [SETPRIV, "--bounding-set=-all", "--inh-caps=-all"] if IS_ROOT else []
        done = subprocess.run(
            [*filter(None, prefix), sys.executable, "-m", "triaged", *arguments],
            env={**self.program.environ(), **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Answer(done.returncode, done.stdout, done.stderr, now())

    def calls(self, operation: str, after: datetime) -> list[RecordedCall]:
        calls = list(self.sandbox.world.calls)
        return [c for c in calls if c.operation == operation and c.received_at > after]

    def has_gone_on(self, after: datetime) -> bool:
        """Return whether the daemon has listed again since, or has ended."""
        has_ended = self.daemon.process.poll() is not None
        return has_ended or len(self.calls("list", after)) >= LISTS_AFTER

    def wait(self, after: datetime) -> None:
        eventually(lambda: self.has_gone_on(after), 2 * PATIENCE)


@dataclass(frozen=True)
class Answer:
    """What a person was told, and when."""

    code: int
    out: str
    err: str
    at: datetime

    @property
    def is_explained(self) -> bool:
        """Return whether a refusal names its reason, and confirms nothing."""
        return (
            self.code not in {0, 2}
            and self.out == ""
            and self.err.startswith("triaged: ")
            and "Traceback" not in self.err
        )


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    """Run a daemon that has dismissed before and dismisses still."""
    settings = SandboxSettings(
        task_count=0, minute_limit=None, day_limit=None, latency=0.05
    )
    with running_sandbox(settings) as sandbox:
        program = Program(directory, sandbox.api_url)
        program.rules.write_text(RULES)
        with program.daemon() as daemon:
            here = Stage(program, sandbox, daemon)
            feeding = threading.Thread(target=here.feed)
            feeding.start()
            try:
                eventually(lambda: sandbox.world.store.effects, 2 * PATIENCE)
                yield here
            finally:
                here.over.set()
                feeding.join()


def paused(here: Stage, **settings: str) -> str:
    """Pause; return how that ended, after seeing that it is true."""
    answer = here.tell("pause", "--note", "trial", **settings)
    if answer.code:
        return refused(answer)
    here.wait(answer.at)
    late = here.calls("dismiss", answer.at + IN_TRANSIT)
    if late and "no daemon runs on it" in answer.out:
        return "elsewhere"
    assert not late, answer
    return "effective"


def vetoed(here: Stage, **settings: str) -> str:
    """Veto a task that is listed a moment later; return how that ended."""
    task_id = here.next_id()
    answer = here.tell("veto", task_id, **settings)
    here.sandbox.world.store.add([a_listed(task_id)])
    if answer.code:
        return refused(answer)
    here.wait(now())
    done = here.sandbox.world.store.status_of(task_id) != "pending"
    if done and "no daemon runs on it" in answer.out:
        return "elsewhere"
    assert not done, answer
    return "effective"


def resumed(here: Stage, **settings: str) -> str:
    """Resume what is paused; return how that ended, after seeing that it is true."""
    answer = here.tell("resume", **settings)
    if answer.code:
        ended = refused(answer)
    elif "no daemon runs on it" in answer.out:
        ended = "elsewhere"
    else:
        eventually(lambda: here.calls("dismiss", answer.at), 2 * PATIENCE)
        ended = "effective"
    return ended


def demoted(here: Stage, **settings: str) -> str:
    """Demote the rule; return how that ended, after seeing that it is true."""
    answer = here.tell("demote", RULE, **settings)
    if answer.code:
        return refused(answer)
    here.wait(answer.at)
    late = here.calls("dismiss", answer.at + IN_TRANSIT)
    if late and "no daemon runs on it" in answer.err:
        return "elsewhere"
    assert not late, answer
    return "effective"


def refused(answer: Answer) -> str:
    assert answer.is_explained, answer
    return "refused"


# Each with what must have been told in the right setting before.
ACTING: Final = (("resume",), ("promote", RULE))
COMMANDS: Final = {
    paused: ACTING,
    vetoed: ACTING,
    resumed: (("promote", RULE), ("pause",)),
    demoted: ACTING,
}


@contextmanager
def as_it_is(_: Stage) -> Iterator[dict[str, str]]:
    yield {}


@contextmanager
def with_another_label(_: Stage) -> Iterator[dict[str, str]]:
    yield {"TRIAGED_WORKSPACE": "acme"}


@contextmanager
def with_the_label_in_capitals(_: Stage) -> Iterator[dict[str, str]]:
    yield {"TRIAGED_WORKSPACE": "DEFAULT"}


@contextmanager
def with_no_directory(here: Stage) -> Iterator[dict[str, str]]:
    yield {"TRIAGED_STATE_DIR": str(here.program.directory / "none")}


@contextmanager
def with_an_empty_directory(here: Stage) -> Iterator[dict[str, str]]:
    empty = here.program.directory / "empty"
    empty.mkdir(exist_ok=True)
    yield {"TRIAGED_STATE_DIR": str(empty)}


@contextmanager
def with_the_ledger_of_another(here: Stage) -> Iterator[dict[str, str]]:
    """Use a ledger of the same label on which no daemon runs."""
    other = here.program.directory / "other"
    if not other.exists():
        copy = other / "ledger.sqlite3"
        other.mkdir(mode=0o700)
        assert here.program.run("backup", str(copy)).returncode == 0
    yield {"TRIAGED_STATE_DIR": str(other)}


@contextmanager
def with_a_link_to_the_directory(here: Stage) -> Iterator[dict[str, str]]:
    link = here.program.directory / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(here.state)
    yield {"TRIAGED_STATE_DIR": str(link)}


@contextmanager
def with_another_api(_: Stage) -> Iterator[dict[str, str]]:
    """Use the API of another workspace, as in a shell of yesterday."""
    yield {"TRIAGED_API_URL": "http://127.0.0.1:9/v1"}


@contextmanager
def with_other_rules(here: Stage) -> Iterator[dict[str, str]]:
    """Use a rules file that the daemon does not have."""
    other = here.program.directory / "other.yaml"
    other.write_text(RULES.replace("TEST", "DRAFT"))
    yield {"TRIAGED_RULES": str(other)}


@contextmanager
def with_a_read_only_ledger(here: Stage) -> Iterator[dict[str, str]]:
    places = {here.ledger: 0o400, here.state: 0o500}
    with modes(places):
        yield {}


@contextmanager
def as_another_user(here: Stage) -> Iterator[dict[str, str]]:
    """Be neither the owner of the state directory nor root."""
    with owned_by_nobody(here.state):
        yield {}


@contextmanager
def as_another_user_who_may_read(here: Stage) -> Iterator[dict[str, str]]:
    loose = {here.state: 0o755, **dict.fromkeys(here.state.iterdir(), 0o644)}
    with modes(loose), owned_by_nobody(here.state):
        yield {}


@contextmanager
def modes(wanted: dict[Path, int]) -> Iterator[None]:
    before = {path: path.stat().st_mode & 0o777 for path in wanted}
    try:
        for path, mode in wanted.items():
            path.chmod(mode)
        yield
    finally:
        for path, mode in reversed(before.items()):
            with suppress(FileNotFoundError):
                path.chmod(mode)


@contextmanager
def owned_by_nobody(directory: Path) -> Iterator[None]:
    try:
        for path in (*directory.iterdir(), directory):
            os.chown(path, NOBODY, NOBODY)
        yield
    finally:
        for path in (*directory.iterdir(), directory):
            os.chown(path, 0, 0)


def settings_to_try() -> list[tuple[Callable[[Stage], Settings], str]]:
    """Return what each setting must lead to.

    "elsewhere" is confirmed for a ledger without a daemon, in those words.
    """
    found: list[tuple[Callable[[Stage], Settings], str]] = [
        (as_it_is, "effective"),
        (with_another_label, "refused"),
        (with_no_directory, "refused"),
        (with_the_ledger_of_another, "elsewhere"),
        (with_other_rules, "effective"),
        (with_a_read_only_ledger, "refused"),
    ]
    if IS_ROOT:
        found.append((as_another_user, "refused"))
    if FULL:
        found += [
            (with_a_link_to_the_directory, "effective"),
            (with_another_api, "effective"),
            (with_the_label_in_capitals, "refused"),
            (with_an_empty_directory, "refused"),
        ]
    if FULL and IS_ROOT:
        found.append((as_another_user_who_may_read, "refused"))
    return found


@pytest.mark.skipif(IS_ROOT and SETPRIV is None, reason="root without setpriv")
def test_beside_a_daemon(tmp_path: Path, report: Report) -> None:
    """Told by another label, directory or user, it acts at once or says why not."""
    guarantee = (
        "pause, veto, resume, demote in a wrong setting: effective at once, or refused"
    )
    ends: dict[str, int] = {}
    with report.check(CHAPTER, guarantee) as check, stage(tmp_path) as here:
        for setting, wanted in settings_to_try():
            for command, before in COMMANDS.items():
                for told in before:
                    assert here.tell(*told).code == 0
                with setting(here) as settings:
                    ended = command(here, **settings)
                assert ended == wanted, (setting.__name__, command.__name__)
                ends[ended] = ends.get(ended, 0) + 1
                check.runs += 1
        assert here.daemon.process.poll() is None
        check.result = ", ".join(f"{n} {ended}" for ended, n in sorted(ends.items()))


def deleted(here: Stage) -> None:
    here.ledger.unlink()


def deleted_with_its_directory(here: Stage) -> None:
    shutil.rmtree(here.state)


def deleted_and_made_again(here: Stage) -> None:
    shutil.rmtree(here.state)
    assert here.program.run("run", "--once", "--dry-run").returncode in {0, 1}


def moved_away(here: Stage) -> None:
    here.state.rename(here.program.directory / "moved")


def restored(here: Stage) -> None:
    here.backup().replace(here.ledger)


def copied_over(here: Stage) -> None:
    shutil.copyfile(here.backup(), here.ledger)


LOSSES: Final = (
    (deleted, deleted_with_its_directory, deleted_and_made_again, moved_away)
    if FULL
    else (deleted_with_its_directory,)
) + (restored, copied_over)


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
@pytest.mark.parametrize(
    "command",
    [paused, vetoed, demoted] if FULL else [paused],
    ids=lambda each: each.__name__,
)
def test_the_ledger_is_lost(
    tmp_path: Path,
    lose: Callable[[Stage], None],
    command: Callable[[Stage], str],
    report: Report,
) -> None:
    """A daemon whose ledger was lost ends; no stop is confirmed without effect."""
    guarantee = "a stop after the ledger was deleted or restored: effective, or refused"
    with report.check(CHAPTER, guarantee) as check, stage(tmp_path) as here:
        lose(here)
        ended = command(here)
        check.runs = 1
        check.result = f"{lose.__name__}: {ended}".replace("_", " ")
        if lose is not copied_over:
            assert here.daemon.process.wait(PATIENCE) == 1
        assert ended in {"effective", "refused"}
