"""Judge what pip-audit wrote: 0 nothing known, 1 vulnerable, 2 unknown."""

import json
import sys
from pathlib import Path
from typing import Any


def main(canary: str, ours: str) -> int:
    """Read both answers, print a sentence, return the verdict."""
    asked, found = _dependencies(canary), _dependencies(ours)
    if not any(dependency.get("vulns") for dependency in asked):
        print("it finds nothing in a version that is known to be vulnerable")
        return 2
    # pip-audit ends well even when it was told nothing of a package.
    untold = [d["name"] for d in found if "skip_reason" in d]
    if not found or untold:
        print(f"it knows nothing of {', '.join(untold) or 'any requirement'}")
        return 2
    known = [
        f"{d['name']} {d['version']}: {vulnerability['id']}"
        for d in found
        for vulnerability in d["vulns"]
    ]
    print("\n".join(known) or f"nothing known of any of {len(found)} requirements")
    return 1 if known else 0


def _dependencies(path: str) -> list[dict[str, Any]]:
    try:
        dependencies: list[dict[str, Any]] = json.loads(Path(path).read_text())[
            "dependencies"
        ]
    except (OSError, ValueError, KeyError):
        return []
    return dependencies


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
