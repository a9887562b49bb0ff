"""RE2 behind the core's ``Pattern``: linear time on hostile text, no other engine."""

from dataclasses import dataclass, field
from typing import Any, Final

import re2

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False


class PatternRefusedError(ValueError):
    """The pattern cannot be used; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Re2Pattern:
    """A pattern compiled by RE2; equal to another of the same source."""

    source: str
    _compiled: Any = field(compare=False, repr=False)

    def search(self, text: str, /) -> bool:
        """Say whether the pattern occurs anywhere in the text (valid Unicode)."""
        return self._compiled.search(text) is not None


def compile_pattern(source: str) -> Re2Pattern:
    """Compile a pattern.

    Raises:
        PatternRefusedError: RE2 does not support it, or would read it in a way that
            its author hardly meant.
    """
    try:
        return Re2Pattern(source, re2.compile(source, _OPTIONS))
    except re2.error as error:
        raise PatternRefusedError(str(error)) from error
