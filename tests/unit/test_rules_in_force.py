"""Rules that a command follows: those of the file, whatever was loaded before."""

from pathlib import Path

import pytest

from tests.builders import T0
from tests.fakes import RULES
from triaged.errors import ConfigError
from triaged.rulesfile.in_force import FollowedRules
from triaged.rulesfile.loader import load_rules

PROTECTING = RULES.replace("rules:", "protect: [{type: contact_update}]\nrules:")


def test_what_changed_before_it_was_followed_counts(tmp_path: Path) -> None:
    """A change between loading and following, as at a question, is not overlooked."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    before, _ = load_rules(file, now=T0)
    file.write_text(PROTECTING)
    rules = FollowedRules((file,), before, lambda: T0)

    assert len(rules().ruleset.protect) == 1
    assert rules() is rules()


def test_a_file_that_went_before_it_was_followed_allows_nothing(tmp_path: Path) -> None:
    """Without its file no rules are in force, even if it went before the first use."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    before, _ = load_rules(file, now=T0)
    file.unlink()
    with pytest.raises(ConfigError):
        FollowedRules((file,), before, lambda: T0)()


def test_each_of_several_files_is_followed(tmp_path: Path) -> None:
    """A change of any of the files that are used as one is followed."""
    files = (tmp_path / "base.yaml", tmp_path / "rules.yaml")
    files[0].write_text(RULES.replace("name: ", "name: base-"))
    files[1].write_text(RULES.replace("TEST", "OTHER"))
    before, _ = load_rules(*files, now=T0)
    rules = FollowedRules(files, before, lambda: T0)
    assert rules() is before
    files[0].write_text(PROTECTING.replace("name: ", "name: base-"))

    assert len(rules().ruleset.protect) == 1


def test_a_list_of_the_rules_is_followed(tmp_path: Path) -> None:
    """A list that the rules name is a part of them, through a symbolic link too."""
    real = tmp_path / "..data"
    real.mkdir()
    (real / "kept.txt").write_text("acme\n")
    (tmp_path / "kept.txt").symlink_to("..data/kept.txt")
    file = tmp_path / "rules.yaml"
    protect = "protect: [{description: {words: {file: kept.txt}}}]\nrules:"
    file.write_text(RULES.replace("rules:", protect))
    before, _ = load_rules(file, now=T0)
    rules = FollowedRules((file,), before, lambda: T0)
    assert rules() is before
    (real / "kept.txt").write_text("acme\nglobex\n")

    assert rules().ruleset.sha256 != before.ruleset.sha256
