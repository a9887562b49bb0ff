"""Write the pages and pictures of the documentation that come from the code.

``python -m docs.generate`` writes them; ``--check`` only names those that differ.
"""

import html
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from docs.log_events import LOG_EVENTS, OF_A_DAEMON, log_events
from docs.page_picture import page_picture
from docs.plan_picture import plan_picture
from triaged.cli import COMMAND_MODULES, app, exit_codes
from triaged.cli.help import summary
from triaged.cli.output import CAUSES
from triaged.cli.task_ids import MIN_PREFIX
from triaged.daemon.fleet_metrics import FLEET_DEFINITIONS, LATENESS, MAX_DETAILED
from triaged.daemon.metrics import DEFINITIONS, HISTOGRAMS
from triaged.fleet.parser import fleet_schema
from triaged.quota import PLANS
from triaged.rulesfile.parser.file import json_schema
from triaged.setting_values import DEFAULT_URL
from triaged.settings import SETTINGS, env_name

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
GOLDEN: Final = ROOT / "tests/golden"
NOTICE: Final = "<!-- Written by docs/generate.py from the code; do not edit. -->"

EXIT_CODES: Final = {
    "OK": "Done; also a daemon ended by SIGTERM or SIGINT.",
    "FAILED": "Failed while running; `status`: not running or not healthy.",
    "USAGE": "The command line is wrong.",
    "TESTS_FAILED": "A test in the rules file failed.",
    "INCOMPLETE": "Incomplete: quota, a limit, an open breaker or faults.",
    "UNREACHABLE": "The API cannot be reached.",
    "KEY_REFUSED": "LeadLex refused the key.",
    "CONFIG": "Rules or settings are wrong.",
}

WITHOUT_FLAG: Final = {
    "api_key": "The API key itself; as a flag, other users of the machine could see it."
}

# Defaults that the help of a flag does not give.
DEFAULTS: Final = {
    "api_key_file": "systemd credential `api-key`, if present",
    "api_url": f"`{DEFAULT_URL}`",
    "rate_limit": "from the plan",
    "daily_limit": "from the plan",
    "state_dir": "`$STATE_DIRECTORY`, else the XDG state directory",
}

# What the help of a flag has no room for.
NOTES: Final = {
    "api_key_file": "It must be private: `chmod 600`, or owned by root, 0440, with a"
    " group of ours. It is re-read for every call, so the key can be rotated.",
    "api_url": "A ledger belongs to one URL.",
    "rules": "It is watched by content.",
    "api_plan": " · ".join(
        f"`{name}`: {plan.per_minute:,} a minute, {plan.per_day:,} a day"
        for name, plan in PLANS.items()
    )
    + ".",
    "reserve": "It is left to people and other tools.",
    "poll_interval": "It is lengthened when the quota cannot carry it.",
    "page": "See [Read the page and the dashboard](../how-to/dashboard.md).",
    "page_user_header": "The proxy must overwrite it.",
}


def pages() -> dict[str, str]:
    """Return every generated file's text, by its path under ``docs/``."""
    return {
        "reference/rules.md": rules_page(),
        "reference/fleet.md": fleet_page(),
        "reference/commands.md": commands_page(),
        "reference/settings.md": settings_page(),
        "reference/metrics.md": metrics_page(),
        "reference/log-events.md": log_events_page(),
        "reference/exit-codes.md": exit_codes_page(),
        "reference/json.md": json_page(),
        "how-to/recipes.md": recipes_page(),
        "images/plan.svg": plan_picture(),
        "images/page.svg": page_picture(),
    }


def rules_page() -> str:
    """Describe each key of the rules file, from its JSON Schema."""
    schema = json_schema()
    parts = [
        (
            "Every key, from the JSON Schema that `triaged schema` prints."
            " `[]` stands for each entry of a list, `*` for a metadata key."
        )
    ]
    for name, part in schema["properties"].items():
        rows = [row for row in _keys(part, name) if row[1]]
        parts.append(f"## {name}\n\n" + _table(("key", "value", "meaning"), rows))
    match = schema["$defs"]["match"]
    rows = [row for row in _keys(match, "") if row[1]]
    parts.append(
        "## match\n\nStands under `rules[].match` and as each entry of `protect`.\n\n"
        + _table(("key", "value", "meaning"), rows)
    )
    parts.append(
        "## Causes\n\nWhy a task is left: the code in JSON, and what people read.\n\n"
        + _table(("code", "meaning"), [(_code(c), w) for c, w in CAUSES.items()])
    )
    return _page("Rules file", *parts)


def fleet_page() -> str:
    """Describe each key of a fleet file, from its JSON Schema."""
    schema = fleet_schema()
    parts = [
        (
            "Every key, from the JSON Schema that `triaged schema --fleet` prints."
            " `[]` stands for each entry of a list, `*` for a label."
            " [Fleet files](../how-to/fleet-files.md) explains how to use them."
        )
    ]
    for name, part in schema["properties"].items():
        rows = [row for row in _keys(part, name) if row[1]]
        parts.append(f"## {name}\n\n" + _table(("key", "value", "meaning"), rows))
    return _page("Fleet file", *parts)


def _keys(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Yield a row for this part of the schema, and for each part below it."""
    yield _code(path), _value(schema), _prose(schema.get("description", ""))
    for choice in (schema, *schema.get("anyOf", ())):
        for name, part in choice.get("properties", {}).items():
            yield from _keys(part, f"{path}.{name}" if path else name)
        if isinstance(more := choice.get("additionalProperties"), dict):
            for part in more.get("anyOf", (more,)):
                for name, below in part.get("properties", {}).items():
                    yield from _keys(below, f"{path}.*.{name}")
        items = choice.get("items", {})
        for name, part in items.get("properties", {}).items():
            yield from _keys(part, f"{path}[].{name}")


def _value(schema: dict[str, Any]) -> str:
    """Say what may stand at a place."""
    if "$ref" in schema or "allOf" in schema:
        return "a [match](#match)"
    if "const" in schema:
        return _code(json.dumps(schema["const"]))
    if "enum" in schema:
        return ", ".join(_code(str(each)) for each in schema["enum"])
    if "anyOf" in schema:
        found = dict.fromkeys(_value(each) for each in schema["anyOf"])
        return " or ".join(found)
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_value(schema.get('items', {})) or 'values'}"
    if kind == "string" and schema.get("pattern", "").startswith("^([0-9]{1,9}[smhdw]"):
        return "duration"
    if kind == "string" and schema.get("format") == "re2":
        return "pattern"
    return {"object": "mapping"}.get(str(kind), str(kind or ""))


def commands_page() -> str:
    """Describe each command and its flags, from click."""
    summaries = [
        (f"[`{name}`](#{name})", _prose(summary(name))) for name in COMMAND_MODULES
    ]
    parts = [
        (
            "`triaged COMMAND --help` prints the same."
            " Flags that name a variable are [settings](settings.md)."
            " A task id may be shortened to a unique prefix of at least"
            f" {MIN_PREFIX} characters. Commands that read have `--format json`"
            " ([JSON outputs](json.md)); [exit codes](exit-codes.md) are the same for"
            " all."
        ),
        _table(("command", "does"), summaries),
    ]
    parent = click.Context(app, info_name="triaged", **app.context_settings)
    for name in COMMAND_MODULES:
        command = _command(name)
        parts += _command_parts(command, click.Context(command, parent, name), "##")
    return _page("Commands", *parts)


def _command_parts(
    command: click.Command, context: click.Context, level: str
) -> Iterator[str]:
    """Yield the part of a command, and those of the commands below it."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    rows = [
        (_code(record[0]), _prose(_squeeze(record[1])))
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) and parameter.name
    ]
    text = html.escape(command.help or "", quote=False).strip()
    table = _table(("flag", "meaning"), rows)
    title = context.command_path.removeprefix("triaged ")
    yield f"{level} {title}\n\n```text\n{usage}\n```\n\n{text}\n\n{table}"
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _command_parts(
                below, click.Context(below, context, name), f"{level}#"
            )


def _command(name: str) -> click.Command:
    context = click.Context(app)
    command = app.get_command(context, name)
    if command is None:
        raise LookupError(name)
    return command


def settings_page() -> str:
    """Describe each setting, from its flag's help and the notes above."""
    found: dict[str, str] = {}
    for name in COMMAND_MODULES:
        for parameter in _command(name).params:
            text = getattr(parameter, "help", None) or ""
            if variable := re.search(r" \[env: (\w+)\]$", text):
                found[variable[1]] = text[: variable.start()]
    rows = []
    for setting in SETTINGS:
        variable, flag = env_name(setting), f"--{setting.replace('_', '-')}"
        if variable not in found:
            meaning = _prose(WITHOUT_FLAG[setting])
            rows.append((_code(variable), "—", DEFAULTS.get(setting, ""), meaning))
            continue
        text, default = _split_default(found[variable])
        default = DEFAULTS.get(setting, default)
        meaning = " ".join(filter(None, (_prose(text), NOTES.get(setting))))
        rows.append((_code(variable), _code(flag), default, meaning))
    return _page(
        "Settings",
        "Each setting is an environment variable, and a flag of the"
        " [commands](commands.md) that use it; the flag wins. An empty value is unset."
        " An unknown `TRIAGED_*` variable is warned of.",
        _table(("variable", "flag", "default", "meaning"), rows),
    )


def _split_default(text: str) -> tuple[str, str]:
    """Return a help text without its default, and the default; a value as code."""
    found = re.search(r" \[default: (.+)\]", text)
    if found is None:
        return text, ""
    default = found[1]
    shown = _prose(default) if " " in default else _code(default)
    return text[: found.start()] + text[found.end() :], shown


def metrics_page() -> str:
    """Describe each metric, from the table that the daemon serves."""
    rows = [
        (
            _code(f"triaged_{name}"),
            "counter" if name.endswith("_total") else "gauge",
            ", ".join(map(_code, labels)),
            _prose(text),
        )
        for name, text, labels in (*DEFINITIONS, *FLEET_DEFINITIONS)
    ]
    rows += [
        (
            _code(f"triaged_{each.name}"),
            "histogram",
            ", ".join(map(_code, each.labels)),
            _prose(each.help),
        )
        for each in (*HISTOGRAMS, LATENESS)
    ]
    return _page(
        "Metrics",
        "`/metrics` serves them as Prometheus and OpenMetrics text. All have the label"
        " `workspace` too; label sets are closed and present from the start.\n\n"
        "The metrics of a fleet itself have no `workspace`: " + _fleet_names() + "."
        f" Above {MAX_DETAILED} workspaces `/metrics` has sums without that label, and"
        " without `rule`; `/metrics?workspace=NAME` has the series of one workspace.",
        _table(("metric", "kind", "labels", "meaning"), sorted(rows)),
    )


def _fleet_names() -> str:
    names = [f"triaged_{each.name}" for each in (*FLEET_DEFINITIONS, LATENESS)]
    return ", ".join(map(_code, names))


def log_events_page() -> str:
    """List each log event with its level and keys, from the calls in the code."""
    rows = [
        (_code(event), " or ".join(sorted(levels)), ", ".join(map(_code, keys)), text)
        for event, (levels, keys) in sorted(log_events().items())
        for text in [LOG_EVENTS.get(event, "")]
    ]
    return _page(
        "Log events",
        "Logs are events on stderr: JSON, or lines for people on a terminal. Every"
        " event has `event`, `level`, `timestamp` and `workspace`; those of a cycle"
        " have `cycle` too. In a fleet, what concerns the whole daemon, or rules that"
        f" workspaces share, has no `workspace`: {', '.join(map(_code, OF_A_DAEMON))}."
        " Texts and metadata of tasks are not logged.",
        _table(("event", "level", "keys", "meaning"), rows),
    )


def exit_codes_page() -> str:
    """List the exit codes."""
    codes = {
        name: value
        for name, value in vars(exit_codes).items()
        if name.isupper() and type(value) is int
    }
    rows = [(str(value), EXIT_CODES[name]) for name, value in codes.items()]
    return _page("Exit codes", _table(("code", "meaning"), rows))


def json_page() -> str:
    """Show what ``--format json`` prints, from the golden files of the commands."""
    parts = ["Each example is what a test compares with the command's real output."]
    for path in sorted((GOLDEN / "commands").glob("*.json")):
        name, _, variant = path.stem.partition("-")
        if name not in COMMAND_MODULES or name == "schema":
            continue
        document = json.loads(path.read_text())
        rows = list(_fields(document, ""))
        if rows:
            of = f" ({variant})" if variant else ""
            parts.append(
                f"## {name}{of}\n\n" + _table(("field", "type", "example"), rows)
            )
    return _page("JSON outputs", *parts)


def _fields(document: object, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield each field of a document once: its path, its types and an example."""
    found: dict[str, list[object]] = {}
    _collect(document, path, found)
    for name, values in found.items():
        below = (f"{name}.", f"{name}[")
        if all(it in (None, []) for it in values) and any(
            other.startswith(below) for other in found
        ):
            continue
        kinds = " or ".join(dict.fromkeys(_kind(value) for value in values))
        example = next((it for it in values if it is not None), None)
        shown = json.dumps(example, ensure_ascii=True)
        yield _code(name), kinds, _code(shown if len(shown) <= 60 else shown[:59] + "…")  # noqa: PLR2004 - what fits


def _collect(value: object, path: str, found: dict[str, list[object]]) -> None:
    if isinstance(value, dict) and value:
        for name, below in value.items():
            _collect(below, f"{path}.{name}" if path else name, found)
    elif isinstance(value, list) and value:
        for below in value:
            _collect(below, f"{path}[]", found)
    else:
        found.setdefault(path or "[]", []).append(value)


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "list"
        case _:
            return "mapping"


def recipes_page() -> str:
    """Show each recipe, headed by the comment on its first line."""
    parts = [
        (
            "Each recipe is a whole rules file with its tests, in `docs/recipes`. Copy"
            " the rules into your own file, add `mode: observe`, and adapt the tests."
        )
    ]
    for path in sorted((DOCS / "recipes").glob("*.yaml")):
        heading, _, body = path.read_text().partition("\n")
        title = path.stem.replace("-", " ").capitalize()
        text = heading.removeprefix("# ")
        parts.append(f"## {title}\n\n{text}\n\n```yaml\n{body.strip()}\n```")
    return _page("Recipes of rules", *parts)


def _page(title: str, *parts: str) -> str:
    body = "\n\n".join(part.rstrip() for part in parts)
    return f"# {title}\n\n{NOTICE}\n\n{body}\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _code(text: str) -> str:
    """Return a text as code in a table's cell; a bar would end the cell."""
    if "|" in text or "`" in text:
        shown = html.escape(text, quote=False).replace("|", "&#124;")
        return f"<code>{shown.replace('`', '&#96;')}</code>"
    return f"`{text}`" if text else ""


def _prose(text: str) -> str:
    escaped = html.escape(text, quote=False).replace("|", "&#124;")
    return re.sub(r"([*_\[\]])", r"\\\1", escaped)


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def main(arguments: Sequence[str]) -> int:
    """Write what differs, or only name it."""
    differs = []
    for name, text in pages().items():
        path = DOCS / name
        if not path.exists() or path.read_text() != text:
            differs.append(f"docs/{name}")
            if "--check" not in arguments:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    for name in differs:
        sys.stdout.write(f"{name}\n")
    return 1 if differs and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
