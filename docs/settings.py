"""Write the tables of docs/aserve.md (options, settings, limits) and the schema of aserve.toml.

python docs/settings.py, or make docs-settings. With --check nothing is written: exit code 1 if the
page is out of date.
"""

import ast
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aserve.cli.parser import build_parser
from aserve.config.fields import SettingFields
from aserve.config.kinds import KINDS, SETTING_KINDS
from aserve.config.limit_values import limit_unit
from aserve.config.names import key_of
from aserve.config.settings import Settings
from aserve.config.value_kinds import Kind
from aserve.config.virtual_hosts import OF_A_SITE, OF_THE_PROCESS
from aserve.http1.limits import UNLIMITED, Limits

PAGE = Path(__file__).with_name("aserve.md")
SCHEMA = Path(__file__).with_name("aserve.schema.json")
_BEGIN, _END = "<!-- {}: written by make docs-settings -->", "<!-- end of {} -->"
_SETTING_UNITS = {
    "workers": "processes",
    "threads": "threads per worker",
    "queue": "requests per worker",
    "grace": "seconds",
    "page_size": "entries",
    "archive_max_bytes": "bytes",
    "archive_max_files": "files and directories",
    "max_upload": "bytes",
    "quota": "bytes",
    "min_free": "bytes",
    "response_cache": "bytes per worker",
    "bandwidth": "bytes per second",
}
_SHOWN: dict[Any, str] = {None: "auto", UNLIMITED: "unlimited"}

_JSON_TYPES = {str: "string", int: "integer", bool: "boolean", list: "array", dict: "object"}

_PYTHON_ONLY = {"queue", "grace", "handlers"}
"""What only a program can set."""

_TABLES = {"sites": "`[[site]]`", "paths": "`[[path]]`"}
"""What aserve.toml has tables for, and the command line nothing."""

_OTHER_NAMES = {"paths": "root"}
"""Parameters of the command whose setting has another name."""


def main() -> int:
    """Write the page, or check it."""
    text = PAGE.read_text(encoding="utf-8")
    new, described = updated(text), schema()
    if "--check" in sys.argv[1:]:
        return int(new != text or SCHEMA.read_text(encoding="utf-8") != described)
    PAGE.write_text(new, encoding="utf-8")
    SCHEMA.write_text(described, encoding="utf-8")
    return 0


def updated(text: str) -> str:
    """Return the page with every table as the code has it now."""
    for name, table in (("options", options()), ("settings", settings()), ("limits", limits())):
        begin, end = _BEGIN.format(name), _END.format(name)
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
        text = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return text


def options() -> str:
    """Return a row for each argument and option of the command."""
    rows = [["option", "default", "meaning"]]
    parameters = _parameters()
    for group in dict.fromkeys(one.rich_help_panel for one in parameters):
        rows.append([f"**{group}**", "", ""])
        rows += [
            [_spelling(one), _default(one), one.help]
            for one in parameters
            if one.rich_help_panel == group
        ]
    return _table(rows)


def settings() -> str:
    """Return a row for each field of Settings."""
    names = {_OTHER_NAMES.get(one.name, one.name): one for one in _parameters()}
    types = inspect.get_annotations(SettingFields)
    rows = [["setting", "type", "default", "unit", "option", "meaning"]]
    comments = dict(_comments(SettingFields))
    for one in dataclasses.fields(Settings):
        if one.name in {"sources", "htpasswd_lines"}:  # what others have written: no settings
            continue
        kind = types[one.name]
        kind_text = re.sub(r"\baserve\.[a-z0-9_.]+\.", "", inspect.formatannotation(kind))
        kind_text = re.sub(r"\b(?:pathlib|collections)\.(?:_local\.|abc\.)?", "", kind_text)
        option = _TABLES.get(one.name) or (
            "none" if one.name in _PYTHON_ONLY else f"`{_name(names[one.name])}`"
        )
        unit = _SETTING_UNITS.get(one.name, "")
        row = [f"`{one.name}`", f"`{kind_text}`", _field_default(one), unit, option]
        rows.append([*row, comments[one.name]])
    return _table(rows)


def limits() -> str:
    """Return a row for each limit, with its unit and its comment in the code."""
    rows = [["limit", "default", "unit", "may be unlimited", "meaning"]]
    comments = dict(_comments(Limits))
    for one in dataclasses.fields(Limits):
        unit = limit_unit(one.name)
        optional = "yes" if one.metadata else "no"
        name = f"`{one.name.replace('_', '-')}`"
        default = _SHOWN.get(one.default) or f"{one.default:,}"
        meaning = _on_command_line(comments.get(one.name, ""))
        rows.append([name, default, unit, optional, meaning])
    return _table(rows)


def schema() -> str:
    """Return the JSON schema of aserve.toml, by which editors complete and check it."""
    texts = {one.name: str(one.help) for one in _parameters()} | dict(_comments(SettingFields))
    keys = {name: {"description": texts[name], **_json_type(kind)} for name, kind in KINDS.items()}
    of_a_site = {name: keys[name] for name in SETTING_KINDS.keys() - OF_THE_PROCESS}
    of_a_path = {name: of_a_site[name] for name in of_a_site.keys() - OF_A_SITE}
    text: dict[str, Any] = {"type": "string"}
    paths = _json_tables({"match": text}, of_a_path)
    hosts = {"type": ["string", "array"], "items": text}
    sites = _json_tables({"hosts": hosts, "root": keys["root"]}, of_a_site, {"path": paths})
    document = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "aserve.toml",
        "description": "The configuration of aserve: each key is an option of its command line.",
        **_json_table({}, keys, {"site": sites, "path": paths}),
    }
    return json.dumps(document, indent=2) + "\n"


def _json_tables(*properties: dict[str, Any]) -> dict[str, Any]:
    """Return what tables in an array have: what is required, settings by name, and other keys."""
    return {"type": "array", "items": _json_table(*properties)}


def _json_table(
    required: dict[str, Any], settings: dict[str, Any], others: dict[str, Any] | None = None
) -> dict[str, Any]:
    keys = {key_of(name): settings[name] for name in KINDS if name in settings}
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": {**keys, **required, **(others or {})},
    }


def _json_type(kind: Kind) -> dict[str, Any]:
    types = [_JSON_TYPES[one] for one in kind.types]
    items = {"items": {"type": "string"}} if list in kind.types else {}
    return {"type": types[0] if len(types) == 1 else types, **items}


def _on_command_line(comment: str) -> str:
    """Return a limit's comment with names and values as --limit takes them."""
    for one in dataclasses.fields(Limits):
        if "_" in one.name:
            comment = comment.replace(one.name, one.name.replace("_", "-"))
    return comment.replace("None:", "auto:")


def _parameters() -> list[Any]:
    """Return the arguments and options of the command that belong to a group."""
    return [one for one in build_parser("serve").params if one.rich_help_panel]


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or "DIR")
    return ", ".join(sorted(parameter.opts, key=len))


def _spelling(parameter: Any) -> str:
    """Return how the option is written, with its value."""
    name = _name(parameter)
    if parameter.param_type_name == "argument" or getattr(parameter, "is_flag", False):
        return f"`{name}`"
    value = str(parameter.metavar)
    return f"`{name}{value}`" if value.startswith("[=") else f"`{name} {value}`"


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return f"`{parameter.show_default}`"
    return "off" if getattr(parameter, "is_flag", False) else "none"


def _field_default(one: dataclasses.Field[Any]) -> str:
    if one.default is not dataclasses.MISSING:
        is_large = type(one.default) is int and one.default >= 10_000
        return f"{one.default:,}" if is_large else f"`{one.default!r}`"
    return "required" if one.default_factory is dataclasses.MISSING else "`Limits()`"


def _comments(kind: type) -> Iterator[tuple[str, str]]:
    """Yield each field with the string that follows it in the source."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            text = ast.literal_eval(following.value)
            yield statement.target.id, " ".join(str(text).split())


def _table(rows: list[list[str]]) -> str:
    head, *body = [[_without_bars(cell) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _without_bars(cell: str) -> str:
    """Write `A|B` as `A` or `B`: renderers disagree on how to escape a bar in a table's code."""
    return re.sub(
        r"`([^`]*\|[^`]*)`",
        lambda code: " or ".join(f"`{part.strip()}`" for part in code[1].split("|")),
        cell,
    )


if __name__ == "__main__":
    sys.exit(main())
