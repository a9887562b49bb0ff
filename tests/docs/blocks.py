"""The code blocks of the documentation, and the sessions that run them."""

import os
import re
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK: Final = re.compile(
    r"(?:^ *<!-- (?P<note>[^\n]*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$"
    r"(?P<output>\n\n(?P=indent)```text\n(?P<expected>.*?)^(?P=indent)```$)?",
    re.MULTILINE | re.DOTALL,
)
_TIMEOUT_SECONDS: Final = 120
# What differs from run to run.
_VARYING: Final = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)?", "TIME"),
    (r"/\S+?/page\b", "DIR"),
)


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


def run_blocks(
    texts: Sequence[str], directory: Path, environ: Mapping[str, str]
) -> list[tuple[int, str]]:
    """Run blocks one after the other in one shell; return exit codes and outputs."""
    lines = ["set -u"]
    for number, text in enumerate(texts):
        out = directory.with_name("output") / str(number)
        lines += [f"{{ {text}\n}} >{out} 2>&1 </dev/null", f"echo $? >{out}.code"]
    directory.with_name("output").mkdir()
    subprocess.run(
        ["/bin/bash", "-c", "\n".join(lines)],
        cwd=directory,
        env={**os.environ, **environ},
        check=False,
        timeout=_TIMEOUT_SECONDS,
    )
    results = []
    for number in range(len(texts)):
        out = directory.with_name("output") / str(number)
        code = out.with_name(f"{number}.code")
        results.append(
            (int(code.read_text()), out.read_text()) if code.exists() else (-1, "")
        )
    return results


def normal(text: str) -> str:
    """Replace what differs from run to run."""
    for pattern, name in _VARYING:
        text = re.sub(pattern, name, text)
    return "".join(f"{line.rstrip()}\n" for line in text.strip().splitlines())


def with_outputs(page: Path, outputs: Mapping[tuple[int, int], str]) -> str:
    """Return a page's text with other outputs in their blocks."""
    text = page.read_text()
    for (start, end), output in sorted(outputs.items(), reverse=True):
        text = text[:start] + output + text[end:]
    return text
