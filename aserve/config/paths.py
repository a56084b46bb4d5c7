"""The arguments of `aserve`: DIR, FILE, NAME=DIR and =DIR, and what they mean together."""

import os
from collections.abc import Mapping, Sequence

from aserve.config.root import shown_path

_URL_HINT = "to load a server, use abench URL"
_HINTS = {"help": "use --help", "version": "use --version", "serve": "use aserve DIR"}
"""What was probably meant by words that are no paths."""

_PATH_STARTS = ("/", "./", "../")
"""What begins so is a path, also if it has "=" in it."""


def parse_paths(arguments: Sequence[str]) -> str | Mapping[str, str]:
    """Return what to serve: one path, or paths by their names in URLs; raises ValueError.

    A directory alone is the root. Several paths without a name get their own names.
    """
    named = [_split(argument) for argument in arguments]
    if len(named) == 1 and named[0][0] is None:
        return named[0][1]
    bare = [path for name, path in named if name is None]
    names = {name for name, _ in named if name is not None}
    has_root = len(bare) == 1 and "" not in names and not os.path.isfile(bare[0])  # noqa: PTH113 - as _exists
    paths: dict[str, str] = {}
    for given, path in named:
        name = given if given is not None else "" if has_root else _own_name(path)
        if name in paths:
            raise ValueError(_taken(name, paths[name], path))
        paths[name] = path
    return paths


def _split(argument: str) -> tuple[str | None, str]:
    """Return the name and the path of an argument; the name is None if it has none."""
    if hint := _hint(argument):
        raise ValueError(f"there is no directory or file {argument!r}; {hint}")
    name, equals, path = argument.partition("=")
    if not argument:
        raise ValueError("must not be empty; . is the current directory")
    if not equals or (name != "/" and name.startswith(_PATH_STARTS)):
        return None, argument
    if not path:
        raise ValueError(f"{argument!r} has no path: it is NAME=DIR")
    if _exists(argument) and not _exists(path):
        way_out = f"to serve {argument!r}, write {f'./{argument}'!r}"
        detail = f"there is no directory or file {path!r}; {way_out}"
        raise ValueError(detail)
    return name.strip("/"), os.path.expanduser(path)  # noqa: PTH111 - bytes stay as they are


def _exists(path: str) -> bool:
    """Tell whether there is something at a path: one that is too long leads to nothing."""
    return os.path.exists(path)  # noqa: PTH110 - before 3.12 Path raises what it does not expect


def _own_name(path: str) -> str:
    """Return the name of a path, the directory's own for `.` and `..`."""
    name = os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119 - links are not resolved
    if not name:
        raise ValueError(f"{path!r} has no name: give it one, as in NAME={path!r}")
    return name


def _taken(name: str, first: str, second: str) -> str:
    at = shown_path(name)
    return f"{at} is {first!r} and {second!r}: give one another name, as in NAME={second!r}"


def _hint(argument: str) -> str:
    """Return what was probably meant by an argument that is no path, "" if nothing is known."""
    if not argument or _exists(argument):
        return ""
    if "://" in argument:
        return _URL_HINT
    if argument.isdecimal():
        return f"to choose a port, use --port {argument}"
    if argument in {"on", "off", "yes", "no", "true", "false"}:
        return "a flag takes no value"
    return _HINTS.get(argument, "")
