"""What a user has given, by any of the sources: values of settings, and where each was set."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aserve.config.config_file import Table
from aserve.config.kinds import KINDS
from aserve.config.names import Source, Sources, key_of, option_source
from aserve.config.settings import SettingsError

_NO_FILES = frozenset({"off", "-"})
"""What access_log can be besides a file."""


class Given(NamedTuple):
    """Values of settings that were given, and where. Those that were not are missing."""

    values: Mapping[str, Any]
    sources: Sources

    def over(self, other: "Given") -> "Given":
        """Return these values, and those of another source that are not among them."""
        kept = {
            name: source
            for name, source in other.sources.items()
            if name.partition("[")[0] not in self.values
        }
        return Given({**other.values, **self.values}, {**kept, **self.sources})


def given_options(options: Mapping[str, Any]) -> Given:
    """Return what the options of a command line give; raises SettingsError.

    options: texts, lists of texts and flags, by the names of settings.
    """
    sources = {name: option_source(name) for name in options}
    values = {
        name: parsed(sources[name], KINDS[name].from_option, given)
        for name, given in options.items()
    }
    return Given(values, sources)


def given_table(
    table: Table, names: Collection[str] = KINDS.keys(), own_keys: Collection[str] = ()
) -> Given:
    """Return what a table of a file gives; raises SettingsError, also for an unknown key.

    names: the settings that may be in it. own_keys: other keys, which the caller reads.
    """
    names_by_key = {key_of(name): name for name in names}
    table.check_keys([*own_keys, *names_by_key])
    values, sources = {}, {}
    for key, value in table.values.items():
        if name := names_by_key.get(key):
            sources[name] = table.source(key)
            sources |= _item_sources(table, name, key, value)
            parse = KINDS[name].from_toml
            values[name] = _in_directory(name, parsed(sources[name], parse, value), table.directory)
    return Given(values, sources)


def parsed(source: Source, parse: Callable[[Any], Any], given: object) -> Any:
    """Return the value of what was given; raises SettingsError, which names the source."""
    try:
        return parse(given)
    except ValueError as error:
        raise SettingsError(source.label, str(error)) from error


def _item_sources(table: Table, name: str, key: str, value: object) -> Sources:
    return {
        f"{name}[{index}]": table.source(key, *path) for index, path in enumerate(_items(value))
    }


def _items(value: object) -> Iterator[tuple[str | int, ...]]:
    """Yield the keys that lead to each value in a list or in a table of tables, in order."""
    if isinstance(value, list):
        yield from ((index,) for index in range(len(value)))
    elif isinstance(value, dict):
        for key, one in value.items():
            paths = _items(one) if isinstance(one, dict) else [()]
            yield from ((key, *path) for path in paths)


def _in_directory(name: str, value: Any, directory: Path) -> Any:
    """Return a value with what is relative in it beginning in a directory."""
    if name == "access_log" and value not in _NO_FILES:
        return str(directory / Path(value).expanduser())
    if name == "root" and isinstance(value, Path):
        return directory / value.expanduser()
    if name == "root":
        return {at: directory / path.expanduser() for at, path in value.items()}
    return value
