"""Values that a rule compares with, in which every character can be seen."""

from collections.abc import Iterator

from triaged.rules.task import Json
from triaged.rulesfile.lists import find_hidden
from triaged.rulesfile.parser.containers import JsonValue
from triaged.rulesfile.parser.nodes import Node
from triaged.rulesfile.parser.values import Schema
from triaged.rulesfile.problems import INVALID, Invalid, ProblemCollector


class Literal:
    """A value to compare with, in which every character can be seen."""

    _any = JsonValue()

    def read(self, node: Node, report: ProblemCollector) -> "Json | Invalid":
        value = self._any.read(node, report)
        if isinstance(value, Invalid):
            return INVALID
        problem = next(filter(None, map(find_hidden, _strings_in(value))), "")
        return report.error(node.place, problem) if problem else value

    def schema(self) -> Schema:
        return self._any.schema()


def _strings_in(value: Json) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _strings_in(item)
        case dict():
            yield from value
            for item in value.values():
                yield from _strings_in(item)
        case _:
            return
