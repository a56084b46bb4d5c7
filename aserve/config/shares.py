"""The file in which links to files and folders are kept, and where in a site such a file is."""

import os
import stat
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from aserve.config.root import Root, named_paths

USUAL_STORE = "on"
"""The value of share for the store of this user."""

_SUFFIXES = ("", "-wal", "-shm")
"""What the names of SQLite's files end with."""
_FIRST_BYTES = b"SQLite format 3\0"


def usual_store(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the file with the links of this user (XDG Base Directory Specification).

    Raises RuntimeError if the user has no home.
    """
    home = environment.get("XDG_STATE_HOME", "")
    # A relative path is invalid there, and is ignored.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / "aserve" / "shares.db"


def store_file(share: str) -> Path:
    """Return the file with the links. share: its name, or USUAL_STORE."""
    return usual_store() if share == USUAL_STORE else Path(share).absolute()


def store_files(share: str) -> list[Path]:
    """Return all files that have something of the links in them."""
    file = store_file(share)
    return [file.with_name(file.name + suffix) for suffix in _SUFFIXES]


def store_error(share: str) -> str:
    """Return what is wrong with a file of links, "" if it can be used or made."""
    if not find_spec("_sqlite3"):
        return "this Python has no module sqlite3"
    try:
        file = store_file(share)
        return _file_error(file) if file.exists() else _directory_error(file.parent, share)
    except RuntimeError:
        return "this user has no home directory: name a file"
    except OSError as error:
        return f"{str(error.filename or share)!r}: {error.strerror}"


def _file_error(file: Path) -> str:
    if not stat.S_ISREG(file.stat().st_mode):
        return f"{str(file)!r} is not a regular file"
    if not os.access(file, os.R_OK | os.W_OK):
        return f"{str(file)!r} cannot be read and written: permission denied"
    with file.open("rb") as opened:
        is_store = opened.read(len(_FIRST_BYTES)) in {b"", _FIRST_BYTES}
    return "" if is_store else f"{str(file)!r} is no store of links"


def _directory_error(directory: Path, share: str) -> str:
    while share == USUAL_STORE and not directory.exists():  # they are made
        directory = directory.parent
    if not directory.is_dir():
        return f"there is no directory {str(directory)!r}"
    is_writable = os.access(directory, os.W_OK | os.X_OK)
    return "" if is_writable else f"cannot write to {str(directory)!r}: permission denied"


def paths_in_site(root: Root, file: bytes) -> list[bytes]:
    """Return the paths of a site that lead to a file or folder, each once; none if none does.

    file: its absolute path. First those by the name that it was given by, and then those by where
    that leads. Each has a slash before each name; the root is b"".
    """
    tops = [(name, os.fsencode(path)) for name, path in named_paths(root).items()]
    real = [(name, os.path.realpath(path)) for name, path in tops]
    names = [name for name, _ in tops]
    found = [
        path
        for place in dict.fromkeys((os.path.normpath(file), os.path.realpath(file)))
        for name, top in (*tops, *real)
        for path in _path_below(name, top, place)
        if name == _served_by(names, path)
    ]
    return list(dict.fromkeys(found))


def _path_below(name: bytes, top: bytes, place: bytes) -> Iterator[bytes]:
    """Yield the path of a place in the site, if it is in or at what is served at a name."""
    if place == top or place.startswith(top.rstrip(b"/") + b"/"):
        yield b"".join(b"/" + one for one in (name, place[len(top) :].strip(b"/")) if one)


def _served_by(names: list[bytes], path: bytes) -> bytes | None:
    """Return the name of what a path belongs to: the longest of those above it."""
    above = [name for name in names if not name or (path + b"/").startswith(b"/" + name + b"/")]
    return max(above, key=len, default=None)
