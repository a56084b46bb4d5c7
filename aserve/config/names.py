"""What each setting is called, and where its value comes from.

A setting has one name everywhere: --page-size is page-size in aserve.toml, ASERVE_PAGE_SIZE in the
environment and page_size in Python. A flag whose default is on has the option --no-NAME.
"""

from collections.abc import Mapping
from typing import NamedTuple

VARIABLE_PREFIX = "ASERVE_"

_OTHER_KEYS = {"types": "type", "limits": "limit", "headers": "header", "redirects": "redirect"}
"""Settings that have many values, each given by an option in the singular."""

_ON_BY_DEFAULT = {"readme", "server_header", "fsync"}


class Source(NamedTuple):
    """Where a value was set.

    place: "--page-size", "ASERVE_PAGE_SIZE", or "aserve.toml:12". label: what an error message
    begins with; for a file the place and the key.
    """

    place: str
    label: str


Sources = Mapping[str, Source]
"""Where values were set, by the names of settings; "header[2]" is the third value of header."""

DEFAULT_PLACE = "default"


class NamedSettingError(Exception):
    """An error about one setting. `setting` is its name, `reason` what is wrong with it."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting}: {reason}")
        self.setting = setting
        self.reason = reason


class ItemError(ValueError):
    """What is wrong with one value of several. index: which one, counted from 0."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


def item_of(setting: str, index: int | str) -> str:
    """Return the name of one value of several, by which Sources have it."""
    return f"{setting}[{index}]"


def key_of(setting: str) -> str:
    """Return the key of a setting in aserve.toml, which is its option without dashes before it."""
    return _OTHER_KEYS.get(setting, setting.replace("_", "-"))


def option_of(setting: str) -> str:
    """Return how the command line says a setting, if it can."""
    if setting == "root":
        return "DIR"
    return f"--{'no-' * (setting in _ON_BY_DEFAULT)}{key_of(setting)}"


def variable_of(setting: str) -> str:
    """Return the environment variable of a setting."""
    return VARIABLE_PREFIX + key_of(setting).replace("-", "_").upper()


def is_negated(setting: str) -> bool:
    """Tell whether the option of a flag switches it off."""
    return setting in _ON_BY_DEFAULT


def option_source(setting: str) -> Source:
    """Return the source of a value from the command line."""
    return Source(option_of(setting), option_of(setting))


def flag_source(setting: str, *, is_on: bool) -> Source:
    """Return the source of a flag from the command line: --NAME or --no-NAME."""
    option = f"--{'' if is_on else 'no-'}{key_of(setting)}"
    return Source(option, option)


def variable_source(setting: str) -> Source:
    """Return the source of a value from the environment."""
    return Source(variable_of(setting), variable_of(setting))
