"""Several rules files that are used as one."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import T0
from triaged.errors import ConfigError, RuleTestsFailed
from triaged.rules.rule import SafetyLimits
from triaged.rules.task import parse_task
from triaged.rulesfile.document import RulesDocument, combine
from triaged.rulesfile.loader import (
    LoadedRules,
    load,
    load_rules,
    parse,
    parse_bundle,
    parse_files,
)
from triaged.rulesfile.problems import MAX_PROBLEMS
from triaged.rulesfile.sources import SourceFile, bundle, fingerprint, unbundle

BASE: Final = r"""version: 1
task_types: [data_export]
reasons: [bulk_cleanup]
safety: {max_dismissals_per_day: 50, min_age: 1h}
protect:
  - description: '(?i)\bboard\b'
rules:
  - {name: clutter, match: {description: '^\[TEST\]'}, dismiss: testing}
tests:
  - name: clutter goes
    task: {type: contact_update, description: '[TEST] x'}
    expect: {decision: dismiss, rule: clutter}
  - name: others stay
    task: {type: contact_update, description: x}
    expect: {decision: leave}
  - name: the board is protected
    task: {type: contact_update, description: the board}
    expect: {decision: leave, cause: protected}
"""
ACME: Final = r"""version: 1
safety: {max_dismissals_per_day: 80, max_share_of_pending: 0.3}
protect:
  - description: '(?i)\bacme\b'
rules:
  - {name: exports, match: {type: data_export}, dismiss: bulk_cleanup}
tests:
  - name: exports go
    task: {type: data_export, description: export}
    expect: {decision: dismiss, rule: exports, reason: bulk_cleanup}
  - name: others stay
    task: {type: contact_update, description: x}
    expect: {decision: leave}
  - name: acme is protected
    task: {type: data_export, description: for Acme}
    expect: {decision: leave, cause: protected}
"""


def composed(*texts: str) -> LoadedRules:
    names = ("base.yaml", "acme.yaml", "third.yaml")
    return parse_files(
        [SourceFile(n, t.encode()) for n, t in zip(names, texts, strict=False)]
    )


def problems(*texts: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        composed(*texts)
    return str(caught.value).splitlines()


def written(directory: Path, **texts: str) -> tuple[Path, ...]:
    """Write files and return their paths, in order."""
    paths = [directory / f"{name}.yaml" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    return tuple(paths)


def test_everything_adds_up_in_order() -> None:
    """Rules are concatenated, protect grows, and the names of one serve the other."""
    loaded = composed(BASE, ACME)

    assert [rule.name for rule in loaded.ruleset.rules] == ["clutter", "exports"]
    assert len(loaded.ruleset.protect) == 2
    assert loaded.reasons[-1] == "bulk_cleanup"
    assert len(loaded.tests) == 6
    assert loaded.warnings == ()
    assert loaded.file == "base.yaml + acme.yaml"


PROTECTION: Final = r"""version: 1
protect:
  - description: '(?i)\bacme\b'
tests:
  - name: acme is protected
    task: {type: contact_update, description: '[TEST] Acme'}
    expect: {decision: leave, cause: protected}
"""


@pytest.mark.parametrize("texts", [(BASE, PROTECTION), (PROTECTION, BASE)])
def test_a_file_may_only_protect(texts: tuple[str, str]) -> None:
    """What one client adds to common rules is often nothing but protection."""
    loaded = composed(*texts)

    assert [rule.name for rule in loaded.ruleset.rules] == ["clutter"]
    assert len(loaded.ruleset.protect) == 2
    assert loaded.warnings == ()


def test_a_whole_without_any_rule_is_refused() -> None:
    """Each file says what it lacks, as one alone does; so does one that is cut off."""
    missing = "missing key 'rules': The rules, in order"

    assert all(missing in line for line in problems(PROTECTION, PROTECTION))
    assert len(problems(PROTECTION)) == 1
    (cut_off,) = problems(BASE, "version: 1\n")
    assert cut_off.startswith("acme.yaml:1:1: missing key 'rules'")


def test_a_file_that_only_protects_is_not_blamed_for_another() -> None:
    """Whether there are rules is not known while one of the files cannot be read."""
    (problem,) = problems("version: [", PROTECTION)

    assert problem.startswith("base.yaml")


def test_the_order_of_the_files_is_that_of_the_rules() -> None:
    """What is named first decides first; a name may be declared in a later file."""
    loaded = composed(ACME, BASE)

    assert [rule.name for rule in loaded.ruleset.rules] == ["exports", "clutter"]
    assert loaded.ruleset.sha256 != composed(BASE, ACME).ruleset.sha256


def test_a_test_may_name_a_rule_of_a_later_file() -> None:
    """The tests judge the whole, so they can speak of all of it."""
    test = """  - name: clutter of the base
    task: {type: contact_update, description: '[TEST] x'}
    expect: {decision: dismiss, rule: clutter}
"""

    assert len(composed(ACME + test, BASE).tests) == 7


def test_the_stricter_limit_wins() -> None:
    """Lower caps and share, longer age; what no file states has its default."""
    expected = SafetyLimits(
        max_dismissals_per_day=50,
        max_share_of_pending=0.3,
        min_age=timedelta(hours=1),
    )

    assert composed(BASE, ACME).ruleset.safety == expected
    assert composed(ACME, BASE).ruleset.safety == expected


_LIMITS: Final = st.fixed_dictionaries(
    {},
    optional={
        "max_dismissals_per_cycle": st.integers(0, 300),
        "max_dismissals_per_day": st.integers(0, 300),
        "max_share_of_pending": st.floats(0, 1),
        "min_age": st.timedeltas(timedelta(0), timedelta(days=9)),
    },
)


@given(st.lists(_LIMITS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_no_limit_is_looser_than_a_file_states(
    stated: list[dict[str, Any]], random: Any
) -> None:
    """Whatever the order, each limit is the strictest that any file states."""
    documents = [RulesDocument(limits=limits) for limits in stated]
    safety = combine(documents).safety
    random.shuffle(documents)

    assert combine(documents).safety == safety
    for document in documents:
        for name, limit in document.limits.items():
            ours = getattr(safety, name)
            assert ours >= limit if name == "min_age" else ours <= limit


@given(st.permutations(["a", "b", "c"]), st.integers(0, 3))
def test_protect_only_grows(names: Sequence[str], more: int) -> None:
    """Each file protects what it protects alone, whatever stands beside it."""
    texts = [
        f"version: 1\nprotect: [{{description: {n}}}]\n"
        f"rules: [{{name: {n}, match: {{description: x{n}}}, dismiss: testing}}]\n"
        for n in names[: more or 1]
    ]
    protect = composed(*texts).ruleset.protect

    for text in texts:
        assert set(parse(text.encode(), "alone").ruleset.protect) <= set(protect)
    sources = [p.test.patterns[0].source for p in protect]  # type: ignore[union-attr]
    assert sources == list(names[: more or 1])


def test_all_tests_judge_the_whole(tmp_path: Path) -> None:
    """A test of the base fails if another file changes what becomes of its task."""
    base, acme = written(
        tmp_path, base=BASE, acme=ACME.replace(r"\bacme\b", r"\[test\]")
    )
    load_rules(base, now=T0)

    with pytest.raises(RuleTestsFailed, match=r"base\.yaml:10: test 'clutter goes'"):
        load_rules(base, acme, now=T0)


def test_a_rule_name_that_two_files_use() -> None:
    """It is refused, and both places are named."""
    again = ACME.replace("name: exports", "name: clutter").replace(
        "rule: exports", "rule: clutter"
    )

    (problem,) = problems(BASE, again)
    assert problem == (
        "acme.yaml:6:12: rules[0].name: rule 'clutter' again;"
        " it is taken by base.yaml:8, choose another"
    )


def test_problems_of_all_files_at_once() -> None:
    """Each has the name of its file, in the order of the files."""
    found = problems(
        BASE.replace("dismiss: testing", "dismis: testing"),
        ACME.replace("type: data_export}, d", "typ: data_export}, d"),
        "version: 1\nrules: [",
    )

    assert [problem.split(":")[0] for problem in found] == [
        "base.yaml",
        "acme.yaml",
        "third.yaml",
    ]
    assert "not valid YAML" in found[2]


def test_a_broken_file_does_not_make_the_others_look_wrong() -> None:
    """What it may declare is not reported as unknown elsewhere."""
    found = problems("version: 1\nrules: [", ACME)

    assert len(found) == 1


def test_a_file_of_another_format() -> None:
    """It is the only problem, whatever the others refer to."""
    found = problems(BASE.replace("version: 1", "version: 2"), ACME)

    assert found == [
        (
            "base.yaml:1:10: version: expected 1, found 2 (a number);"
            " this program reads format 1 only"
        )
    ]


def test_very_many_problems_end_the_reading() -> None:
    """A hundred are enough, in all files together."""
    many = "version: 1\nrules:\n" + "  - {name: A}\n" * 60
    found = problems(many, many, many)

    assert len(found) == MAX_PROBLEMS + 1


def test_a_file_that_is_missing_or_named_twice(tmp_path: Path) -> None:
    """Both are told in one go."""
    base, acme = written(tmp_path, base=BASE, acme=ACME)
    acme.unlink()
    with pytest.raises(ConfigError) as caught:
        load(base, base, acme)

    assert [problem.message for problem in caught.value.problems] == [
        "this file is named twice; its rules count once",
        "cannot be read: No such file or directory",
    ]


def test_an_unreachable_rule_of_another_file() -> None:
    """A rule is never reached if a file before has a wider one."""
    wider = ACME.replace("type: data_export}, d", r"description: '^\[TEST\]'}, d")

    (problem,) = problems(BASE, wider)
    assert problem.startswith(
        "acme.yaml:6:5: rules[0]: rule exports is unreachable:"
        " clutter in base.yaml:8 acts on all of its tasks before"
    )


def test_the_hash_of_one_file_is_as_before(tmp_path: Path) -> None:
    """Only several files are hashed together."""
    base, acme = written(tmp_path, base=BASE, acme=ACME)
    import hashlib  # noqa: PLC0415 - to compute it independently

    assert fingerprint(base) == hashlib.sha256(BASE.encode()).hexdigest()
    assert fingerprint(base, acme) == load(base, acme).ruleset.sha256
    assert len({fingerprint(base), fingerprint(acme), fingerprint(base, acme)}) == 3


def test_the_hash_covers_every_file_and_list(tmp_path: Path) -> None:
    """A change of any of them is a change of the rules."""
    lists = ACME.replace("(?i)\\bacme\\b", "x").replace(
        "description: 'x'", "description: {words: {file: kept.txt}}"
    )
    (tmp_path / "kept.txt").write_text("acme\n")
    base, acme = written(tmp_path, base=BASE, acme=lists)
    seen = [fingerprint(base, acme)]
    (tmp_path / "kept.txt").write_text("acme\nglobex\n")
    seen.append(fingerprint(base, acme))
    base.write_text(f"{BASE}#\n")
    seen.append(fingerprint(base, acme))
    acme.unlink()
    seen.append(fingerprint(base, acme))

    assert len(set(seen)) == 4


def _with_list(name: str, directory: str) -> str:
    return f"""version: 1
rules:
  - name: {name}
    match: {{description: {{words: {{file: clients.txt}}}}}}
    leave: true
tests:
  - name: of {name}
    task: {{type: contact_update, description: for {directory}}}
    files: {{clients.txt: [{directory}]}}
    expect: {{decision: leave, cause: leave_rule, rule: {name}}}
"""


def test_two_directories_may_have_lists_of_one_name(tmp_path: Path) -> None:
    """Each rules file reads its own, and a test stands in for its file's own."""
    paths = []
    for name in ("north", "south"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clients.txt").write_text(f"{name} client\n")
        paths.append(tmp_path / name / "rules.yaml")
        paths[-1].write_text(_with_list(name, f"{name} test"))
    rules, _ = load_rules(*paths, now=T0)

    def rule(text: str) -> str | None:
        task = parse_task({"id": "1", "status": "pending", "description": text})
        return rules.engine.decide([task], now=T0)[0].rule

    assert rule("a north client") == "north"
    assert rule("a south client") == "south"


def test_a_test_stands_in_for_a_list_of_another_file(tmp_path: Path) -> None:
    """A file that reads no such list itself means those of the others."""
    (tmp_path / "clients.txt").write_text("acme\n")
    first, _, tests = _with_list("clients", "globex").partition("tests:")
    base, acme = written(tmp_path, base=first, acme=f"{BASE}{tests.strip(chr(10))}\n")

    load_rules(base, acme, now=T0)


def test_a_composition_is_kept_whole(tmp_path: Path) -> None:
    """What the ledger stores can be parsed again, with each file's own lists."""
    (tmp_path / "clients.txt").write_text("acme\n")
    base, acme = written(tmp_path, base=_with_list("clients", "acme"), acme=ACME + "#é")
    loaded = load(base, acme, *written(tmp_path, third=BASE))
    again = parse_bundle(loaded.source, "rules in the ledger")

    assert again.ruleset == loaded.ruleset
    assert again.source == loaded.source


@given(
    st.lists(
        st.text(st.characters(codec="utf-8"), max_size=40)
        | st.just("#files, each with its lists: []\n"),
        min_size=1,
        max_size=3,
    )
)
def test_a_bundle_gives_back_its_files(texts: list[str]) -> None:
    """Whatever is in them, also what looks like a bundle."""
    files = [SourceFile(f"{n}.yaml", t.encode()) for n, t in enumerate(texts)]
    files = [f for f in files if not f.data.startswith(b"\xef\xbb\xbf")]

    for some in (files, files[:1]):
        if some:
            again = unbundle(bundle(some), some[0].name)
            assert [(f.name, f.data) for f in again] == [(f.name, f.data) for f in some]
