"""``triaged dismiss``: which patterns it refuses before anything is asked for."""

import pytest
from click.testing import CliRunner

from triaged.cli import app, exit_codes


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("(?i)\bboard\b", "control character U+0008"),
        (r"\<board\>", r"write \b"),
        ("pay $500", "can match no text"),
        ("${NAME}", r"write \$\{"),
        ("/board/i", "write (?i)board"),
        ("%board%", "drop the %"),
        (".*", "matches every text"),
        ("caf[e\u0301]", "Unicode NFC"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(pattern: str, named: str) -> None:
    """By hand as in a rules file: wrong use, with what to write instead."""
    arguments = ["dismiss", "--description", pattern, "--reason", "testing"]
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == exit_codes.USAGE
    assert named in " ".join(done.stderr.split())
