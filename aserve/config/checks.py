"""What the checks of settings share: each yields a setting, or one of its values, and a reason."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from aserve.config.names import item_of

if TYPE_CHECKING:
    from aserve.config.settings import Settings

Errors = Iterator[tuple[str, str]]
"""What is wrong, by the names of settings; the first one counts."""


def range_errors(setting: str, value: float, least: int, most: int) -> Errors:
    """Yield what is wrong with a number outside a range, whose ends belong to it."""
    if not least <= value <= most:
        yield setting, f"must be from {least} to {most}"


def choice_errors(setting: str, value: str, choices: Collection[str]) -> Errors:
    """Yield what is wrong with a value that is no choice."""
    if value not in choices:
        yield setting, f"must be one of {', '.join(choices)}, not {value!r}"


def each_value(settings: "Settings", setting: str) -> Iterator[tuple[str, str]]:
    """Yield each of the values of a setting, with what an error about it names."""
    for index, value in enumerate(getattr(settings, setting)):
        yield value_name(settings, setting, index), value


def value_name(settings: "Settings", setting: str, index: int) -> str:
    """Return what an error about one value names: the setting, unless a file has its line."""
    item = item_of(setting, index)
    return item if item in settings.sources else setting
