"""Open a path that stays beneath a folder, whatever its symbolic links say and whoever races us."""

import ctypes
import errno
import os
import stat
from struct import Struct

_libc = ctypes.CDLL(None, use_errno=True)

_SYS_OPENAT2 = 437  # the same number on every architecture (Linux 5.6)
_AT_FDCWD = -100
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_RESOLVE_CACHED = 0x20
_MOST_LINKS = 40  # as many as Linux itself follows

# O_NONBLOCK: a FIFO without a writer or a leased file must hold nobody up.
_TO_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# O_PATH names a file without opening it.
_NAME_ONLY = os.O_PATH | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_HOW_SIZE = ctypes.sizeof(_OpenHow)
_BENEATH = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS
_WAITING = ctypes.byref(_OpenHow(_TO_READ, 0, _BENEATH))
# No mount is crossed: how long the files of another file system take is another matter.
_AT_ONCE = ctypes.byref(_OpenHow(_TO_READ, 0, _BENEATH | _RESOLVE_CACHED | _RESOLVE_NO_XDEV))

_FOLDER_AT_ONCE = ctypes.byref(
    _OpenHow(_NAME_ONLY | os.O_DIRECTORY, 0, _RESOLVE_CACHED | _RESOLVE_NO_MAGICLINKS)
)

# What the kernel answers when it cannot tell at once, or not in this way: it would have to read a
# folder; another file system, or an absolute link, which may still lead inside; RESOLVE_CACHED not
# known (Linux before 5.12); openat2 not known, or not allowed by a container's filter.
_CANNOT_TELL = frozenset({errno.EAGAIN, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM})


def open_folder(path: bytes, *, wait: bool) -> int:
    """Return an O_PATH descriptor of a folder.

    Raises OSError; BlockingIOError where wait is False and a disk would have to be waited for.
    """
    if wait:
        return os.open(path, _NAME_ONLY | os.O_DIRECTORY)
    descriptor: int = _libc.syscall(_SYS_OPENAT2, _AT_FDCWD, path, _FOLDER_AT_ONCE, _HOW_SIZE)
    if descriptor < 0:
        raise _error(errno.EAGAIN, path)
    return descriptor


_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_STATX_SIZE = 256
_DEVICE = Struct("II")
_DEVICE_AT = 136  # stx_dev_major, stx_dev_minor


def device_of(descriptor: int) -> int:
    """Return the number of the device that a file is on, without asking a network: statx(2).

    Raises BlockingIOError where that cannot be had.
    """
    answer = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    # A libc may be too old for it, and a container's filter may forbid it.
    if not hasattr(_libc, "statx") or _libc.statx(descriptor, b"", flags, 0, answer):
        raise _error(errno.EAGAIN, b"")
    return os.makedev(*_DEVICE.unpack_from(answer, _DEVICE_AT))


def open_beneath(root: int, path: bytes, *, wait: bool) -> int | None:
    """Return a descriptor to read from what a relative path leads to below the folder root.

    None where nothing is there: for a coded sibling the usual case and no exception. Raises
    OSError; EXDEV where a symbolic link leads out of the folder. A link inside may be relative or
    spell the folder's own absolute path. Raises BlockingIOError where wait is False and a disk
    would have to be waited for.
    """
    # RESOLVE_BENEATH: the kernel refuses every step out, so no race can add one.
    how = _WAITING if wait else _AT_ONCE
    descriptor: int = _libc.syscall(_SYS_OPENAT2, root, path, how, _HOW_SIZE)
    if descriptor >= 0:
        return descriptor
    number = ctypes.get_errno()
    if number == errno.ENOENT:
        return None
    if number not in _CANNOT_TELL:
        raise _error(number, path)
    if not wait:
        raise _error(errno.EAGAIN, path)
    return _open_by_walking(root, path)


def _error(number: int, name: bytes) -> OSError:
    return OSError(number, os.strerror(number), name)


def _open_by_walking(root: int, path: bytes) -> int | None:
    try:
        located = _Walk(root).to(path.split(b"/"))
    except FileNotFoundError:
        return None
    try:
        kind = os.fstat(located).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise _error(errno.ENXIO, path)
        return os.open(f"/proc/self/fd/{located}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(located)


class _Walk:
    """The same by O_NOFOLLOW steps, for where the kernel cannot do it in one call.

    Links are followed here. Only the descriptors of the way so far are trusted: ".." means the
    folder we came from and never climbs above the root.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._way: list[int] = []
        self._links = 0

    def to(self, names: list[bytes]) -> int:
        """Return an O_PATH descriptor of what names lead to."""
        pending = names[::-1]
        try:
            while pending:
                self._step(pending.pop(), pending)
            return (
                os.dup(self._way[-1]) if self._way else os.open(b".", _NAME_ONLY, dir_fd=self._root)
            )
        finally:
            self._back_to_root()

    def _step(self, name: bytes, pending: list[bytes]) -> None:
        if name == b"..":
            if not self._way:
                raise _error(errno.EXDEV, name)
            os.close(self._way.pop())
            return
        here = self._way[-1] if self._way else self._root
        found = os.open(name, _NAME_ONLY | os.O_NOFOLLOW, dir_fd=here)
        if not stat.S_ISLNK(os.fstat(found).st_mode):
            self._way.append(found)
            return
        try:
            target = os.readlink(b"", dir_fd=found)
        finally:
            os.close(found)
        self._links += 1
        if self._links > _MOST_LINKS:
            raise _error(errno.ELOOP, name)
        if target.startswith(b"/"):
            target = self._inside(target)
            self._back_to_root()
        pending += reversed([step for step in target.split(b"/") if step not in {b"", b"."}])

    def _inside(self, target: bytes) -> bytes:
        """Return an absolute link's target relative to the root; EXDEV where it is outside."""
        root = os.readlink(b"/proc/self/fd/%d" % self._root).rstrip(b"/") + b"/"
        if not (target + b"/").startswith(root):
            raise _error(errno.EXDEV, target)
        return target[len(root) :]

    def _back_to_root(self) -> None:
        while self._way:
            os.close(self._way.pop())
