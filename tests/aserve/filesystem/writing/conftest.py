"""Where the tests of this folder write."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_IN_MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: each fsync of a busy disk takes a good while.

    The slow tests write to a disk.
    """
    if not _IN_MEMORY.is_dir() or request.node.get_closest_marker("slow"):
        yield tmp_path
        return
    with TemporaryDirectory(dir=_IN_MEMORY) as directory:
        yield Path(directory)
