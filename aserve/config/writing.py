"""The settings of a site that can be written to: what is wrong with them."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aserve.config.checks import Errors, choice_errors
from aserve.config.root import Root
from aserve.handlers.writing.areas import parse_area

if TYPE_CHECKING:
    from aserve.config.settings import Settings

CONFLICTS = ("error", "replace", "rename")
"""What an upload into a directory does where a file of its name is."""
MIN_FREE = 256 << 20
"""Bytes. Enough for logs, databases and package managers to go on for a while, and for a person to
log in and clean up, on a disk that uploads have filled: a full one stops more than uploads."""

_OF_WRITING = ("on_conflict", "max_upload", "quota", "min_free", "fsync")
"""Settings that say how files are written."""


def writing_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with the settings about writing."""
    yield from choice_errors("on_conflict", settings.on_conflict, CONFLICTS)
    for setting, least in (("max_upload", 1), ("quota", 1), ("min_free", 0)):
        if getattr(settings, setting) < least:
            yield setting, f"must be at least {least}"
    yield from _area_errors(settings.write, settings.root)
    for setting in () if settings.write else _OF_WRITING:
        if getattr(settings, setting) != type(settings).__dataclass_fields__[setting].default:
            yield setting, "has no effect where nothing can be written to"


def _area_errors(texts: Sequence[str], root: Root) -> Errors:
    """Yield what is wrong with the areas of a site."""
    paths = set()
    for text in texts:
        area = parse_area(text)
        if area is None:
            yield "write", f"must be a path such as /in, add, or add:/in, not {text!r}"
        elif area.path in paths:
            yield "write", f"{area.shown_path()} is named twice"
        else:
            paths.add(area.path)
    if texts and not isinstance(root, Path) and not any(path.is_dir() for path in root.values()):
        yield "write", f"there is no directory to write to{_named(root)}"


def _named(root: Collection[str]) -> str:
    files = ", ".join(f"the file {name!r}" for name in root)
    return f", only {files}" if files else "; a site says itself what can be"
