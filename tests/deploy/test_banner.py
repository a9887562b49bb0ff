"""Every state of the page's banner, made by a real daemon, in a real browser."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from tests.deploy.browser import Browser, running_browser
from tests.e2e.harness import RULES, Program, RunningDaemon, a_listed, add, eventually
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.faults import parse_fault
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.deploy

WIDTHS: Final = (1280, 390)
SCHEMES: Final = ("light", "dark")
CAUTIOUS: Final = RULES.replace(
    "max_share_of_pending: 1.0", "max_share_of_pending: 0.5"
)
OBSERVING: Final = RULES.replace(
    "    match: {desc", "    mode: observe\n    match: {desc"
)
OBSERVED: Final = OBSERVING.replace(
    "expect: {decision: dismiss, rule: clutter}",
    "expect: {decision: leave, observed: [clutter]}",
)


@dataclass(frozen=True)
class State:
    """A state of the banner: what leads to it, and what the page then says."""

    word: str
    says: str
    tone: str
    faults: str = ""
    rules: str = RULES
    flags: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    broken_rules: bool = False
    notice: str = ""


STATES: Final = {
    "working": State("working", "Tasks that the rules match are dismissed", "good"),
    "observing": State("observing", "nothing is dismissed", "neutral", rules=OBSERVED),
    "dry-run": State("dry run", "dismisses nothing", "neutral", flags=("--dry-run",)),
    "paused": State(
        "paused", "paused at", "warning", after=("pause", "--note", "audit week")
    ),
    "breaker-open": State(
        "breaker open", "The rules want too much at once", "bad", rules=CAUTIOUS
    ),
    "key-refused": State("key refused", "refuses the API key", "bad", "list:401:999"),
    "waiting-for-quota": State(
        "waiting for quota",
        "share of API calls is spent",
        "warning",
        "list:daily-429:9",
    ),
    "degraded": State("degraded", "cut short", "bad", "list:500:999"),
    "starting": State("starting", "not been read yet", "neutral", "list:slow=30:9"),
    "rules-rejected": State(
        "working",
        "Tasks that the rules match",
        "good",
        broken_rules=True,
        notice="A file on disk was rejected",
    ),
    "paused-dry-run": State(
        "paused",
        "paused at",
        "warning",
        flags=("--dry-run",),
        after=("pause",),
        notice="Dry run: This daemon decides and records",
    ),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@contextmanager
def daemon_in(
    state: State, program: Program, sandbox: RunningSandbox
) -> Iterator[RunningDaemon]:
    """Run a daemon until it is in this state, and then the block."""
    program.rules.write_text(state.rules)
    add(sandbox, [a_listed(f"clutter-{number:02}") for number in range(24)])
    add(sandbox, [a_listed("kept", "[TEST] board papers"), a_listed("other", "a call")])
    starts = state.word == "starting"
    fault = parse_fault(state.faults) if state.faults else None
    if starts and fault is not None:
        sandbox.world.faults.add(fault)
    with program.daemon(*state.flags) as daemon:
        daemon.url()
        if not starts:
            daemon.wait_for("cycle.finished")
            if fault is not None:
                sandbox.world.faults.add(fault)
        if state.broken_rules:
            program.rules.write_text("version: 1\nrules: []\n")
            daemon.wait_for("rules.rejected")
        if state.after:
            program.run(*state.after)
        yield daemon


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as running:
        yield running


@pytest.mark.parametrize("name", STATES)
def test_the_banner(
    browser: Browser,
    sandbox: RunningSandbox,
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The word, its colour and the sentence are right; nothing is cut off."""
    state = STATES[name]
    program = Program(tmp_path_factory.mktemp("state"), sandbox.api_url)
    with daemon_in(state, program, sandbox) as daemon:
        url = daemon.url()
        eventually(_shows(browser, url, state))
        text = browser.evaluate("document.body.innerText")
        banner = "document.querySelector('.banner')"
        classes = browser.evaluate(f"{banner}.className")
        for width in WIDTHS:
            for scheme in SCHEMES:
                browser.resize(width, 900)
                browser.prefer(scheme)
                browser.open(url)
                root = "document.documentElement"

                assert browser.evaluate(f"{root}.scrollWidth <= window.innerWidth")
                assert _contrast(browser, banner) >= 4.5
                browser.photograph(f"banner-{name}-{width}-{scheme}")

    assert state.says in text
    assert state.notice in text
    assert classes.split() == ["banner", state.tone]


def _shows(browser: Browser, url: str, state: State) -> Callable[[], bool]:
    def shows() -> bool:
        browser.open(url)
        word = browser.evaluate("document.querySelector('.word').innerText")
        return bool(word == state.word)

    return shows


def _contrast(browser: Browser, element: str) -> float:
    """Return the contrast of an element's text with its background (WCAG 2)."""
    found = browser.evaluate(
        f"[getComputedStyle({element}).color,"
        f" getComputedStyle({element}).backgroundColor]"
    )
    light, dark = sorted((_luminance(colour) for colour in found), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.strip("rgb()").split(",")]
    linear = [
        p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
