"""Loads the files of a fleet; what is wrong in one costs nothing else.

Rules files are only looked for here; the process that runs the workspace loads and
watches them.
"""

import contextlib
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from triaged.errors import ConfigError, Problem
from triaged.fleet.candidates import Candidate, Surroundings, refuse_shared, without_key
from triaged.fleet.files import MAX_BYTES, FleetFile, read_fleet_files
from triaged.fleet.parser import START, FleetDocument, read_fleet_file
from triaged.fleet.workspace import LoadedFleet, Rejection
from triaged.rulesfile.parser.nodes import compose
from triaged.rulesfile.problems import ProblemCollector

_IF_LARGER: Final = "; divide it into several files, named NAME.fleet.yaml"
_OF_A_WORKSPACE: Final = re.compile(r"workspaces\[([0-9]+)\]")


def load_fleet(directory: Path, environ: Mapping[str, str]) -> LoadedFleet:
    """Load ``fleet.yaml`` and all ``*.fleet.yaml`` of a directory.

    Never raises: a file or workspace that cannot be used is in the result, with every
    problem. ``environ`` has the variables that keys may be in.
    """
    read = read_fleet_files(directory)
    rejections: list[Rejection] = []
    if read.error:
        problem = Problem(str(directory), 0, 0, "", read.error)
        rejections.append(Rejection(file=None, name=None, problems=(problem,)))
    surroundings = Surroundings(directory, environ)
    candidates: list[Candidate] = []
    for file in read.files:
        found, rejected = _load_file(file, surroundings)
        candidates += found
        rejections += rejected
    refuse_shared(candidates)
    refused = [each for each in candidates if each.problems]
    rejections += [each.rejection() for each in refused]
    return LoadedFleet(
        workspaces=tuple(
            c.workspace for c in candidates if c.workspace and not c.problems
        ),
        rejections=tuple(sorted(rejections, key=_place)),
        warnings=read.warnings,
        fingerprint=read.fingerprint,
        rules=tuple(dict.fromkeys(c.rules for c in candidates if c.rules)),
        awaited=tuple(dict.fromkeys(path for each in refused for path in each.files)),
    )


def _place(rejection: Rejection) -> tuple[str, int, int]:
    first = rejection.problems[0]
    return rejection.file or "", first.line, first.column


def _load_file(
    file: FleetFile, surroundings: Surroundings
) -> tuple[list[Candidate], list[Rejection]]:
    """Load one file: its workspaces, and what is wrong with the file as a whole."""
    name = str(file.path)
    if file.error:
        problem = Problem(name, 0, 0, "", f"cannot be read: {file.error}")
        return [], [Rejection(file=name, name=None, problems=(problem,))]
    report = ProblemCollector(name, files=[name])
    document: FleetDocument | None = None
    # The report keeps the problems.
    with contextlib.suppress(ConfigError):
        root = compose(
            file.data, report, start=START, most=MAX_BYTES, if_larger=_IF_LARGER
        )
        document = read_fleet_file(root, report)
    problems = [without_key(each) for each in report.in_order(report.problems)]
    of_entry: dict[int, list[Problem]] = defaultdict(list)
    for problem in problems:
        found = _OF_A_WORKSPACE.match(problem.path)
        of_entry[int(found[1]) if found else -1].append(problem)
    if document is None or -1 in of_entry:
        return [], [Rejection(file=name, name=None, problems=tuple(problems))]
    candidates = [
        surroundings.candidate(
            entry, document.defaults, file=name, problems=of_entry.pop(entry.index, [])
        )
        for entry in document.entries
    ]
    # An entry that is no mapping has problems, but no values.
    nameless = [
        Rejection(file=name, name=None, problems=tuple(problems))
        for problems in of_entry.values()
    ]
    return candidates, nameless
