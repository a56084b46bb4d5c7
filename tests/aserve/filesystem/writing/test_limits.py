"""How much may be written, and that the space is free again after every error."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aserve.filesystem.writing import errors, new_file, space
from aserve.filesystem.writing.limits import WriteLimits
from aserve.filesystem.writing.storage import Storage
from aserve.filesystem.writing.usage import Usage, bytes_below
from aserve.linux.fallocate import try_allocate
from tests.aserve.filesystem.writing.storages import anything, contents, put, target


def test_the_size_of_one_file(tmp_path: Path) -> None:
    storage = Storage(tmp_path, limits=WriteLimits(max_upload=3))
    put(storage, "a", b"123")
    with pytest.raises(errors.TooLarge):
        storage.begin(target("b"), 4)
    file = storage.begin(target("b"))
    file.write(b"123")
    with pytest.raises(errors.TooLarge):
        file.write(b"4")
    assert contents(tmp_path) == {"a": b"123"}


def test_what_is_left_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 blocks of 10 bytes that users may take, 300 bytes are to stay free."""
    blocks = [4, 10, 500, 200, 100, 0, 0, 0, 0, 255]
    monkeypatch.setattr(os, "fstatvfs", lambda _: os.statvfs_result(blocks))
    storage = Storage(tmp_path, limits=WriteLimits(min_free=300))
    with pytest.raises(errors.NoSpace):
        storage.begin(target("a"), 701)
    announced = storage.begin(target("a"), 700)
    with pytest.raises(errors.NoSpace):  # what one has announced is no room for another
        storage.begin(target("b"), 1)
    announced.abort()
    put(storage, "b", b"new")
    growing = storage.begin(target("c"))
    blocks[4] = 29
    growing.write(b"small")
    with pytest.raises(errors.NoSpace):  # others have filled the disk meanwhile
        growing.write(bytes(9 << 20))
    assert contents(tmp_path) == {"b": b"new"}


def test_room_that_is_taken_ahead_on_the_disk_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much is free as two uploads need and is to stay free, and half a megabyte for maps."""
    storage = Storage(tmp_path, limits=WriteLimits(min_free=1 << 20))
    sizes, descriptors = (20 << 20, 5 << 20), list[int]()

    def status_of_disk(descriptor: int) -> os.statvfs_result:
        descriptors.append(descriptor)
        taken = sum(os.fstat(one).st_blocks * 512 for one in set(descriptors))
        free = sum(sizes) + (1 << 20) + (1 << 19) - taken
        return os.statvfs_result([1, 1, free, free, free, 0, 0, 0, 0, 255])

    monkeypatch.setattr(os, "fstatvfs", status_of_disk)
    first = storage.begin(target("a"), sizes[0])
    if not try_allocate(descriptors[0], 0, 1):
        pytest.skip("this file system takes no room ahead")
    first.write(bytes(9 << 20))
    status = os.fstat(descriptors[0])
    assert status.st_size == 9 << 20
    assert status.st_blocks * 512 > 16 << 20
    second = storage.begin(target("b"), sizes[1])
    first.write(bytes(11 << 20))
    second.write(bytes(5 << 20))
    first.commit(anything)
    second.commit(anything)
    assert [(tmp_path / name).stat().st_size for name in "ab"] == list(sizes)


def test_room_that_no_file_system_gives_ahead_is_found_by_each_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(*arguments: int) -> bool:
        asked.append(arguments[1:])
        return False

    monkeypatch.setattr(space, "try_allocate", refuse)
    file = Storage(tmp_path).begin(target("a"), 18 << 20)
    for _ in range(6):
        file.write(bytes(3 << 20))
    file.commit(anything)
    assert (tmp_path / "a").stat().st_size == 18 << 20
    assert [(start >> 20, size >> 20) for start, size in asked] == [(6, 11), (15, 3)]


def test_a_quota(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/.hidden").write_bytes(b"12345")
    os.link(tmp_path / "folder/.hidden", tmp_path / "same")
    (tmp_path / "link").symlink_to(sys.executable)
    storage = Storage(tmp_path, limits=WriteLimits(quota=10))
    with pytest.raises(errors.QuotaExceeded):
        storage.begin(target("a"), 6)
    put(storage, "a", b"12345")
    with pytest.raises(errors.QuotaExceeded):
        put(storage, "b", b"1")
    put(storage, "a", b"54321")  # in place of as many
    with pytest.raises(errors.QuotaExceeded):
        put(storage, "a", b"654321")
    put(storage, "a", b"1")
    put(storage, "b", b"1234")
    storage.delete(target("b"), anything)
    put(storage, "c", b"1234")
    with pytest.raises(errors.QuotaExceeded):
        put(storage, "c", b"1", "rename")
    assert contents(tmp_path).keys() == {"folder/.hidden", "same", "a", "c"}


def test_uploads_under_way_count_for_a_quota(tmp_path: Path) -> None:
    storage = Storage(tmp_path, limits=WriteLimits(quota=10))
    announced, growing = storage.begin(target("a"), 6), storage.begin(target("b"))
    growing.write(b"1234")
    with pytest.raises(errors.QuotaExceeded):
        growing.write(b"5")
    announced.abort()
    put(storage, "c", b"1234567890")
    with pytest.raises(errors.QuotaExceeded):
        storage.begin(target("d"), 1)


def test_a_deleted_tree_makes_room(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_bytes(b"1234567890")
    storage = Storage(tmp_path, limits=WriteLimits(quota=10))
    with pytest.raises(errors.QuotaExceeded):
        storage.begin(target("a"), 1)
    storage.delete(target("folder"), anything, tree=True)
    put(storage, "a", b"1234567890")


def test_what_others_store_is_seen_after_a_second(tmp_path: Path) -> None:
    now = 100.0
    usage = Usage(tmp_path, clock=lambda: now)
    usage.refresh(tuple)
    (tmp_path / "theirs").write_bytes(b"123")
    usage.add(2)
    usage.refresh(tuple)
    assert usage.size == 2
    now += 1
    usage.refresh(tuple)
    assert usage.size == 3


def test_a_file_that_has_gone_while_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"123")

    def fail(*_: object, **__: object) -> os.stat_result:
        raise FileNotFoundError(errno.ENOENT, "")

    monkeypatch.setattr(os, "stat", fail)
    assert bytes_below(tmp_path) == 0


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, errors.NoSpace),
        (errno.EDQUOT, errors.QuotaExceeded),
        (errno.EIO, errors.StorageFailed),
    ],
)
def test_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    """The space is free at once, before the caller knows what to do."""
    (tmp_path / "a").write_bytes(b"old")
    file = Storage(tmp_path).begin(target("a"))
    file.write(b"half")
    descriptors = len(os.listdir("/proc/self/fd"))

    def fail(_descriptor: int, _data: bytes) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(new_file, "_write_all", fail)
    with pytest.raises(error):
        file.write(b"the rest")
    assert len(os.listdir("/proc/self/fd")) == descriptors - 1
    assert contents(tmp_path) == {"a": b"old"}


def test_a_write_that_takes_only_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    put(Storage(tmp_path), "a", b"1234567890")
    assert contents(tmp_path) == {"a": b"1234567890"}


def test_a_file_that_is_too_large_for_the_file_system(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel say what vfat says of 4 GB."""
    (tmp_path / "a").write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = Storage(tmp_path).begin(target("a"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(errors.TooLarge):
            file.write(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(tmp_path) == {"a": b"old"}


FULL_DISK = """
import os, sys
from pathlib import Path
from aserve.filesystem.writing.errors import NoSpace
from aserve.filesystem.writing.storage import Storage
from tests.aserve.filesystem.writing.storages import contents, put, target

root = Path(sys.argv[1])
storage = Storage(root)
put(storage, "a", bytes(300_000))
free = os.statvfs(root).f_bfree
for path in ("a", "b"):
    file = storage.begin(target(path))
    try:
        while True:
            file.write(bytes(65_536))
    except NoSpace as error:
        print(error.detail)
assert os.statvfs(root).f_bfree == free
assert contents(root) == {"a": bytes(300_000)}
put(storage, "a", bytes(400_000))
"""


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    """A disk of one megabyte, in a mount namespace of its own."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    mount = 'mount -t tmpfs -o size=1M none "$0" && exec "$1" -c "$2" "$0"'
    ran = subprocess.run(
        [*unshare, "sh", "-c", mount, str(tmp_path), sys.executable, FULL_DISK],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("The disk is full.\n" * 2, "")
