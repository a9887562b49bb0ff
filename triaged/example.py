"""The example rules that ship with the program."""

from pathlib import Path
from typing import Final

FILE: Final = "rules.example.yaml"


def example_rules() -> bytes:
    """Return ``rules.example.yaml``: from the package, or from a source checkout."""
    here = Path(__file__).parent
    packaged = here / FILE
    return (packaged if packaged.exists() else here.parent / FILE).read_bytes()
