"""The page at / and the backtest's report in a real browser, big and small."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.browser import Browser, running_browser
from tests.deploy.external_tools import need_program
from tests.e2e.harness import RULES, Program, a_listed, add
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.deploy

HOSTILE: Final = (
    "[TEST] <script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\"><b id=from-task>bold</b>"
    "\u202e\x1b[31m" + "wide" * 60
)
OBSERVING: Final = """  - name: watch
    mode: observe
    match: {description: '^Find'}
    dismiss: not_relevant
  - name: held
    hold: 24h
    match: {description: '^Draft'}
    dismiss: not_relevant
tests:
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a daemon that has dismissed, observed, held and left something."""
    need_program("chromedriver")
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as sandbox:
        program = Program(tmp_path_factory.mktemp("page"), sandbox.api_url)
        program.rules.write_text(RULES.replace("tests:\n", OBSERVING))
        fill(sandbox)
        with program.daemon() as daemon:
            daemon.wait_for("cycle.finished", times=2)
            program.run("pause", "--note", "<b>audit</b> week")
            yield daemon.url()


def fill(sandbox: RunningSandbox) -> None:
    add(sandbox, [a_listed(f"clutter-{number}") for number in range(12)])
    add(sandbox, [a_listed("hostile-<b>", HOSTILE)])
    add(sandbox, [a_listed("seen", "Find 20 CEOs", type="prospect_search")])
    add(sandbox, [a_listed("held", "Draft for Müller")])
    add(sandbox, [a_listed("kept", "[TEST] board papers")])


def fits(browser: Browser) -> bool:
    """Say whether nothing reaches beyond the width of the window."""
    root = "document.documentElement"
    return bool(browser.evaluate(f"{root}.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("desktop", 1280, "light"),
        ("desktop", 1280, "dark"),
        ("phone", 390, "light"),
        ("phone", 390, "dark"),
        ("tablet", 768, "light"),
        ("wall", 2560, "dark"),
    ],
)
def test_it_can_be_read(
    browser: Browser, page_url: str, name: str, width: int, scheme: str
) -> None:
    """Whatever the window and the colours, all is there and nothing is cut off."""
    browser.resize(width, 900)
    browser.prefer(scheme)
    browser.open(page_url)
    text = browser.evaluate("document.body.innerText")

    for said in (
        "paused",
        "audit",
        "calls left",
        "clutter",
        "Next",
        "Recently left",
        "no rule matched",
    ):
        assert said in text
    assert fits(browser)
    picture = browser.photograph(f"page-{name}-{scheme}")
    assert picture.stat().st_size > 10_000


def test_a_task_has_a_page(browser: Browser, page_url: str) -> None:
    """The link of a task leads to its stored explanation, readable on a phone."""
    browser.resize(390, 800)
    browser.open(page_url)
    link = browser.evaluate("document.querySelector('a.id').href")
    browser.open(link)

    assert "expected" in browser.evaluate("document.body.innerText")
    assert fits(browser)
    browser.photograph("task-phone-light")


def test_dark_is_dark(browser: Browser, page_url: str) -> None:
    """The page follows the colours that a person's system prefers."""
    ink = "getComputedStyle(document.body).color"
    browser.open(page_url)
    browser.prefer("light")
    light = browser.evaluate(ink)
    browser.prefer("dark")

    assert browser.evaluate(ink) != light


def test_text_of_tasks_makes_nothing(browser: Browser, page_url: str) -> None:
    """Markup in a task or a note is text: no element, no script, no request."""
    browser.messages()
    browser.open(page_url)
    found = browser.evaluate(
        "document.querySelectorAll('script,img,#from-task').length"
    )

    assert found == 0
    assert browser.evaluate("document.title").startswith("triaged")
    assert "<script>document.title" in browser.evaluate("document.body.innerText")
    fetched = browser.evaluate(
        "performance.getEntriesByType('resource').map(e => e.name).join()"
    )
    assert fetched == f"{page_url}/style.css"
    assert browser.messages() == []


def test_the_policy_stops_scripts(browser: Browser, page_url: str) -> None:
    """Even markup that got in would do nothing: the policy allows no script."""
    browser.open(page_url)
    browser.messages()
    browser.evaluate(
        "document.body.insertAdjacentHTML('beforeend',"
        " '<img src=x onerror=\"document.title=1\">')"
    )

    assert browser.evaluate("document.title").startswith("triaged")
    assert any("Content Security Policy" in said for said in browser.messages())


def test_the_backtest_report_can_be_read_on_a_phone(
    browser: Browser, tmp_path: Path
) -> None:
    """One file, a bar for each rule, and why a rule wanted what people approved."""
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as sandbox:
        program = Program(tmp_path, sandbox.api_url)
        for number in range(9):
            add(sandbox, [a_listed(f"gone-{number}", status="dismissed")])
        add(sandbox, [a_listed("wanted", HOSTILE, status="approved")])
        report = tmp_path / "report.html"
        report.write_text(program.run("backtest", "--format", "html").stdout)
    browser.prefer("light")
    browser.resize(390, 800)
    browser.open(report.as_uri())
    browser.evaluate("document.querySelector('details').open = true")
    text = browser.evaluate("document.body.innerText")

    assert "agreement 90%" in text
    assert "✓ description: expected" in text
    bar = "document.querySelector('.agree').getBoundingClientRect().width"
    assert browser.evaluate(bar) > 200
    assert browser.evaluate("document.querySelectorAll('script,img,b').length") == 0
    assert fits(browser)
    browser.photograph("backtest-phone")
