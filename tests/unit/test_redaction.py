"""No text from outside keeps a key, however it is written there."""

import base64
import html
import json
import traceback
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triaged.leadlex.redaction import Redactor
from triaged.rules.task import Json

KEY: Final = "wbk_live_q7Zr2LkXv9TnB4sWm8YcH3fJd6GpAe1U"
SECRET: Final = KEY.removeprefix("wbk_live_")
ODD_KEY: Final = 'wbk_a"b%c&d<e\\f/g+h'


def echoes(key: str) -> Iterator[str]:
    """Make what servers make of a key that they echo."""
    yield f"no such key: {key}"
    yield repr({"authorization": f"Bearer {key}"})
    yield f"https://x.example/?key={quote(key, safe='')}"
    yield f"{key[:21]}…"
    yield f"…{key[-12:]}"
    for user in ("", "u:", "me:"):
        yield base64.b64encode(f"{user}{key}".encode()).decode()
        yield base64.urlsafe_b64encode(f"{user}{key}".encode()).decode()


@pytest.mark.parametrize("echo", [*echoes(KEY)])
def test_an_echo_of_the_key_is_taken_out(echo: str) -> None:
    """Whole or masked, plain or encoded: nothing tells the key any more."""
    clean = Redactor(KEY).redact_text(echo)

    assert "[API key]" in clean
    pieces = {SECRET[start : start + 8] for start in range(len(SECRET) - 8)}
    encoded = base64.b64encode(f"u:{KEY}".encode()).decode()
    pieces |= {encoded[start : start + 12] for start in range(16, len(encoded) - 16)}
    assert not [piece for piece in pieces if piece in clean]


@pytest.mark.parametrize(
    "echo",
    [
        ODD_KEY,
        'wbk_a\\"b%c&d<e\\\\f/g+h',
        "wbk_a&quot;b%c&amp;d&lt;e\\f/g+h",
        quote(ODD_KEY, safe=""),
    ],
)
def test_an_odd_key_is_known_in_its_escapes(echo: str) -> None:
    """JSON, HTML and URLs write some characters otherwise."""
    assert Redactor(ODD_KEY).redact_text(f"<{echo}>") == "<[API key]>"


def test_a_short_key_does_not_spoil_texts() -> None:
    """A sandbox's key is made of words; only the whole of it is taken out."""
    text = "sandbox testing wbk_ box"

    assert Redactor("wbk_sandbox").redact_text(text) == text


@given(st.text(alphabet=st.characters(codec=None)))
def test_other_text_stays_as_it_is(text: str) -> None:
    """What holds no key is passed on to the letter, lone surrogates too."""
    assert Redactor(KEY).redact_text(text) == text


def test_each_run_is_taken_out() -> None:
    """Any twelve characters of a key are masked, wherever they begin, with no more."""
    for start in range(len(KEY) - 11):
        run = KEY[start : start + 12]
        clean = Redactor(KEY).redact_text(f"<{run}>")

        assert clean == "<[API key]>", run
    assert Redactor(KEY).redact_text(f"<{KEY[3:14]}>") == f"<{KEY[3:14]}>"


def escaped(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(ord(char)) for char in text)


_ESCAPES: Final[dict[str, Callable[[str], str]]] = {
    "braces": lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
    "octal": lambda text: "".join(f"\\{ord(char):03o}" for char in text),
    "hexadecimal": lambda text: text.encode().hex(),
    "HEXADECIMAL": lambda text: text.encode().hex().upper(),
    "JSON": escaped("\\u{:04x}"),
    "JSON in JSON": escaped("\\\\u{:04X}"),
    "Python": escaped("\\x{:02x}"),
    "URL": escaped("%{:02x}"),
    "URL in URL": escaped("%25{:02X}"),
    "HTML, decimal": escaped("&#{};"),
    "HTML, hexadecimal": escaped("&#x{:x};"),
    "HTML in HTML": escaped("&amp;#{};"),
    "HTML in a URL": lambda text: quote(escaped("&#{};")(text)),
    "quoted": lambda text: quote(html.escape(json.dumps(text))),
}


@pytest.mark.parametrize("form", _ESCAPES)
@pytest.mark.parametrize("part", [KEY, SECRET[3:15]])
def test_an_escaped_key_is_taken_out(form: str, part: str) -> None:
    """A key is found though each of its characters is written otherwise."""
    escape = _ESCAPES[form]
    text = f"a {escape(part)} b"
    clean = Redactor(KEY).redact_text(text)

    assert clean.count("[API key]") == 1
    assert part[:8] not in clean
    assert Redactor(KEY).may_hold_key(text)


def test_an_escape_is_left_as_it_is() -> None:
    """A text that escapes something else is not unescaped."""
    text = f"100%25 &amp; \\u0041 {SECRET[:6]}"

    assert Redactor(KEY).redact_text(text) == text


def test_two_keys_in_a_row() -> None:
    """What stands between and beside the keys is kept."""
    text = f"a{KEY}b{SECRET}{KEY}c{KEY[:30]}d"

    assert Redactor(KEY).redact_text(text) == (
        "a[API key]b[API key][API key]c[API key]d"
    )


def test_a_former_key_stays_redacted() -> None:
    """A key that was rotated may still be valid elsewhere."""
    redactor = Redactor(KEY)
    redactor.add("wbk_live_0123456789abcdefXYZ")

    assert redactor.redact_text(f"{KEY} 0123456789abcdefXYZ") == "[API key] [API key]"


def test_no_value_keeps_a_key() -> None:
    """Keys and values are redacted at any depth; numbers stay what they are."""
    value: Json = {"a": [KEY, 1, None], f"{KEY}!": {"b": f"x {SECRET}"}}

    assert Redactor(KEY).redact_value(value) == {
        "a": ["[API key]", 1, None],
        "[API key]!": {"b": "x [API key]"},
    }


def test_no_error_keeps_a_key() -> None:
    """Arguments, attributes, notes, causes, contexts and groups are redacted."""
    cause = OSError(5, f"bad {KEY}", f"/srv/{KEY}")
    context = UnicodeDecodeError("utf-8", f"x{KEY}".encode(), 0, 1, f"saw {KEY}")
    inner = ExceptionGroup("both", [ValueError((f"deep {KEY}", [KEY]))])
    cause.__context__ = context
    context.__context__ = inner
    error = RuntimeError(KEY)
    error.add_note(f"note {KEY}")
    error.__cause__ = cause
    error.__context__ = KeyError(KEY)
    error.detail = f"held {KEY}"  # type: ignore[attr-defined]

    Redactor(KEY).redact_exception(error)
    told = "".join(traceback.format_exception(error))
    told += repr(error.__context__) + repr(vars(error)) + repr(context.object)

    assert told.count("[API key]") >= 8
    assert SECRET[:8] not in told


def test_many_likenesses_take_no_time() -> None:
    """A text of a million characters that repeats a part of the key is read quickly."""
    text = (SECRET[:6] + ".") * 150_000

    assert Redactor(KEY).redact_text(text) == text
