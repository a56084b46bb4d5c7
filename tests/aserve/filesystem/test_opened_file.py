"""Reading an open file without waiting, also where the kernel has no flag for that."""

import errno
import os

import pytest

from aserve.filesystem import opened_file
from aserve.filesystem.opened_file import OpenFile


@pytest.fixture
def open_file(tmp_path):
    """Return what opens a file for an event loop."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    def open_file(*, local=True):
        descriptor = os.open(path, os.O_RDONLY)
        return OpenFile(descriptor, os.fstat(descriptor), wait=False, local=local)

    return open_file


@pytest.fixture
def no_flag(monkeypatch):
    """Have no file system know RWF_NOWAIT, as tmpfs does not."""

    def preadv(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "preadv", preadv)


@pytest.mark.usefixtures("no_flag")
@pytest.mark.parametrize("is_cached", [True, False])
def test_without_the_flag_cachestat_tells_what_is_in_memory(open_file, monkeypatch, is_cached):
    asked = []
    monkeypatch.setattr(opened_file, "is_cached", lambda _, *part: asked.append(part) or is_cached)
    file = open_file()
    if is_cached:
        assert file.read(2, 5) == b"234"
    else:
        with pytest.raises(BlockingIOError):
            file.read(2, 5)
    assert asked == [(2, 5)]


@pytest.mark.usefixtures("no_flag")
def test_without_the_flag_what_is_not_local_is_left_to_a_thread(open_file):
    with pytest.raises(BlockingIOError):
        open_file(local=False).read(2, 5)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EIO])
def test_what_the_kernel_cannot_read_at_once_is_left_to_a_thread(open_file, monkeypatch, number):
    def preadv(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(opened_file, "is_cached", None)  # which nobody asks
    with pytest.raises(BlockingIOError):
        open_file().read(2, 5)
