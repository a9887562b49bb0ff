"""Patterns: RE2's language, and what is refused though RE2 would take it."""

import unicodedata

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from triaged.rules.patterns.doubts import find_case_doubt, find_doubts
from triaged.rules.patterns.re2_pattern import InvalidPatternError, compile_pattern


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


@pytest.mark.parametrize(
    "source",
    [
        *("x*", "a|", "|", "()", "^", "$", r"\A", r"\z", "(a?)", "(x|)", "a??"),
        *(".*", "^.*$", "(?s)^.*$", "(?m)^.*$", r"^[\s\S]*$", r"(.|\n)*", "(?s:.*)"),
        *(r"\b|\B", "^|x", r"\w|^\W*$", r"[^\pL]*", r"^[^\pL]*$|\pL", "(?i:a)*"),
    ],
)
def test_refuses_what_asks_for_nothing(source: str) -> None:
    """A pattern that occurs in every text of one line says nothing of a task."""
    assert "matches every text" in refusal(source)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"^\s*$", "x"),
        ("^$", "x"),
        (r"\b", "-"),
        (r"^\W*$", "a"),
        ("(a|^$)", "b"),
        (r"^\PL*$", "a"),
        ("^[^z]*$", "z"),
        ("^(?:[^é]|$)*$", "é"),
        (r"^\P{Deseret}*$", "\U00010400"),
    ],
)
def test_takes_what_can_be_empty_and_still_asks(source: str, text: str) -> None:
    """A pattern that matches the empty text, but not every text, is one to use."""
    pattern = compile_pattern(source)

    assert pattern.search("") or source == r"\b"
    assert not pattern.search(text)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("a^b", r"write \^ for the character"),
        ("$a", r"write \$ for the character"),
        (r"foo$\n", r"write \$ for the character"),
        (r"(?i)us$\d+", r"write \$ for the character"),
        (r"\zx", r"\z is the end of the text"),
        (r"x\Ay", r"\A is the start of the text"),
        (r"x\by", r"\b stands where a word begins or ends"),
        (r"x\B ", r"\B stands where no word"),
        (r"-\b ", r"\b stands where a word begins or ends"),
        (r"[^\x00-\x{10FFFF}]", "leaves no character"),
        (r"[^\pL\PL]", "leaves no character"),
        ("(?m)a^b", r"write \^ for the character"),
        ("(?s)a.(?-s)[^\\d\\D]", "leaves no character"),
    ],
)
def test_refuses_what_matches_nothing(source: str, named: str) -> None:
    """A pattern that no text can match is refused, with what forbids it."""
    message = refusal(source)

    assert message.startswith("it can match no text: ")
    assert named in message


@pytest.mark.parametrize(
    "source",
    ["(foo$bar|baz)", "(?:foo$|baz)bar", "(?:a|b^)c", "foo(?:$x)?", r"x(?:\by)*z"],
)
def test_refuses_a_part_that_matches_nothing(source: str) -> None:
    """An alternative, or an option, that no text can have is a mistake too."""
    assert refusal(source).startswith("a part of it can match no text: ")


@pytest.mark.parametrize(
    "source",
    [
        *(r"(^|\s)foo($|\s)", r"^(?:\bfoo|x)\b", "(?m)a$\\n^b", r"\Bx", r"(?i)s\bx"),
        *(r"(|a)b", r"^\s*(^|x)y", r"a\b-\bb", "(?m)$\\n", r"\w(?:|-)\b\w"),
    ],
)
def test_takes_assertions_that_can_hold(source: str) -> None:
    """Anchors and boundaries that some text meets are what they are for."""
    assert compile_pattern(source).source == source


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("(?i)\bboard\b", "control character U+0008; use single quotes"),
        ("a\tb", "control character U+0009"),
        ("a\nb", "control character U+000A"),
        ("a\x7f", "control character U+007F"),
        ("a\x85", "control character U+0085"),
        ("board\u200b", "U+200B, which cannot be seen"),
        ("\ufeffboard", "U+FEFF, which cannot be seen"),
        ("a\u2028b", "U+2028, which cannot be seen"),
        (r"\<board\>", r"RE2 reads \< as the character <; write \b"),
        (r"board\>", r"RE2 reads \> as the character >; write \b"),
        ("${VAR}", r"write \$\{"),
        ("dear ${name}", r"write \$\{"),
        ("/board/", "write board, or [/]"),
        ("/board/i", "write (?i)board, or [/]"),
        ("(?i)/board/", "write board, or [/]"),
        (r"/a\/b/gi", "write (?i)a/b, or [/]"),
        ("%board%", "drop the %"),
        ("(?i)%board%", "drop the %"),
        ("^%board%$", "drop the %"),
        ("(%a%|%b%)", "drop the %"),
        ("a{01}", "write {1}"),
        ("a{ 2 }", "write {2}"),
        ("a{1, 02}", "write {1,2}"),
        ("[:alpha:]", "write [[:alpha:]]"),
        ("[[:digit]]", "a named class is written [[:digit:]]"),
        ("[[digit:]]", "a named class is written [[:digit:]]"),
        ("[^[:alpha]]x", "a named class is written [[:alpha:]]"),
        ("[[.a.]]", "a named class is written"),
        ("[[=e=]]", "a named class is written"),
        ("board\u00a0room", "U+00A0, which looks like a space"),
        ("board\u202froom", "U+202F, which looks like a space"),
        ("m/board/", "write board"),
        ("qr/board/i", "write board"),
        ("s/board/x/g", "nothing is replaced here; write board"),
        ("#board#i", "write (?i)board"),
        (r"~\bboard\b~is", r"write (?i)\bboard\b"),
        ("board(?i)", "(?i) applies to what follows it"),
        ("(a(?i))b", "(?i) applies to what follows it"),
        ("^*board", "* after ^ asks for nothing"),
        (r"\b+board", r"+ after \b asks for nothing"),
        ("x{0}y", "{0} allows nothing"),
    ],
)
def test_refuses_what_cannot_be_meant(source: str, named: str) -> None:
    """What RE2 takes, but other than it looks, is answered by what to write."""
    assert named in refusal(source)


@pytest.mark.parametrize(
    "source",
    [
        *("[[:alpha:]]", "[[:^alpha:]x]", "[[:a]", "[[]x]", "[].:]", "a\u3000b"),
        *("#board#", "~x~", "!a!", "m/s", "and/or/", "https?://x/"),
        *(r"\x08", r"a\tb", r"\$\{VAR\}", "[$]{VAR}", "/usr/bin/", "a/b", "[/]x[/]"),
        *(
            "100%",
            "[%]x[%]",
            "%",
            "%%",
            "{}",
            r"\{01\}",
            "<a>",
            "(?i)board",
            "👩\u200d🚀",
        ),
    ],
)
def test_takes_the_same_characters_where_they_are_meant(source: str) -> None:
    """Escaped, or in other places, they are ordinary text."""
    assert compile_pattern(source).source == source


# --- Unicode NFC --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("(?i)caf\u0065\u0301", "Un Café"),
        ("cafe\u0301+", "cafééé"),
        (r"\Qcafe\u0301\E".replace(r"\u0301", "\u0301"), "café"),
        ("(?:e\u0301|u\u0308)x", "üx"),
        ("x\u0302", "x\u0302"),
        ("\u1112\u1161\u11ab", "한"),
    ],
)
def test_a_pattern_is_composed(source: str, text: str) -> None:
    """Letters and their accents become one character before RE2 sees them."""
    pattern = compile_pattern(source)

    assert unicodedata.is_normalized("NFC", pattern.source)
    assert pattern.search(text)


@pytest.mark.parametrize(
    "source",
    [
        *("[e\u0301]", "caf.\u0301", "(e)\u0301", "e?\u0301", "\\w\u0301", "x\u0302+"),
        *(r"e\x{301}", r"\x{301}", "(a|\u0301b)", "(?:\u0301a)*", r"\x{212b}"),
    ],
)
def test_refuses_an_accent_that_no_composed_text_has(source: str) -> None:
    """An accent of its own, where texts have none, would never be found."""
    assert "Unicode NFC" in refusal(source)


def test_takes_a_range_of_accents() -> None:
    """Accents that belong to no letter can be looked for."""
    assert compile_pattern(r"[\x{300}-\x{36f}]").search("x\u0302")


# --- what is only warned of ---------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "doubt"),
    [
        ("[TEST]", r"write \[TEST\]"),
        (r"^\s*[TEST]", r"write \[TEST\]"),
        ("[TEST]+", r"write \[TEST\]"),
        ("[DO NOT USE]", r"write \[DO NOT USE\]"),
        ("[wip:]", r"write \[wip:\]"),
        ("[PRÜFUNG]", r"write \[PRÜFUNG\]"),
        ("[foo|bar]", "write (?:foo|bar)"),
        ("[A-z]+", "write A-Za-z"),
        ("don\u2019t", "write ['\u2019]"),
        ("\u201cboard\u201d", 'write ["\u201c]'),
        ("TEST*", "write TEST"),
        (r"\\bboard\\b", r"written once: \b"),
        ("(?i)'board'", "the quotes ' around"),
        ("%board", "% is an ordinary character"),
        ("(?i)board%", "% is an ordinary character"),
        ("(?i)^report* x", "write report"),
        ("[[TEST]]", r"write \[\[TEST\]"),
        ("[TEST1]", r"write \[TEST1\]"),
        ("[2024]", r"write \[2024\]"),
        ("[foo, bar]", r"write \[foo, bar\]"),
        ("[data-test]", r"write \[data-test\]"),
        ("[ТЕСТ]", r"write \[ТЕСТ\]"),  # noqa: RUF001 (Cyrillic)
        ("[ПРОБА]", r"write \[ПРОБА\]"),
        ("[^TEST]", "one character other than these; if texts without TEST"),
        ("[0\u20139]", "\u2013 in [0\u20139] is no range; write 0-9"),
        ("[+-_]", "+-_ in [+-_] is a range and includes E"),
        ("[a.-z]", ".-z in [a.-z] is a range"),
        ("[0-Z]", "0-Z in [0-Z] is a range"),
        ("(?i)^foo|b(?:a|r)$", "write (?i)^(?:foo|b(?:a|r))$"),
        (r"\btest|demo|x\b", r"write \b(?:test|demo|x)\b"),
        (r"\Atest|demo\z", r"write \A(?:test|demo)\z"),
        (r"(?i)\bc\+\+\b", r"\b behind + demands a letter or digit"),
        (r"\bc#\b", r"\b behind # demands a letter or digit"),
        (r"\b(?:test|#urgent)", r"\b before # demands a letter or digit"),
        (r"\b\[TEST\]", r"\b before [ demands a letter or digit"),
        (r"(?:\b[#$]\d|x)", r"\b before # demands a letter or digit"),
        ("5 €\\b", r"\b behind € demands a letter or digit"),
        ("test-*", "write test-"),
        ("(?:tmp|TEST_*)", "write TEST_"),
        (r"report\.*", r"write report\."),
        ("(TEST)", r"write \(TEST\)"),
        ("(?i)^(do not use) ", r"write \(do not use\)"),
        ("r'board'", "the quotes ' around"),
        (r"caf\xc3\xa9", "write é"),
        ("b\u043eard", "CYRILLIC SMALL LETTER O (U+043E)"),
        ("\u039fK", "GREEK CAPITAL LETTER OMICRON"),
    ],
)
def test_doubts(source: str, doubt: str) -> None:
    """What was probably meant otherwise is named, with what to write."""
    pattern = compile_pattern(source)

    assert doubt in " ".join(find_doubts(pattern.source, pattern.tree))


@pytest.mark.parametrize(
    "source",
    [
        *("[aeiou]", "[Tt]est", "[yYnN]", "[abc]", "[ÄÖÜ]", "[A-Za-z]", r"[\w.-]+"),
        *("ab*c", "x*y", "ceos?", "a.*", r"T\*", "['\u2019]s", "[^|]", "[|]"),
        *("100%", r"[\\b]", r"C:\\docs", "it's", "don't"),
        *("[ÉÈÊË]", "[ÀÂÇÉÈÊËÎÏÔÛÙÜ]", "[ÆØÅ]", "[eEéÉ]", "[abc123]", "[0123]"),
        *("[^aeiou]", "[^,;]", "[ -~]", "[!-~]", "[+-]", "[,-.]", "[A-Za-z0-9._%+-]"),
        *(
            "[ -/:-@]",
            "[a-zA-Z]",
            r"[\w-]",
            "[0-9\u2013]",
            "[\u2013\u2014-]",
            "[^]]",
            "[[]x",
            "[äöüß]",
        ),
        *("^a$|^b$", "^$|^n/a$", "(?:^a)|(?:b$)", r"\ba|\bb", "^a|b", "^a|^b|c$"),
        *(r"\btest\b", r"\b@acme\.com\b", r"\b\.pdf\b", r"\w+\b", r"\b\W", r"x\b-y"),
        *(r"\b(?:test|demo)s?\b", "a-*b", r"x\.*y", "-*x", r"a\s*", "(?:-*)x", "foo.*"),
        *("(a|b)", "(?:test)", "(test)?x", "(test)+", r"(\d+)", "(T)", "(?P<n>test)"),
        *(r"\xe9", r"\xe9t\xe9", "Δt", "μm", "ТЕСТ", "(?i)проба test"),  # noqa: RUF001
    ],
)
def test_no_doubts(source: str) -> None:
    """Ordinary patterns raise none."""
    pattern = compile_pattern(source)

    assert list(find_doubts(pattern.source, pattern.tree)) == []


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("board", "board"),
        (r"\b(?:Court|law)", "Court"),
        ("(?i)board|(?-i)law", "law"),
        ("(?i)board", None),
        ("[Bb]oard", "oard"),
        (r"\d+ 42", None),
        ("Q[1-4]", None),
        ("漢字", None),
        (r"\x{e9}", None),
        (r"\x41\x42", "AB"),
    ],
)
def test_a_word_in_one_case(source: str, word: str | None) -> None:
    """A word that is found in one case only is named; single letters are none."""
    assert find_case_doubt(compile_pattern(source).tree) == word


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
        ("a{02,}", "{2,}"),
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
        (r"\b\p{Lu}t", r"(?:^|[^\pL\pN_])\p{Lu}t", "Étude"),
        (r"\p{L}+\b", r"\p{L}+(?:$|[^\pL\pN_])", "été"),
        (r"\b\p{Greek}", r"(?:^|[^\pL\pN_])\p{Greek}", "λ"),
        (r"\b[\pL']", r"(?:^|[^\pL\pN_])[\pL']", "été"),
        (r"\B\pL", None, ""),
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
def test_any_text_is_a_pattern_or_refused(source: str) -> None:
    """Nothing but the refusal is raised, and what is taken is in NFC."""
    try:
        pattern = compile_pattern(source)
    except InvalidPatternError:
        return

    assert unicodedata.is_normalized("NFC", pattern.source)


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
def test_what_is_offered_is_a_pattern(source: str) -> None:
    """Whoever writes what the message says gets something that RE2 understands."""
    try:
        compile_pattern(source)
    except InvalidPatternError as error:
        _, knows, offer = str(error).partition("knows ASCII alone")
        instead = offer.partition("; write ")[2]
        if knows and instead:
            re2.compile(instead)


def test_a_bracket_ends_where_re2_ends_it() -> None:
    """In an odd range, a bracket that looks like a named class is none."""
    assert compile_pattern(r"é-\w-[)-[:alpha:]").search("é-a-:")
