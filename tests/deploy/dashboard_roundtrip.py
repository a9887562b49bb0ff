"""Read a dashboard into Grafana's official model and back; print every key it lost.

Run by the Python that has the SDK.  A key that the model does not know is a typo.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import (  # type: ignore[import-not-found]
    JSONEncoder,
)
from grafana_foundation_sdk.cog.plugins import (  # type: ignore[import-not-found]
    register_default_plugins,
)
from grafana_foundation_sdk.models.dashboard import (  # type: ignore[import-not-found]
    Dashboard,
)


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Name what is in one and not in the other."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            here = f"{path}.{key}"
            yield from lost(value, after[key], here) if key in after else [here]
    elif isinstance(before, list) and isinstance(after, list):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")


def main() -> None:
    register_default_plugins()
    dashboard = json.load(sys.stdin)
    encoder = JSONEncoder(sort_keys=True)
    again = json.loads(encoder.encode(Dashboard.from_json(dashboard)))
    json.dump(list(lost(dashboard, again)), sys.stdout)


if __name__ == "__main__":
    main()
