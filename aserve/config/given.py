"""What a user has given, by any of the sources: values of settings, and where each was set."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from aserve.config.config_file import Table
from aserve.config.kinds import KINDS
from aserve.config.names import (
    ItemError,
    Source,
    Sources,
    flag_source,
    item_of,
    key_of,
    option_source,
)
from aserve.config.settings import SettingsError
from aserve.config.shares import USUAL_STORE
from aserve.config.value_kinds import Kind

_LIMITS = "limits"
_NO_FILES = frozenset({"off", "-"})
"""What access_log can be besides a file."""


class Given(NamedTuple):
    """Values of settings that were given, and where. Those that were not are missing.

    Of limits the value is those that were given: LimitChanges.
    """

    values: Mapping[str, Any]
    sources: Sources

    def over(self, other: "Given") -> "Given":
        """Return these values, and those of another source that are not among them.

        A list replaces a list, but each limit is a value of its own. With lan there is no host,
        and with a host no lan.
        """
        values = {**other.values, **self.values}
        if _LIMITS in values:
            values[_LIMITS] = {**other.values.get(_LIMITS, {}), **self.values.get(_LIMITS, {})}
        replaced = self.values.keys() - {_LIMITS} | self._excluded
        for name in self._excluded:
            values.pop(name, None)
        kept = [name for name in other.sources if name.partition("[")[0] not in replaced]
        return Given(values, {**{name: other.sources[name] for name in kept}, **self.sources})

    @property
    def _excluded(self) -> set[str]:
        """What no other source says: the address that these values have is another one."""
        if self.values.get("lan"):
            return {"host"}
        return {"lan"} if "host" in self.values else set()


def given_options(options: Mapping[str, Any]) -> Given:
    """Return what the options of a command line give; raises SettingsError.

    options: texts, lists of texts and flags, by the names of settings.
    """
    values, sources = given_each(options, option_source, attrgetter("from_option"))
    flags = {name: value for name, value in values.items() if isinstance(value, bool)}
    of_flags = {name: flag_source(name, is_on=is_on) for name, is_on in flags.items()}
    return Given(values, {**sources, **of_flags})


def given_each(
    texts: Mapping[str, Any],
    source_of: Callable[[str], Source],
    parser_of: Callable[[Kind], Callable[[Any], Any]],
) -> Given:
    """Return what texts give, by the names of settings; raises SettingsError."""
    values, sources = {}, {}
    for name, text in texts.items():
        sources[name] = source = source_of(name)
        values[name] = parsed(source, parser_of(KINDS[name]), text)
        if name == _LIMITS:
            sources |= {item_of(name, limit.replace("_", "-")): source for limit in values[name]}
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
            items = {path: table.source(key, *path) for path in _items(value)}
            parse = KINDS[name].from_toml
            values[name] = in_directory(
                name, parsed(sources[name], parse, value, list(items.values())), table.directory
            )
            sources |= {
                item_of(name, path[0] if name == _LIMITS else at): source
                for at, (path, source) in enumerate(items.items())
            }
    return Given(values, sources)


def parsed(
    source: Source, parse: Callable[[Any], Any], given: object, items: Sequence[Source] = ()
) -> Any:
    """Return the value of what was given; raises SettingsError, which names the source.

    items: where each value is, of several.
    """
    try:
        return parse(given)
    except ItemError as error:
        place = items[error.index] if items else source
        raise SettingsError(place.label, str(error)) from error
    except ValueError as error:
        raise SettingsError(source.label, str(error)) from error


def _items(value: object) -> Iterator[tuple[str | int, ...]]:
    """Yield the keys that lead to each value in a list or in a table of tables, in order."""
    if isinstance(value, list):
        yield from ((index,) for index in range(len(value)))
    elif isinstance(value, dict):
        for key, one in value.items():
            paths = _items(one) if isinstance(one, dict) else [()]
            yield from ((key, *path) for path in paths)


def in_directory(name: str, value: Any, directory: Path) -> Any:
    """Return a value with what is relative in it beginning in a directory."""
    if name == "port_file" or (name == "access_log" and value not in _NO_FILES):
        return str(directory / _at_home(value))
    if name in {"cert", "key"}:
        return tuple(str(directory / _at_home(path)) for path in value)
    if (name == "htpasswd" and value) or (name == "share" and value not in {"", USUAL_STORE}):
        return str(directory / _at_home(value))
    if name == "root" and isinstance(value, Path):
        return directory / _at_home(value)
    if name == "root":
        return {at: directory / _at_home(path) for at, path in value.items()}
    return value


def _at_home(path: str | Path) -> str:
    """Return a path that may begin with ~, as it is if there is no such user."""
    return os.path.expanduser(path)  # noqa: PTH111 - Path has an error instead
