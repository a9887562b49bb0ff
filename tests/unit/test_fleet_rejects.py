"""Every mistake in tests/rejects_fleet, with the messages that its author gets."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from triaged.fleet.files import MAX_BYTES
from triaged.fleet.loader import load_fleet

REJECTS: Final = Path(__file__).parents[1] / "rejects_fleet"
CASES: Final = sorted(path for path in REJECTS.iterdir() if path.is_dir())
ENVIRON: Final = {
    "GOOD_KEY": "wbk_good",
    "ACME_KEY": "wbk_acme",
    "BETA_KEY": "wbk_beta",
    "QUOTED_KEY": "'wbk_live_0123456789'",
}


def copied(case: Path, directory: Path) -> Path:
    """Copy a case, with the modes that key files need and git does not keep."""
    shutil.copytree(case, directory)
    for key in directory.glob("keys/*"):
        key.chmod(0o644 if key.name == "open" else 0o600)
    return directory


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_each_mistake_is_answered(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every problem at once, with its place; who is not concerned can be used."""
    copied(case, tmp_path / "fleet")
    monkeypatch.chdir(tmp_path)
    fleet = load_fleet(Path("fleet"), ENVIRON)
    lines = [str(problem) for problem in fleet.problems]
    lines.append(f"usable: {', '.join(w.name for w in fleet.workspaces) or 'none'}")
    text = "".join(f"{line}\n" for line in lines).replace(f"user {os.geteuid()}", "us")
    expected = case / "expected.txt"
    if os.environ.get("TRIAGED_UPDATE_GOLDEN"):
        expected.write_text(text)

    assert text == expected.read_text()
    assert "0123456789" not in text
    assert fleet.errors


def test_a_file_may_have_eight_mebibytes(tmp_path: Path) -> None:
    """Enough for tens of thousands of workspaces; the advice is to use several."""
    copied(REJECTS / "limits", tmp_path / "fleet")
    file = tmp_path / "fleet" / "fleet.yaml"
    text = file.read_bytes()
    filled = text + b"#" * (MAX_BYTES - len(text) - 1) + b"\n"
    file.write_bytes(filled)

    assert [w.name for w in load_fleet(file.parent, ENVIRON).workspaces] == ["good"]
    file.write_bytes(filled + b"\n")
    fleet = load_fleet(file.parent, ENVIRON)
    assert fleet.workspaces == ()
    assert [problem.message for problem in fleet.problems] == [
        (
            "the file is larger than 8 MiB (8,388,608 bytes);"
            " divide it into several files, named NAME.fleet.yaml"
        )
    ]
