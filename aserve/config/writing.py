"""The settings of a site that can be written to: what is wrong with them."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from aserve.config.root import Root
from aserve.handlers.writing.areas import parse_area

CONFLICTS = ("error", "replace", "rename")
"""What an upload into a directory does where a file of its name is."""
MIN_FREE = 256 << 20
"""Bytes. Enough for logs, databases and package managers to go on for a while, and for a person to
log in and clean up, on a disk that uploads have filled: a full one stops more than uploads."""

WriteErrors = Iterator[tuple[str, str]]
"""A setting and what is wrong with it."""


def check_areas(texts: Sequence[str], root: Root) -> WriteErrors:
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
