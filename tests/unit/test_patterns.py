"""Patterns: RE2's language, and what is refused though RE2 would take it."""

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from triaged.rules.patterns.re2_pattern import InvalidPatternError, compile_pattern
from triaged.rules.patterns.syntax import split


def refusal(source: str) -> str:
    with pytest.raises(InvalidPatternError) as caught:
        compile_pattern(source)
    return str(caught.value)


def test_patterns_are_searched() -> None:
    """A pattern may occur anywhere, and case counts unless it says otherwise."""
    assert compile_pattern("lorem").search("some lorem ipsum")
    assert not compile_pattern("lorem").search("Lorem")
    assert compile_pattern("(?i)lorem").search("LOREM")


def test_equal_sources_are_equal_patterns() -> None:
    """Rules can be compared, for a pattern is its source."""
    assert compile_pattern("a+") == compile_pattern("a+")
    assert compile_pattern("a+") != compile_pattern("a{1,}")


@pytest.mark.parametrize(
    "source",
    [
        r"^\s*\[?TEST\b",
        r"\\bé",
        r"é\.\w",
        r"[\wé]+é",
        r"[\s\pZ]été",
        r"\bcafe\b.é",
        r"[^é]\w",
        r"\Qa.b\E",
        r"(?i:a)b{2,3}?",
        r"(?P<n>a)",
        "x{y}",
        r"\x{1F600}",
        "[[:alpha:]]+",
        "[]a]",
        r"\d\d\.\d\d",
    ],
)
def test_takes_what_means_what_it_says(source: str) -> None:
    """Ordinary RE2 patterns, and ASCII classes away from other letters."""
    assert compile_pattern(source).source == source


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("a(?=b)", "look-ahead (?="),
        ("a(?!b)", "negative look-ahead (?!"),
        ("(?<=a)b", "look-behind (?<="),
        ("(?<!a)b", "negative look-behind (?<!"),
        (r"(a)\1", r"back-reference \1"),
        (r"(a)\k<1>", r"back-reference \k"),
        ("(?P<n>a)(?P=n)", "back-reference (?P="),
        ("(?>a)", "atomic group (?>"),
        ("a++", "possessive quantifier ++"),
        ("a{2}+", "possessive quantifier {2}+"),
        ("a**", "a repetition of a repetition, **,"),
        ("(?#b)a", "comment (?#"),
        ("(?(1)a|b)", "conditional group (?("),
        ("(?|a|b)", "branch reset (?|"),
        ("(?R)", "recursion (?R"),
        ("(?&n)", "recursion (?&"),
        ("(?P>n)", "recursion (?P>"),
        ("(?x)a", "flag (?x)"),
        (r"a\Z", r"\Z is"),
        (r"\Ga", r"\G is"),
        (r"\h", r"\h is"),
        (r"\u00e9", r"\u is"),
        (r"[\b]", r"\b (backspace)"),
    ],
)
def test_names_what_re2_does_not_have(source: str, named: str) -> None:
    """Who knows another engine learns which construct to replace, and by what."""
    message = refusal(source)

    assert message.startswith(named)
    assert "not supported by RE2; " in message


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("(a", "a ( is never closed"),
        ("a)", "a ) was never opened"),
        ("[a", "a [ is never closed"),
        ("a\\", "ends in a lone \\"),
        ("*a", "nothing stands before a repetition"),
        ("a{1001}", "RE2 allows at most 1000"),
        (r"[^\pN]{1000}", "too large"),
        (r"\pX", "invalid character class range"),
        ("\ud800", "not a valid pattern"),
    ],
)
def test_explains_what_is_no_pattern(source: str, plain: str) -> None:
    """RE2's words are put plainly where that helps."""
    assert plain in refusal(source)


@pytest.mark.parametrize("source", ["x*", "a|", "^", "$", "^$", r"\b", r"\B", "(a?)"])
def test_refuses_what_holds_for_nothing_at_all(source: str) -> None:
    """A pattern that finds the empty string would match every description."""
    assert "matches the empty string" in refusal(source)


def test_refuses_an_empty_pattern() -> None:
    """An empty pattern matches everything."""
    assert "empty pattern" in refusal("")


def test_refuses_a_pattern_that_nobody_can_read() -> None:
    """The limit is on the edge: 4096 characters pass, one more does not."""
    assert compile_pattern("a" * 4096).source == "a" * 4096
    assert "4097 characters" in refusal("a" * 4097)


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("a{,2}", "{0,2}"),
        ("a{,}", "{0,}"),
        ("a{0, 2}", "{0,2}"),
        ("(?:é|a){,3}b", "{0,3}"),
    ],
)
def test_refuses_a_repetition_that_re2_takes_literally(source: str, meant: str) -> None:
    """RE2 reads {,2} as text; what was meant is offered."""
    assert refusal(source).endswith(f"write {meant}")


@pytest.mark.parametrize("source", [r"a\{,2}", "[{,2}]b"])
def test_takes_braces_that_are_meant_as_such(source: str) -> None:
    """Escaped or in brackets, braces are text on purpose."""
    assert compile_pattern(source).source == source


def test_refuses_single_bytes() -> None:
    r"""With \C a match could end inside a character."""
    assert r"\C (a single byte)" in refusal(r"a\C")


@pytest.mark.parametrize(
    ("source", "instead", "found"),
    [
        (r"\bcafé\b", r"(?:^|[^\pL\pN_])café(?:$|[^\pL\pN_])", "un café, svp"),
        (r"caf\wé", r"caf[\pL\pN_]é", "caféé"),
        (r"(?i)\bÉTÉ", r"(?i)(?:^|[^\pL\pN_])ÉTÉ", "l'été"),
        (
            r"\b(été|hiver)\b",
            r"(?:^|[^\pL\pN_])(été|hiver)(?:$|[^\pL\pN_])",
            "en hiver",
        ),
        (r"été\b noir", "été noir", "un été noir"),
        (r"[\w-]+é", r"[\pL\pN_-]+é", "éé"),
        (r"é\s*\d", r"é[\s\pZ]*\pN", "é\u00a0\u0662"),
        (r"é\D", r"é\PN", "éa"),
        (r"é\S", r"é[^\s\pZ]", "éa"),
        (r"é\W", r"é[^\pL\pN_]", "é-"),
        (r"é[ab]?\d", r"é[ab]?\pN", "éb1"),
        (r"(é\s)+x", r"(é[\s\pZ])+x", "é é x"),
        (r"\Qé\E\b", r"\Qé\E(?:$|[^\pL\pN_])", "é"),
        (r"\b\x{e9}t", r"(?:^|[^\pL\pN_])\x{e9}t", "étude"),
        (r"\b[éè]t", r"(?:^|[^\pL\pN_])[éè]t", "ètre"),
        (r"\b[\xe9]t", r"(?:^|[^\pL\pN_])[\xe9]t", "étude"),
        (r"é{2,3}\d", r"é{2,3}\pN", "éé1"),
        (r"(é\d){2,}", r"(é\pN){2,}", "é1é2"),
        (r"é{2}\d", r"é{2}\pN", "éé1"),
        (r"(?:\b|x)é", None, ""),
        ("[[:alpha:]]é", None, ""),
        (r"\Bé", None, ""),
        (r"é\bé", None, ""),
        (r"[^\W]é", None, ""),
    ],
)
def test_refuses_ascii_classes_beside_other_letters(
    source: str, instead: str | None, found: str
) -> None:
    """What to write instead is offered, is accepted, and finds what was meant."""
    message = refusal(source)

    assert "knows ASCII alone" in message
    if instead is None:
        assert r"use [\pL\pN_]" in message or "write " in message
    else:
        assert message.endswith(f"write {instead}")
        assert compile_pattern(instead).search(found)


@given(st.text(alphabet=r"aé\bwdsWDSQEx()[]{}^$|?*+.,:-<>=!iP0129", max_size=24))
@settings(max_examples=400)
def test_any_text_is_a_pattern_or_refused(source: str) -> None:
    """Nothing but the refusal is raised, and no token is lost in splitting."""
    assert "".join(token.text for token in split(source)) == source
    try:
        pattern = compile_pattern(source)
    except InvalidPatternError:
        return

    assert pattern.search("") is False


@given(
    st.lists(
        st.sampled_from(
            [
                *(r"\b", r"\w", r"\d", r"\s", r"\W", r"\pL", r"\x{e9}", "[:alpha:]"),
                *("é", "a", "-", "[", "]", "(", ")", "(?i)", "(?:"),
                *("|", "*", "?", "{2,3}", "^"),
            ]
        ),
        max_size=8,
    ).map("".join)
)
@settings(max_examples=600)
def test_what_is_offered_is_a_pattern(source: str) -> None:
    """Whoever writes what the message says gets something that RE2 understands."""
    try:
        compile_pattern(source)
    except InvalidPatternError as error:
        _, knows, offer = str(error).partition("knows ASCII alone")
        instead = offer.partition("; write ")[2]
        if knows and instead:
            re2.compile(instead)


def test_a_bracket_that_re2_reads_otherwise_is_no_trap() -> None:
    """In an odd range, RE2 ends the bracket where we do not; RE2 decides."""
    assert compile_pattern(r"é-\w-[)-[:alpha:]").search("é-a-:")
