"""What to serve: a directory, a file, or several of them by their names in URLs.

What is wrong with it is a ValueError here, which says so in one line.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from aserve.config.names import ItemError
from aserve.config.pages import is_file_name

Root = Path | Mapping[str, Path]
"""A directory, or paths by name: "docs" is /docs/, "a/b" is /a/b/, and "" is the root itself."""

RootArgument = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]
"""What programs pass as a Root."""


def as_root(root: object) -> Root:
    """Return what a program has passed as the root; raises ValueError.

    Names lose the slashes around them, and a root alone needs no name. None at all is {}.
    """
    if not isinstance(root, Mapping):
        return _as_path(root)
    paths: dict[str, Path] = {}
    for name, path in root.items():
        normal = _normal_name(name)
        if normal in paths:
            raise ValueError(f"{shown_path(normal)} is named twice")
        paths[normal] = _as_path(path)
    return paths[""] if paths.keys() == {""} else paths


def check_root(root: Root) -> Root:
    """Return a root with absolute paths; raises ValueError for what cannot be served.

    It is an ItemError where one of several paths is wrong. A file is served under its own name.
    """
    if isinstance(root, Path):
        path = _check_path(root)
        return path if path.is_dir() else {path.name: path}
    paths: dict[str, Path] = {}
    for index, (name, path) in enumerate(root.items()):
        try:
            paths[name] = _check_named(name, path)
        except ValueError as error:
            raise ItemError(index, str(error)) from error.__cause__
    for name in paths:
        for parent in _parents(name):
            if parent in paths and not paths[parent].is_dir():
                at, above = shown_path(name), shown_path(parent)
                raise ValueError(f"nothing can be at {at}: {above} is a file")
    return paths


def without_links(root: Root) -> Root:
    """Return a root with the paths that its links lead to now."""
    if isinstance(root, Path):
        return root.resolve()
    return {name: path.resolve() for name, path in root.items()}


def named_paths(root: Root) -> Mapping[bytes, bytes]:
    """Return the path of each directory and file by its name, b"" for the root."""
    paths = {"": root} if isinstance(root, Path) else root
    return {os.fsencode(name): os.fsencode(path) for name, path in paths.items()}


def paths_of(root: Root) -> tuple[Path, ...]:
    """Return the paths of all that is served."""
    return (root,) if isinstance(root, Path) else tuple(root.values())


def home_name(root: Root) -> str:
    """Return the name of the one file that is served, "" where anything else is."""
    if isinstance(root, Path) or len(root) != 1:
        return ""
    ((name, path),) = root.items()
    return "" if path.is_dir() else name


def describe_root(root: Root) -> str:
    """Return the path that is served, and how many others are."""
    if isinstance(root, Path):
        return str(root)
    first = root.get("") or next(iter(root.values()), "")
    return f"{first} and {len(root) - 1} more" if len(root) > 1 else str(first)


def shown_path(name: str) -> str:
    """Return the path of a name in URLs as it is, or quoted if not all of it is printable."""
    return printable(f"/{name}")


def printable(text: str) -> str:
    """Return a path as it is, or quoted if it has characters that are not printable."""
    return text if text.isprintable() else repr(text)


def _as_path(path: object) -> Path:
    try:
        return Path(path)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"must be the path of a directory, not {path!r}") from None


def _normal_name(name: object) -> str:
    """Return a name without the slashes around it, "" for the root."""
    if not isinstance(name, str):
        raise ValueError(f"a name must be a string, not {name!r}")  # noqa: TRY004 - one error for all
    normal = name.strip("/")
    names = normal.split("/") if normal else []
    if not all(map(is_file_name, names)) or not _is_encodable(name):
        raise ValueError(f"{name!r} cannot be a name in a URL")
    return normal


def _is_encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _check_named(name: str, path: Path) -> Path:
    try:
        checked = _check_path(path)
    except ValueError as error:
        raise ValueError(f"{shown_path(name)}: {error}") from error.__cause__
    if not name and not checked.is_dir():
        raise ValueError(f"/: {str(path)!r} is not a directory; a file needs a name")
    return checked


def _check_path(path: Path) -> Path:
    """Return the absolute path of a directory or a file that can be read."""
    try:
        if not path.exists():
            raise ValueError(f"there is no directory or file {str(path)!r}")
        if not (path.is_dir() or path.is_file()):
            raise ValueError(f"{str(path)!r} is neither a directory nor a regular file")
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise ValueError(f"{str(path)!r} cannot be read: permission denied")
        return path.absolute()
    except OSError as error:
        raise ValueError(f"{str(path)!r}: {error.strerror}") from error


def _parents(name: str) -> Iterator[str]:
    """Yield the names above a name, without the root."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
