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

_LOCATING = ctypes.byref(_OpenHow(_NAME_ONLY, 0, _RESOLVE_NO_MAGICLINKS))
_FOLDER_AT_ONCE = ctypes.byref(
    _OpenHow(_NAME_ONLY | os.O_DIRECTORY, 0, _RESOLVE_CACHED | _RESOLVE_NO_MAGICLINKS)
)

# What the kernel answers when it cannot tell at once, or not in this way: it would have to read a
# folder; another file system, or an absolute link, which may still lead inside; RESOLVE_CACHED not
# known (Linux before 5.12); openat2 not known, or not allowed by a container's filter.
_CANNOT_TELL = frozenset({errno.EAGAIN, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM})


def open_directory(path: bytes, *, wait: bool) -> int:
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
    absolute, and take any way there. Raises BlockingIOError where wait is False and a disk
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
    return _open_by_name(root, path)


def _error(number: int, name: bytes) -> OSError:
    return OSError(number, os.strerror(number), name)


def _open_by_name(root: int, path: bytes) -> int | None:
    """Open it where a way leaves the folder and comes back, or the kernel cannot judge it.

    An absolute link spells the folder as people know it, which may be through a link itself, and
    a relative one may climb out and in again. So the kernel finds the end of the way, whatever it
    crosses, and opens nothing: what counts is whether that end is inside, by the name the kernel
    itself gives it. It is a descriptor by then, so that no race can exchange it.
    """
    try:
        located = _open_path_only(root, path)
    except FileNotFoundError:
        return None
    try:
        if not _is_inside(located, root):
            raise _error(errno.EXDEV, path)
        kind = os.fstat(located).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise _error(errno.ENXIO, path)
        return os.open(f"/proc/self/fd/{located}", _TO_READ)
    finally:
        os.close(located)


def _open_path_only(root: int, path: bytes) -> int:
    """Return an O_PATH descriptor of what a path leads to; no link of /proc is followed to it."""
    located: int = _libc.syscall(_SYS_OPENAT2, root, path, _LOCATING, _HOW_SIZE)
    if located >= 0:
        return located
    number = ctypes.get_errno()
    if number not in {errno.ENOSYS, errno.EPERM}:
        raise _error(number, path)
    return os.open(path, _NAME_ONLY, dir_fd=root)


def _is_inside(located: int, root: int) -> bool:
    folder = os.readlink(b"/proc/self/fd/%d" % root).rstrip(b"/") + b"/"
    return (os.readlink(b"/proc/self/fd/%d" % located) + b"/").startswith(folder)
