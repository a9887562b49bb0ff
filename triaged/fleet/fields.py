"""Field types of a fleet file: settings, paths of rules files, keys and labels.

Values are validated by the functions that validate the environment. What stands under
``key`` is never shown, because it may be the key itself.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Final, Generic, TypeVar

from triaged.leadlex.api_key import KEY_PREFIX
from triaged.rulesfile.parser.nodes import Mapping, Node, Scalar
from triaged.rulesfile.parser.scalars import Kind, kind_at, kind_of, suggest_fix
from triaged.rulesfile.parser.values import (
    Duration,
    Schema,
    String,
    explain,
    report_unexpected,
)
from triaged.rulesfile.problems import (
    INVALID,
    Invalid,
    Location,
    ProblemCollector,
    quote_for_message,
)
from triaged.setting_values import parse_poll_interval

MAX_LABEL: Final = 200

_KEY_FORM: Final = "write key: {file: keys/acme} or key: {env: ACME_KEY}"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_LABEL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,62}", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the key of a workspace is: in a file, or in a variable."""

    text: str
    place: Location
    in_file: bool


@dataclass(frozen=True, slots=True)
class RulesPath:
    """A rules file as a fleet file names it."""

    text: str
    place: Location


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """A value that the environment may give too, validated by the same function.

    ``kinds`` are those of the scalars that it may be written as, ``form`` its schema.
    """

    label: str
    parse: Callable[[str], T]
    kinds: frozenset[Kind]
    form: Schema

    def read(self, node: Node, report: ProblemCollector) -> T | Invalid:
        if not isinstance(node, Scalar) or kind_at(node) not in self.kinds:
            return report_unexpected(self.label, node, report, self._advice(node))
        try:
            return self.parse(node.value)
        except ValueError as error:
            return report.error(node.place, str(error))

    def _advice(self, node: Node) -> str:
        if not isinstance(node, Scalar):
            return ""
        if Kind.STRING not in self.kinds:
            is_number = not node.plain and kind_of(node.value) in self.kinds
            return f"write it {'without quotes' if is_number else 'in plain digits'}"
        kind = kind_at(node)
        if kind is Kind.NULL:
            return "write one"
        is_number = kind in {Kind.INTEGER, Kind.DECIMAL}
        return "" if is_number else suggest_fix(node.value)

    def schema(self) -> Schema:
        return self.form


_DURATION: Final = Duration()


class PollInterval:
    """A duration that is a possible poll interval."""

    def read(self, node: Node, report: ProblemCollector) -> timedelta | Invalid:
        duration = _DURATION.read(node, report)
        if isinstance(duration, Invalid) or not isinstance(node, Scalar):
            return INVALID
        try:
            return parse_poll_interval(node.value)
        except ValueError as error:
            return report.error(node.place, str(error))

    def schema(self) -> Schema:
        return _DURATION.schema()


class RulesPathType:
    """The path of a rules file below the directory of the fleet."""

    _text = String("a path")

    def read(self, node: Node, report: ProblemCollector) -> RulesPath | Invalid:
        text = self._text.read(node, report)
        if isinstance(text, Invalid):
            return INVALID
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or not text.isprintable():
            shown = quote_for_message(text)
            message = f"{shown} is no path below the directory of the fleet"
            return report.error(node.place, f"{message}; put the rules file there")
        return RulesPath(text, node.place)

    def schema(self) -> Schema:
        return self._text.schema()


def check_unique(
    paths: tuple[RulesPath, ...], _place: Location, report: ProblemCollector
) -> tuple[RulesPath, ...]:
    """Report each rules file that is named again."""
    seen: set[PurePosixPath] = set()
    for path in paths:
        if PurePosixPath(path.text) in seen:
            shown = quote_for_message(path.text)
            report.error(path.place, f"{shown} again; name each rules file once")
        seen.add(PurePosixPath(path.text))
    return paths


class Key:
    """Where the key is; whatever else stands there is refused without being shown."""

    def read(self, node: Node, report: ProblemCollector) -> KeyPlace | Invalid:
        # What is inside is not reported at its own place: the API key may be a name
        # there, and names are part of the path.
        place = node.place
        if isinstance(node, Scalar):
            message = "the key itself must not stand here (it is not shown)"
            return report.error(place, f"{message}; {_KEY_FORM}")
        pairs = node.pairs if isinstance(node, Mapping) else ()
        names = [k.value for k, _ in pairs if isinstance(k, Scalar)]
        if len(names) != 1 or len(pairs) != 1 or names[0] not in {"file", "env"}:
            message = "expected one of file and env, found something else"
            return report.error(place, f"{message} (it is not shown); {_KEY_FORM}")
        value = pairs[0][1]
        if not isinstance(value, Scalar) or kind_at(value) is not Kind.STRING:
            return report.error(place, f"expected a string; {_KEY_FORM}")
        in_file = names[0] == "file"
        problem = _key_problem(value.value, in_file=in_file)
        if problem:
            return report.error(value.place, f"{problem} (it is not shown)")
        return KeyPlace(value.value, value.place, in_file)

    def schema(self) -> Schema:
        text: Schema = {"type": "string", "pattern": r"\S"}
        variable: Schema = {"type": "string", "pattern": f"^{_VARIABLE.pattern}$"}
        return {
            "type": "object",
            "properties": {
                "file": text
                | _about("File", "A private file, relative to the directory."),
                "env": variable | _about("Variable", "A variable of the environment."),
            },
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
            **explain(_KEY_FORM),
        }


def _about(title: str, description: str) -> Schema:
    return {"title": title, "description": description}


def _key_problem(text: str, *, in_file: bool) -> str:
    if text.startswith(KEY_PREFIX) or PurePosixPath(text).name.startswith(KEY_PREFIX):
        return "this is a key, not the name of a file or variable; put it into a file"
    if in_file and (not text.strip() or not text.isprintable()):
        return "expected the path of a file"
    if not in_file and not _VARIABLE.fullmatch(text):
        return "expected the name of a variable such as ACME_KEY"
    return ""


def check_labels(
    labels: dict[str, str], place: Location, report: ProblemCollector
) -> dict[str, str] | Invalid:
    """Report each label with a name that is not allowed, or too long a value."""
    found = len(report.problems)
    for name, value in labels.items():
        shown = quote_for_message(name)
        if not _LABEL_NAME.fullmatch(name):
            form = "use letters, digits, '_', '.', '/' and '-', a letter first"
            report.error(place, f"label {shown} cannot be selected by; {form}")
        if len(value) > MAX_LABEL or not value.isprintable():
            why = f"expected a value of at most {MAX_LABEL} printable characters"
            report.error(place, f"label {shown}: {why}")
    return labels if len(report.problems) == found else INVALID
