"""The files of the rows."""

import os
from calendar import timegm
from pathlib import Path

MODIFIED = timegm((2024, 5, 4, 3, 2, 1))
FILES = (
    *("hello.txt", "sub/inner.txt", "with index/index.html", "with index/other.txt"),
    *("grüße & <b>.txt", "server.key", ".git/config"),
)


def build(directory: Path) -> Path:
    """Make the site in an empty directory; return its root."""
    root, outside = directory / "root", directory / "outside"
    for path in (*(root / name for name in FILES), outside / "secret"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"Hello, world.\n")
        os.utime(path, (MODIFIED, MODIFIED))
    (root / "empty").mkdir()
    (root / "out").symlink_to(outside)
    return root


def served(root: Path, server: str) -> Path | dict[str, Path]:
    """Return what a server of the table serves."""
    sub, hello = root / "sub", root / "hello.txt"
    others: dict[str, Path | dict[str, Path]] = {
        "combined": {"docs": sub, "film.mkv": hello, "way/to": sub},
        "file": {"hello.txt": hello},
    }
    return others.get(server, root)
