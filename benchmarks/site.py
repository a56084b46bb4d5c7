"""The site: the same files for every server, old enough for a server to cache them."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

KB, MB = 1_024, 1 << 20
FILES = {"1k.txt": KB, "4k.txt": 4 * KB, "100k.bin": 100 * KB, "1m.bin": MB, "100m.bin": 100 * MB}
FOLDERS = {"many": 5_000, "cold": 50_000}
"""Directories of files of 1 KB, and how many are in each: 0.txt, 1.txt and so on."""

MODIFIED = 1_700_000_000
LAST_MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"


@contextmanager
def site(files: Mapping[str, int] | None = None) -> Iterator[Path]:
    """Make the site in a temporary directory, and remove it at the end.

    files: the size of each file by its name, if not those of sizes().
    """
    with tempfile.TemporaryDirectory(prefix="compare-") as directory:
        root = Path(directory)
        root.chmod(0o755)  # a server that drops root's rights must still read it
        for file, size in (sizes() if files is None else files).items():
            write(root / file, size)
        yield root


def sizes() -> dict[str, int]:
    """Return the size of each file in bytes, by its name in the site."""
    many = {
        f"{directory}/{n}.txt": KB for directory, count in FOLDERS.items() for n in range(count)
    }
    return FILES | many


def write(path: Path, size: int) -> None:
    """Write a file of so many bytes of text that hardly compresses."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(size // 2).hex().encode())
    os.utime(path, (MODIFIED, MODIFIED))
