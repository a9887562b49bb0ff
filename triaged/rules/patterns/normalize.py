"""Brings patterns into Unicode NFC, the form of the texts they are applied to."""

import unicodedata

from triaged.rules.patterns.syntax import (
    Assertion,
    CharClass,
    Choice,
    Letter,
    Node,
    Repeat,
    Sequence,
    bracket_parts,
    leaves,
    letter_runs,
    nodes,
)


def to_nfc(source: str, tree: Node) -> str:
    """Return the pattern with its literal text in NFC; operators are unchanged."""
    if unicodedata.is_normalized("NFC", source):
        return source
    written: list[str] = []
    end = 0
    for run in letter_runs(tree, lambda letter: letter.text == letter.char):
        text = "".join(letter.char for letter in run)
        written += (source[end : run[0].start], unicodedata.normalize("NFC", text))
        end = run[-1].end
    return "".join((*written, source[end:]))


def find_loose_mark(tree: Node) -> str | None:
    """Return a message on a character that cannot occur there in NFC text, or None.

    Such as a combining mark that does not follow a letter, is repeated or stands in a
    bracket, or an escape for a part of a composed character.
    """
    if all(_is_ascii(leaf) for leaf in leaves(tree)):
        return None
    for node in nodes(tree):
        match node:
            case CharClass(text=text) if text.startswith("["):
                loose = next(filter(_is_mark, bracket_parts(text)), None)
            case Letter(char=char) if not unicodedata.is_normalized("NFC", char):
                loose = char
            case Sequence(parts):
                loose = _loose_in(parts)
            case Choice(options):
                loose = next(filter(None, map(_first_mark, options)), None)
            case Repeat(part):
                loose = _first_mark(part)
            case _:
                loose = None
        if loose is not None:
            return loose
    return _first_mark(tree)


def _loose_in(parts: tuple[Node, ...]) -> str | None:
    text = ""
    for index, part in enumerate(parts):
        mark = _first_mark(part)
        text = text + part.char if isinstance(part, Letter) else ""
        alone = len(text) <= 1 or not unicodedata.is_normalized("NFC", text)
        if mark is not None and index > 0 and alone:
            return mark
    return None


def _first_mark(node: Node) -> str | None:
    match node:
        case Letter(char=char) if _is_mark(char):
            return char
        case Sequence((part, *_)):
            return _first_mark(part)
        case _:
            return None


def _is_ascii(leaf: Letter | CharClass | Assertion) -> bool:
    return (leaf.char if isinstance(leaf, Letter) else leaf.text).isascii()


def _is_mark(text: str) -> bool:
    """Return whether this character may combine with the letter before it."""
    if len(text) != 1:
        return False
    jamo = "\u1161" <= text <= "\u1175" or "\u11a8" <= text <= "\u11c2"
    return unicodedata.combining(text) != 0 or jamo
