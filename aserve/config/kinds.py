"""How the values of each setting are written: on the command line, in a variable, and in TOML.

One row says it for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from aserve.config.access import Secrets
from aserve.config.groups import group_texts
from aserve.config.headers import parse_cache
from aserve.config.limit_values import limit_values, parse_limits
from aserve.config.names import is_negated
from aserve.config.paths import parse_paths
from aserve.config.root import Root, as_root
from aserve.config.settings import Settings
from aserve.config.shares import USUAL_STORE
from aserve.config.stop_limits import (
    format_duration,
    format_stop_after,
    parse_duration,
    parse_stop_after,
)
from aserve.config.value_kinds import (
    Flag,
    Kind,
    Many,
    Names,
    One,
    Switch,
    header_texts,
    pair_texts,
    wrong_type,
)
from aserve.config.values import (
    format_size,
    parse_bytes,
    parse_formats,
    parse_log,
    parse_maximum,
    parse_names,
    parse_number,
    parse_rate_text,
    parse_size,
    parse_text,
    parse_workers,
)
from aserve.handlers.writing.areas import EVERYWHERE
from aserve.http.origins import ANY

SPA_PAGE = "index.html"
"""The page of --spa without one."""


def _parse_root(arguments: Sequence[str]) -> Root:
    return as_root(parse_paths(arguments))


def _root_to_toml(root: Root) -> Any:
    if isinstance(root, Path):
        return str(root)
    return {f"/{name}": str(path) for name, path in root.items()}


class _Paths(Many):
    """What is served: a path, or in TOML a table of paths by their names in URLs."""

    def __init__(self) -> None:
        super().__init__(_parse_root, to_toml=_root_to_toml)
        self.types = (str, dict)

    def from_toml(self, value: object) -> Root:
        """Return the root that a path or a table names."""
        texts = value.values() if isinstance(value, dict) else [value]
        if not all(isinstance(one, str) and one for one in texts):
            raise wrong_type("a path, or a table of paths by their names in URLs", value)
        return as_root(value)


WHOLE_NUMBER = One("a whole number", parse_number, (int,))
MAXIMUM = One("a whole number or a string", parse_maximum, (int, str), format_size)

_BY_TYPE: Mapping[type, Kind] = {str: One(), int: WHOLE_NUMBER, tuple: Many()}

_KINDS: Mapping[str, Kind] = {
    "root": _Paths(),
    "port": WHOLE_NUMBER,
    "threads": WHOLE_NUMBER,
    "http_redirect": WHOLE_NUMBER,
    "workers": One("a whole number or 'auto'", parse_workers, (int, str)),
    "allowed_hosts": Names("a list of strings, 'any' or 'local'", parse_names),
    "response_cache": One(
        "a size such as '64M', or 'off'",
        parse_size,
        (int, str),
        lambda size: format_size(size) or "off",
    ),
    "compress_memory": One(
        "a size such as '32M', or 'off'",
        parse_size,
        (int, str),
        lambda size: format_size(size) or "off",
    ),
    "types": Many(table=pair_texts),
    "index": Names("a list of strings", parse_names),
    "spa": Switch(One("true, false or a string", parse_text), SPA_PAGE, ""),
    "error_page": Many(table=pair_texts),
    "headers": Many(table=header_texts),
    "cache": One("a whole number or a string", parse_cache, (int, str)),
    "cors": Switch(Names("true, false, or a list of strings", parse_names), ANY, ()),
    "limits": Many(parse_limits, pair_texts, limit_values),
    "archive": Names("a list of strings, or 'off'", parse_formats),
    "archive_max_bytes": MAXIMUM,
    "archive_max_files": MAXIMUM,
    "write": Switch(Many(), [EVERYWHERE], ()),
    "auth": Secrets(),
    "groups": Many(table=group_texts),
    "readers": Names("a list of strings, or names with commas", parse_names),
    "writers": Names("a list of strings, or names with commas", parse_names),
    "rate": One(
        "a rate such as '100/s', or 'off'", parse_rate_text, to_toml=lambda rate: rate or "off"
    ),
    "bandwidth": One(
        "a size such as '5M', or 'off'",
        parse_size,
        (int, str),
        lambda size: format_size(size) or "off",
    ),
    "share": Switch(One("true, false or the name of a file", parse_text), USUAL_STORE, ""),
    "max_upload": MAXIMUM,
    "quota": MAXIMUM,
    "min_free": One("a whole number or a string", parse_bytes, (int, str), format_size),
}
"""Kinds that do not follow from the type of the default."""

_NOT_WRITTEN = {"queue", "grace", "handlers", "sources", "sites", "paths", "htpasswd_lines"}
"""What only a program can set, and what has tables of its own (aserve/config/site_tables.py)."""

PROGRAM_KINDS: Mapping[str, Kind] = {
    "lan": Flag(),
    "open": Flag(),
    "port_file": One(parse=parse_text),
    "stop_after": One(
        "a string such as '2h' or '3-downloads', or 'off'",
        parse_stop_after,
        to_toml=format_stop_after,
    ),
    "idle_exit": One("a string such as '15m', or 'off'", parse_duration, to_toml=format_duration),
    "access_log": One("a file, '-' or 'off'", parse_log),
    "quiet": Flag(),
    "watch_config": Flag(),
}
"""Options that are no Settings: what the program itself does."""


def _kind_of(setting: str, default: object) -> Kind:
    if setting in _KINDS:
        return _KINDS[setting]
    if isinstance(default, bool):
        return Flag(is_negated=is_negated(setting))
    return _BY_TYPE[type(default)]


SETTING_KINDS: Mapping[str, Kind] = {
    field.name: _kind_of(field.name, field.default)
    for field in fields(Settings)
    if field.name not in _NOT_WRITTEN
}
"""The kind of each setting that a user can give, in the order of Settings."""

KINDS: Mapping[str, Kind] = {**SETTING_KINDS, **PROGRAM_KINDS}
