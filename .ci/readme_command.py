"""Print one of the README's two commands, so that what is written is what is run."""

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def command(name: str) -> str:
    """Return the code block that follows the marker of this name."""
    found = re.search(
        rf"<!-- command: {name} -->\n```sh\n(.+?)\n```", README.read_text(), re.DOTALL
    )
    if found is None:
        raise SystemExit(f"README.md has no command {name!r}")
    return found[1]


if __name__ == "__main__":
    print(command(sys.argv[1]))
