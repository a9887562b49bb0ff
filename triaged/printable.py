"""Text from outside, made safe to look at."""


def printable(text: str, *, keep: str = "") -> str:
    """Show control, format and unassigned characters as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
