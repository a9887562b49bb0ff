"""The forms of the page in a real browser: its own are sent, a foreign site's fail."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.browser import Browser, running_browser
from tests.e2e.harness import RULES, Program, RunningDaemon, a_listed, add, eventually
from tests.http_probe import form_fields
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.deploy

HOLDING: Final = RULES.replace("    match: {desc", "    hold: 24h\n    match: {desc")
BY: Final = "127.0.0.1 on the page"
TEXT: Final = "document.body.innerText"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        browser.resize(1280, 900)
        yield browser


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as running:
        add(running, [a_listed("held-task-1"), a_listed("held-task-2")])
        yield running


@pytest.fixture
def program(tmp_path: Path, sandbox: RunningSandbox) -> Program:
    program = Program(tmp_path, sandbox.api_url)
    program.rules.write_text(HOLDING)
    return program


@pytest.fixture
def daemon(program: Program) -> Iterator[RunningDaemon]:
    with program.daemon() as running:
        running.wait_for("cycle.finished")
        yield running


def press(browser: Browser, label: str) -> None:
    """Click the first button with this label, and wait for the page it leads to."""
    browser.evaluate("document.documentElement.id = 'before'")
    browser.evaluate(
        "[...document.querySelectorAll('button')]"
        f".find(each => each.innerText === '{label}').click()"
    )
    eventually(lambda: browser.evaluate("document.documentElement.id") != "before")


def has_button(browser: Browser, label: str) -> bool:
    found = "[...document.querySelectorAll('button')].map(each => each.innerText)"
    return label in browser.evaluate(found)


def test_a_person_pauses(
    browser: Browser, program: Program, daemon: RunningDaemon
) -> None:
    """One press, and the page that follows says who paused; nothing there resumes."""
    browser.open(daemon.url())
    browser.messages()
    press(browser, "Pause all dismissals")

    assert browser.evaluate("location.pathname") == "/"
    assert f"by {BY}" in browser.evaluate(TEXT)
    assert not has_button(browser, "Pause all dismissals")
    assert program.json("status")["paused"]["by"] == BY
    assert browser.messages() == []
    browser.photograph("forms-paused")


def test_a_person_keeps_a_task(
    browser: Browser, program: Program, daemon: RunningDaemon
) -> None:
    """From the list of what goes next, or from the task's page, readable on a phone."""
    browser.resize(390, 900)
    browser.open(daemon.url())
    browser.photograph("forms-phone")
    press(browser, "Keep")
    first = browser.evaluate("location.pathname")
    said = browser.evaluate(TEXT)
    browser.photograph("forms-kept-phone")
    browser.resize(1280, 900)
    browser.open(daemon.url() + "/tasks/held-task-2")
    browser.photograph("forms-task")
    press(browser, "Keep this task")

    assert first == "/tasks/held-task-1"
    assert f"by {BY}" in said
    assert not has_button(browser, "Keep this task")
    vetoed = program.json("veto", "--list")
    assert {veto["task_id"] for veto in vetoed} == {"held-task-1", "held-task-2"}
    browser.open(daemon.url())
    browser.photograph("forms-kept")


@contextmanager
def foreign_site(page: str) -> Iterator[str]:
    """Serve a page at another origin until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_foreign_site_cannot_press(
    browser: Browser, program: Program, daemon: RunningDaemon
) -> None:
    """Even with the token, a form or a request of another origin changes nothing."""
    token = form_fields(daemon.get("/").text, "/pause")["token"]
    target = f"{daemon.url()}/pause"
    form = (
        f'<form method="post" action="{target}"><input name="token" value="{token}">'
        "<button>Pause all dismissals</button></form>"
    )
    with foreign_site(form) as site:
        browser.open(site)
        press(browser, "Pause all dismissals")
        answered = browser.evaluate(TEXT)
        browser.open(site)
        browser.evaluate(
            f"fetch('{target}', {{method: 'POST', mode: 'no-cors',"
            f" body: new URLSearchParams({{token: '{token}'}})}})"
            ".finally(() => document.title = 'sent').catch(() => null)"
        )
        eventually(lambda: browser.evaluate("document.title") == "sent")
        browser.evaluate(
            f"fetch('{daemon.url()}/').then(answer => answer.text())"
            ".then(() => document.title = 'read', () => document.title = 'refused')"
        )
        eventually(lambda: browser.evaluate("document.title") != "sent")
        read = browser.evaluate("document.title")

    assert answered.strip() == "the form was not sent from this page"
    assert read == "refused"
    assert program.json("status")["paused"] is None


def test_a_foreign_site_cannot_frame(browser: Browser, daemon: RunningDaemon) -> None:
    """The page is never shown within another one, which could lead people to press."""
    with foreign_site(f'<iframe src="{daemon.url()}/"></iframe>') as site:
        browser.messages()
        browser.open(site)
        eventually(lambda: any("frame-ancestors" in m for m in browser.messages()))
