"""Finds texts that are compared as they stand, and were probably meant otherwise."""

import re
from typing import Final

# What hardly stands in a text, and often in a pattern.
_OF_PATTERNS: Final = re.compile(
    r"""
      ^ \(\? [a-zA-Z]+ [:)]                     # (?i)
    | ^ \\b | \\b $                             # \bword\b
    | \\ [dDwWsS] (?: [+*?{] | $ | \\ )          # \d+
    | (?<! \.) \. (?: \* | \+ (?! \w) )          # .*
    | \[ \^? (?: a-z | A-Z | 0-9 )              # [a-z]
    | ^ \^ \w | [a-z]{3} \$ $                    # ^word, word$
    | ^ \* | \w \* $                            # word*, as in a shell
    | [^\W\d] \| [^\W\d]                        # one|other
    | ^ / [^/]+ / [gimsux]+ $                   # /word/i
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED: Final = re.compile(r"(['\"])[^'\"]+\1|.+,", re.DOTALL)


def find_text_doubt(text: str) -> str:
    """Return why a text was probably meant otherwise; empty if it was not."""
    if _OF_PATTERNS.search(text) is not None:
        return (
            "looks like a pattern, but is compared as it stands; write regex for a"
            " pattern"
        )
    if _QUOTED.fullmatch(text) is not None:
        return (
            "has quotes around it or a comma behind it, which are part of the text that"
            " is looked for; drop them if only the text is meant"
        )
    return ""
