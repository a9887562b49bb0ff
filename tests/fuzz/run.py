"""Starts atheris on one target; the corpus is read, new finds go elsewhere."""

import importlib.util
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS


def main(name: str) -> int:
    """Fuzz one target until it fails or the time is over; return the exit code."""
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("atheris is not installed: pip install atheris\n")
        return 2
    # A find is kept here, for a test to be made of it.
    finds = Path(tempfile.mkdtemp(prefix=f"triaged-fuzz-{name}-"))
    sys.stderr.write(f"finds go to {finds}\n")
    command = [
        sys.argv[0],
        str(finds),
        str(CORPUS / name),
        f"-artifact_prefix={finds}/",
        *sys.argv[1:],
    ]
    atheris = importlib.import_module("atheris")
    # Our own modules as loaded, not those below them: a crash there is ours, too.
    atheris.instrument_all()
    atheris.Setup(command, TARGETS[name])
    atheris.Fuzz()
    return 0
