"""Collects everything that the program writes, and searches it for the key."""

import base64
import html
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

from tests.e2e.harness import Program
from tests.reliability.key_echo import PREFIX

# Settings and arguments of one command.
Call: TypeAlias = tuple[dict[str, str], tuple[str, ...]]

# Each as if it were alone: main() reads everything again and ends in SystemExit.  A
# heading is written at once, as the last command's log may still be on its way.
ONE_BY_ONE: Final = """
import json, os, sys
from triaged.cli import main
calls = json.loads(sys.argv[1])
for environ, words in calls:
    heading = " ".join(("##", environ.get("MOOD"), *words))
    for stream in (sys.stdout, sys.stderr):
        stream.write(f"\\n{heading}\\n")
        stream.flush()
    os.environ.update(environ)
    sys.argv = ["triaged", *words]
    try:
        main()
    except SystemExit:
        pass
    sys.stdout.flush()
"""


class OutputScanner:
    """A directory to run the program in, and what it wrote there."""

    def __init__(self, directory: Path, url: str, key: str, form: str = "json") -> None:
        self.key_file = directory / "key"
        directory.mkdir()
        (directory / "home").mkdir()
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(key)
        settings = {
            "TRIAGED_API_KEY": "",
            "TRIAGED_API_KEY_FILE": str(self.key_file),
            "TRIAGED_LOG_LEVEL": "debug",
            "TRIAGED_LOG_FORMAT": form,
            "PYTHONFAULTHANDLER": "1",
        }
        self.program = Program(directory / "home", url, settings)
        self.captured = CapturedOutput()

    def run(self, *words: str, code: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command, or a text as a program, and keep what it printed."""
        start = ["-c", code] if code else ["-m", "triaged"]
        ended = subprocess.run(
            [sys.executable, *start, *words],
            env=self.program.environ(),
            cwd=self.program.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.captured.add(f"{words} stdout", ended.stdout)
        self.captured.add(f"{words} stderr", ended.stderr)
        return ended

    def run_all(self, calls: Sequence[Call]) -> None:
        """Run commands one after the other in one process: a start takes longest."""
        code = subprocess.run(
            [sys.executable, "-c", ONE_BY_ONE, json.dumps(calls)],
            env=self.program.environ(),
            cwd=self.program.directory,
            capture_output=True,
            check=True,
            timeout=300,
        )
        assert code.stderr.count(b"\n## ") == code.stdout.count(b"\n## ") == len(calls)
        for where, written in (("stdout", code.stdout), ("stderr", code.stderr)):
            for part in written.split(b"\n## ")[1:]:
                heading, _, text = part.partition(b"\n")
                self.captured.add(f"{heading.decode()} {where}", text)

    @contextmanager
    def daemon(self, *start: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon, its log in a file, until the block ends."""
        with (self.program.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *(start or ("-m", "triaged")), "run"],
                env=self.program.environ(),
                cwd=self.program.directory,
                stderr=log,
                stdout=log,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def log(self) -> str:
        """Return what the daemon logged."""
        return (self.program.directory / "log").read_text()

    def found(self, key: str) -> list[str]:
        """Return where the key is, in all output and all files."""
        self.captured.add_files(self.program.directory)
        return self.captured.found(key)


def forms_of(key: str) -> dict[str, bytes]:
    """Return every form of the key that must not be found, by name."""
    secret = key.removeprefix(PREFIX)
    parts = {
        "the key": key,
        "its secret": secret,
        "its secret's beginning": secret[:12],
        "its secret's end": secret[-12:],
    }
    forms = {"its secret in hexadecimal": secret.encode().hex()}
    for name, part in parts.items():
        forms[name] = part
        forms[f"{name} in JSON"] = json.dumps(part)[1:-1]
        forms[f"{name} in HTML"] = html.escape(part)
        forms[f"{name} in a URL"] = quote(part, safe="")
    for before in ("", "B", "Be"):
        # The groups in the middle are the secret's own, wherever it begins.
        encoded = base64.b64encode(f"{before}{secret}".encode()).decode()[4:-4]
        forms[f"base64 {len(before)}"] = encoded
        forms[f"base64url {len(before)}"] = encoded.replace("+", "-").replace("/", "_")
    return {name: form.encode() for name, form in forms.items()}


class CapturedOutput:
    """Everything that was written, and where."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, bytes]] = []

    def add(self, where: str, content: bytes | str) -> None:
        """Add what was written somewhere."""
        raw = content if isinstance(content, bytes) else content.encode()
        self.parts.append((where, raw))

    def add_files(self, directory: Path) -> None:
        """Add the names and contents of all files of a directory."""
        for path in sorted(directory.rglob("*")):
            self.add(f"name of {path.name}", str(path.relative_to(directory)))
            if path.is_file():
                self.add(f"file {path.name}", path.read_bytes())

    def add_process(self, pid: int) -> None:
        """Add what every user of the machine sees of a process."""
        for name in ("cmdline", "status", "stat", "comm"):
            self.add(f"/proc/{name}", Path(f"/proc/{pid}/{name}").read_bytes())

    @property
    def size(self) -> int:
        """Return how many bytes there are."""
        return sum(len(content) for _, content in self.parts)

    def found(self, key: str) -> list[str]:
        """Return which form of the key is where."""
        forms = forms_of(key)
        return [
            f"{form} in {where}"
            for where, content in self.parts
            for form, needle in forms.items()
            if needle in content
        ]
