"""The code blocks of the documentation, and the sessions that run them."""

import os
import re
import shlex
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK: Final = re.compile(
    r"(?:^ *<!-- (?P<note>[^\n]*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$"
    r"(?P<output>\n\n(?P=indent)```text\n(?P<expected>.*?)^(?P=indent)```$)?",
    re.MULTILINE | re.DOTALL,
)
_TIMEOUT_SECONDS: Final = 120
_SHELL: Final = re.compile(r"[|;&<>$`]")


class Result(NamedTuple):
    """How a block ended, and what it wrote."""

    code: int
    output: str


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page: its comment above, its text, and the output shown below."""

    language: str
    note: str
    text: str
    expected: str | None
    span: tuple[int, int]
    indent: str

    @property
    def is_run(self) -> bool:
        """Return whether a test runs it: not if its comment says why not."""
        return self.language == "sh" and not self.note.startswith(
            ("not run", "command")
        )

    @property
    def exit_code(self) -> int:
        """Return the exit code that the page announces."""
        return (
            int(self.note.removeprefix("exit code ")) if self.note[:4] == "exit" else 0
        )


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, in order."""
    return [
        Block(
            language=found["language"],
            note=found["note"] or "",
            text=textwrap.dedent(found["text"]),
            expected=None
            if found["expected"] is None
            else textwrap.dedent(found["expected"]),
            span=found.span("expected"),
            indent=found["indent"],
        )
        for found in _BLOCK.finditer(page.read_text())
    ]


def commands(text: str) -> list[list[str]] | None:
    """Return the commands of a block that this process can run; None: a shell must."""
    lines = text.replace(".venv/bin/", "").strip().splitlines()
    if any(not line.startswith("triaged ") or _SHELL.search(line) for line in lines):
        return None
    return [shlex.split(line, comments=True)[1:] for line in lines]


def run_in_shell(text: str, directory: Path, environ: Mapping[str, str]) -> Result:
    """Run a block in a shell of its own."""
    done = subprocess.run(
        ["/bin/bash", "-euc", text],
        cwd=directory,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_TIMEOUT_SECONDS,
    )
    return Result(done.returncode, done.stdout)


def normal(text: str) -> str:
    """Return a text without white space at the ends of its lines."""
    return "".join(f"{line.rstrip()}\n" for line in text.strip().splitlines())


def with_outputs(page: Path, outputs: Mapping[tuple[int, int], str]) -> str:
    """Return a page's text with other outputs in their blocks."""
    text = page.read_text()
    for (start, end), output in sorted(outputs.items(), reverse=True):
        text = text[:start] + output + text[end:]
    return text
