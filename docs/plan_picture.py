"""A picture of what ``triaged plan`` prints."""

import io
from pathlib import Path
from typing import Final

from click.testing import CliRunner
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from triaged.cli import app

GOLDEN: Final = Path(__file__).resolve().parents[1] / "tests/golden"


def plan_picture() -> str:
    """Draw what ``triaged plan`` prints, without fonts from elsewhere."""
    folder = GOLDEN / "mixed"
    given = [
        "--tasks",
        str(folder / "tasks.json"),
        "--rules",
        str(folder / "rules.yaml"),
    ]
    done = CliRunner().invoke(app, ["plan", *given, "--now", "2026-03-01T00:00:00Z"])
    console = Console(record=True, width=92, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ triaged plan", style="bold green"))
    for line in done.stdout.splitlines():
        text = Text(line)
        text.highlight_regex(r"^(task|rule)\b.*", "bold")
        text.highlight_regex(r"\bwould dismiss \(.*?\)", "yellow")
        text.highlight_regex(r"(?<!would )\bdismiss \(.*?\)", "bold red")
        console.print(text)
    picture = console.export_svg(
        title="triaged plan", theme=MONOKAI, unique_id="plan", code_format=_SVG
    )
    return "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"


# rich's own form fetches fonts from another host.
_SVG: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" \
xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; \
line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" \
width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" \
clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
