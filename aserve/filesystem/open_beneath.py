"""Open a path that stays beneath a directory, whatever its symbolic links are and change to."""

import errno
import os
import stat

from aserve.filesystem.visibility import DEFAULT_VISIBILITY, LinkTarget, Symlinks, Visibility
from aserve.linux.libc import get_errno
from aserve.linux.openat2 import (
    AT_FDCWD,
    HOW_SIZE,
    RESOLVE_BENEATH,
    RESOLVE_CACHED,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    open_how,
    openat2,
)

# O_NONBLOCK: opening a FIFO without a writer or a leased file must not block.
_READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# O_PATH finds a file without opening it.
_PATH_FLAGS = os.O_PATH | os.O_CLOEXEC

# No mount is crossed: the files of another file system may take any time.
_AT_ONCE = RESOLVE_CACHED | RESOLVE_NO_XDEV
_DIRECTLY = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
# The second of each two may wait.
_WITHOUT_LINKS = (
    open_how(_READ_FLAGS, _DIRECTLY | _AT_ONCE),
    open_how(_READ_FLAGS, _DIRECTLY),
)
_LOCATE_WITHOUT_LINKS = (
    open_how(_PATH_FLAGS, _DIRECTLY | _AT_ONCE),
    open_how(_PATH_FLAGS, _DIRECTLY),
)
_LOCATE_THROUGH_LINKS = (
    open_how(_PATH_FLAGS, _BENEATH | _AT_ONCE),
    open_how(_PATH_FLAGS, _BENEATH),
)

_FILE_AT_ONCE = open_how(_READ_FLAGS, _AT_ONCE | RESOLVE_NO_MAGICLINKS)
_PATH_ONLY = open_how(_PATH_FLAGS, RESOLVE_NO_MAGICLINKS)
_DIRECTORY_NONBLOCKING = open_how(
    _PATH_FLAGS | os.O_DIRECTORY, RESOLVE_CACHED | RESOLVE_NO_MAGICLINKS
)
_REAL_DIRECTORY = open_how(
    _READ_FLAGS | os.O_DIRECTORY,
    RESOLVE_BENEATH | RESOLVE_CACHED | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
)

# Errors that say nothing about the file, only that the kernel cannot resolve the path at once, or
# in this way: it would have to read a directory; another file system, or an absolute link, which
# may still lead inside; RESOLVE_CACHED not known (Linux before 5.12); openat2 not known, or
# forbidden by a container's seccomp filter.
_UNDECIDED_ERRNOS = frozenset({errno.EAGAIN, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM})


def open_directory(path: bytes, *, wait: bool) -> int:
    """Return an O_PATH descriptor of a directory.

    Raises OSError; BlockingIOError where wait is False and the call would have to wait for a disk.
    """
    if wait:
        return os.open(path, _PATH_FLAGS | os.O_DIRECTORY)
    descriptor = openat2(AT_FDCWD, path, _DIRECTORY_NONBLOCKING, HOW_SIZE)
    if descriptor < 0:
        raise _os_error(errno.EAGAIN, path)
    return descriptor


def open_file(directory: int, name: bytes, *, wait: bool) -> int:
    """Return a descriptor to read the file that a name leads to, wherever its links do.

    Raises OSError; BlockingIOError where wait is False and the call would have to wait for a disk.
    """
    if wait:
        return os.open(name, _READ_FLAGS, dir_fd=directory)
    descriptor = openat2(directory, name, _FILE_AT_ONCE, HOW_SIZE)
    if descriptor < 0:
        raise _os_error(errno.EAGAIN, name)
    return descriptor


def open_real_directory(root: int, path: bytes) -> int:
    """Return a descriptor to read the directory at a relative path below the directory root.

    Neither a symbolic link nor a mount is on the way: as long as no name of the path changes, it
    leads to this directory. Raises OSError, also where the call would have to wait for a disk.
    """
    descriptor = openat2(root, path or b".", _REAL_DIRECTORY, HOW_SIZE)
    if descriptor < 0:
        raise _os_error(get_errno(), path)
    return descriptor


def open_beneath(
    root: int,
    path: bytes,
    *,
    wait: bool,
    visibility: Visibility = DEFAULT_VISIBILITY,
    is_file: bool = False,
) -> int | None:
    """Return a descriptor to read the file that a relative path leads to below the directory root.

    None where there is no such file: for a precompressed sibling this is the usual case, and no
    exception. Raises OSError; ELOOP where no symbolic link is followed, EXDEV where one leads out
    of the directory, or to what is hidden, and ENXIO where there is neither a file nor a directory.
    A link to a file inside may be relative or absolute, and may leave the directory on its way.
    Raises BlockingIOError where wait is False and the call would have to wait for a disk.

    is_file: a file is known to be there. Otherwise the kernel is asked first what it is, since
    opening is not without effect: a program that waits to write into a FIFO goes on and fails, a
    tape is rewound, a watchdog reboots the machine.
    """
    # RESOLVE_BENEATH: the kernel refuses every step out of root, so no race can add one.
    located = -1 if is_file else openat2(root, path, _LOCATE_WITHOUT_LINKS[wait], HOW_SIZE)
    if located >= 0:
        try:
            _check_type(located, path)
        finally:
            os.close(located)
    if is_file or located >= 0:
        descriptor = openat2(root, path, _WITHOUT_LINKS[wait], HOW_SIZE)
        if descriptor >= 0:
            return descriptor
    number = get_errno()
    if number == errno.ENOENT:
        return None
    return _open_indirectly(root, path, visibility, number, wait=wait)


def _open_indirectly(
    root: int, path: bytes, visibility: Visibility, number: int, *, wait: bool
) -> int | None:
    """Open a path that the kernel does not open without links, as its error number says."""
    if number == errno.ELOOP and visibility.symlinks is not Symlinks.NONE:
        return _open_through_links(root, path, visibility, wait=wait)
    return _open_undecided(root, path, visibility, number, wait=wait)


def _open_through_links(
    root: int, path: bytes, visibility: Visibility, *, wait: bool
) -> int | None:
    located = openat2(root, path, _LOCATE_THROUGH_LINKS[wait], HOW_SIZE)
    if located < 0:
        number = get_errno()
        is_missing = number == errno.ENOENT
        return None if is_missing else _open_undecided(root, path, visibility, number, wait=wait)
    try:
        _check_target(root, path, located, visibility)
        return _open_located(located, path)
    finally:
        os.close(located)


def _open_undecided(
    root: int, path: bytes, visibility: Visibility, number: int, *, wait: bool
) -> int | None:
    """Open what the kernel did not decide about, as its error number says."""
    if number not in _UNDECIDED_ERRNOS:
        raise _os_error(number, path)
    if not wait:
        raise _os_error(errno.EAGAIN, path)
    return _open_by_name(root, path, visibility)


def stat_beneath(root: int, path: bytes, visibility: Visibility) -> os.stat_result:
    """Return the status of the file that a relative path leads to, by the rules of open_beneath.

    Raises OSError, also where there is no such file. May wait; the file is not opened.
    """
    located = _locate(root, path, visibility)
    try:
        return os.fstat(located)
    finally:
        os.close(located)


def _os_error(number: int, path: bytes) -> OSError:
    return OSError(number, os.strerror(number), path)


def _open_by_name(root: int, path: bytes, visibility: Visibility) -> int | None:
    """Open a path that leaves the directory and comes back, or that the kernel cannot judge."""
    try:
        located = _locate(root, path, visibility)
    except FileNotFoundError:
        return None
    try:
        return _open_located(located, path)
    finally:
        os.close(located)


def _open_located(located: int, path: bytes) -> int:
    """Return a descriptor to read what an O_PATH descriptor stands for."""
    _check_type(located, path)
    return os.open(f"/proc/self/fd/{located}", _READ_FLAGS)


def _check_type(located: int, path: bytes) -> None:
    """Raise OSError unless a descriptor is of a file or a directory."""
    mode = os.fstat(located).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _os_error(errno.ENXIO, path)


def _locate(root: int, path: bytes, visibility: Visibility) -> int:
    """Return an O_PATH descriptor of the file at a path.

    An absolute link names the directory as its author does, perhaps through another link, and a
    relative one may climb out and in again. So the kernel first resolves the whole path, whatever
    it crosses, and opens nothing. What counts is whether the file found is inside, by the name that
    the kernel itself reports for it. It is held by a descriptor by then, so that no race can
    replace it. Raises OSError.
    """
    located = _open_path_only(root, path)
    try:
        _check_target(root, path, located, visibility)
    except OSError:
        os.close(located)
        raise
    return located


def _open_path_only(root: int, path: bytes) -> int:
    """Return an O_PATH descriptor of the file at a path; magic links of /proc are not followed."""
    located = openat2(root, path, _PATH_ONLY, HOW_SIZE)
    if located >= 0:
        return located
    number = get_errno()
    if number not in {errno.ENOSYS, errno.EPERM}:
        raise _os_error(number, path)
    return os.open(path, _PATH_FLAGS, dir_fd=root)


def link_target(root: int, path: bytes, found: int) -> LinkTarget | None:
    """Return where the links on the path to an open file lead; None where there are none.

    path: relative to the directory root, b"." for that itself. Raises OSError.
    """
    directory = os.readlink(b"/proc/self/fd/%d" % root).rstrip(b"/") + b"/"
    target = os.readlink(b"/proc/self/fd/%d" % found).removesuffix(b" (deleted)")
    if target == (directory[:-1] if path == b"." else directory + path):
        return None
    is_inside = (target + b"/").startswith(directory)
    return LinkTarget(target[len(directory) :] if is_inside else target, is_inside)


def _check_target(root: int, path: bytes, found: int, visibility: Visibility) -> None:
    """Raise OSError unless the file found at a path may be served, by its own name."""
    target = link_target(root, path, found)
    if not target:
        return
    if visibility.symlinks is Symlinks.NONE:
        raise _os_error(errno.ELOOP, path)
    if not visibility.allows(target):
        raise _os_error(errno.EXDEV, path)
