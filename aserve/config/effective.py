"""The configuration as it is in effect, as TOML, with the place where each value was set."""

from collections.abc import Iterator, Mapping
from typing import Any

from aserve.config.config_file import Table
from aserve.config.configuration import Configuration
from aserve.config.given import in_directory
from aserve.config.kinds import KINDS, PROGRAM_KINDS, SETTING_KINDS
from aserve.config.limit_values import limit_values
from aserve.config.names import DEFAULT_PLACE, Sources, item_of, key_of, option_of
from aserve.config.settings import Settings
from aserve.config.site_tables import TABLES
from aserve.config.toml_text import format_key, format_value
from aserve.config.value_kinds import Kind
from aserve.transport.registry import MODELS

_COLUMN = 40
"""Where comments begin, if the value leaves room for it."""

_UNSET: Mapping[str, str] = {
    "port": "8000, or the next free one",
    "access_log": "a line for each request on a terminal, none elsewhere",
}
"""What it means that settings have no value, which TOML cannot say."""


def format_configuration(configuration: Configuration) -> str:
    """Return the configuration as a file that says the same, with a comment for each value."""
    settings, sources = configuration.settings, configuration.sources
    values = {name: getattr(settings, name) for name in _named(settings)}
    values |= {name: getattr(configuration, name) for name in PROGRAM_KINDS}
    if configuration.lan:
        del values["host"]  # a file has only one of both
    pairs = {name: _written(KINDS[name], value) for name, value in values.items()}
    lines: list[str] = []
    for name, value in pairs.items():
        if not isinstance(value, Mapping):
            lines += _lines(name, value, sources)
    if pairs["root"] and isinstance(pairs["root"], Mapping):
        lines += _table_lines("root", pairs["root"], settings)
    lines += _limit_lines(settings)
    if configuration.file:
        for key in TABLES:
            lines += _array_lines(configuration.file, key)
    return "\n".join(lines)


def _named(settings: Settings) -> Iterator[str]:
    """Yield the settings that the model uses: the others cannot be given with it."""
    restricted = frozenset[str]().union(*(info.options for info in MODELS.values()))
    for name in SETTING_KINDS:
        if name != "limits" and option_of(name) not in restricted - settings.model_info.options:
            yield name


def _written(kind: Kind, value: Any) -> Any:
    return None if value is None else kind.to_toml(value)


def _lines(name: str, value: Any, sources: Sources) -> Iterator[str]:
    """Yield the line of a setting; each value of a list that was given has its own."""
    key, place = key_of(name), _place(name, sources)
    if value is None:
        yield _with_comment(f"# {key}: {_UNSET.get(name, 'none')}", place)
    elif isinstance(value, list) and len(value) > 1 and name in sources:
        yield _with_comment(f"{key} = [", place)
        for index, one in enumerate(value):
            yield _with_comment(f"    {format_value(one)},", _item_place(name, index, sources))
        yield "]"
    else:
        yield _with_comment(f"{key} = {format_value(value)}", _item_place(name, 0, sources))


def _with_comment(text: str, place: str) -> str:
    return f"{text:{_COLUMN}}  # {place}"


def _place(name: str, sources: Sources) -> str:
    return sources[name].place if name in sources else DEFAULT_PLACE


def _item_place(name: str, index: int, sources: Sources) -> str:
    """Return where one value of a setting was set: in a file, a list may have many lines."""
    item = item_of(name, index)
    return _place(item if item in sources else name, sources)


def _table_lines(name: str, values: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    yield ""
    yield f"[{key_of(name)}]"
    for index, (key, value) in enumerate(values.items()):
        text = f"{format_key(key)} = {format_value(value)}"
        yield _with_comment(text, settings.place_of(name, index))


def _limit_lines(settings: Settings) -> Iterator[str]:
    yield ""
    yield f"[{key_of('limits')}]"
    for name, value in limit_values(settings.limits).items():
        place = _place(item_of("limits", name), settings.sources)
        yield _with_comment(f"{name} = {format_value(value)}", place)


def _array_lines(table: Table, key: str, prefix: str = "") -> Iterator[str]:
    """Yield tables as the file has them, with what is in them."""
    for one in table.tables(key):
        yield ""
        yield _with_comment(f"[[{prefix}{key}]]", one.source().place)
        inner = [name for name, value in one.values.items() if _is_array_of_tables(value)]
        for name, value in one.values.items():
            if name not in inner:
                text = f"{format_key(name)} = {format_value(_absolute(one, name, value))}"
                yield _with_comment(text, one.source(name).place)
        for name in inner:
            yield from _array_lines(one, name, f"{prefix}{key}.")


def _absolute(table: Table, key: str, value: Any) -> Any:
    """Return a value of a table, a root as a whole path: what is printed may be read elsewhere."""
    if key not in {"root", "auth"}:
        return value
    kind = KINDS[key]  # it says nothing of passwords
    return kind.to_toml(in_directory(key, kind.from_toml(value), table.directory))


def _is_array_of_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
