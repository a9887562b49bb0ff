"""A real Chromium, driven over the WebDriver protocol (W3C) by its own driver."""

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.deploy.external_tools import ROOT, free_port, need_program
from tests.e2e.harness import eventually

# What a run leaves behind for people to look at.
ARTEFACTS: Final = ROOT / "build/artefacts"

_QUIET: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@dataclass(frozen=True)
class Browser:
    """One session of a browser."""

    client: httpx.Client
    session: str

    def open(self, url: str) -> None:
        """Load a page."""
        self._ask("url", url=url)

    def resize(self, width: int, height: int) -> None:
        """Make the viewport so big, smaller than a window may be as well."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, scheme: str) -> None:
        """Prefer a colour scheme as a person's system does."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._devtools("Emulation.setEmulatedMedia", features=[feature])

    def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression is in the page."""
        return self._ask("execute/sync", script=f"return {expression}", args=[])

    def messages(self) -> list[str]:
        """Return what the page's console has said since the last look."""
        return [entry["message"] for entry in self._ask("se/log", type="browser")]

    def photograph(self, name: str) -> Path:
        """Keep a picture of the whole page."""
        shot = self._devtools("Page.captureScreenshot", captureBeyondViewport=True)
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def _devtools(self, command: str, **given: Any) -> Any:
        return self._ask("goog/cdp/execute", cmd=command, params=given)

    def _ask(self, what: str, **given: Any) -> Any:
        answer = self.client.post(f"/session/{self.session}/{what}", json=given).json()
        found = answer["value"]
        assert not (isinstance(found, dict) and "error" in found), (what, found)
        return found


@contextmanager
def running_browser(profile: Path) -> Iterator[Browser]:
    """Run a browser with a profile of its own until the block ends."""
    chromium, driver = need_program("chromium"), need_program("chromedriver")
    port = free_port()
    process = subprocess.Popen(
        [driver, f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    options = {
        "binary": chromium,
        "args": [*_QUIET, f"--user-data-dir={profile}"],
    }
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL"},
    }
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            eventually(lambda: _is_ready(client), 30)
            made = client.post(
                "/session", json={"capabilities": {"alwaysMatch": wanted}}
            ).json()
            session = made["value"]["sessionId"]
            yield Browser(client, session)
            client.delete(f"/session/{session}")
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/status").json()["value"]["ready"])
    except httpx.TransportError:
        return False
