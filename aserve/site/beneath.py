"""Find a path that stays beneath a folder, whatever its symbolic links say and whoever races us."""

import ctypes
import errno
import os
import stat

_libc = ctypes.CDLL(None, use_errno=True)

_SYS_OPENAT2 = 437  # the same number on every architecture (Linux 5.6)
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_MOST_LINKS = 40  # as many as Linux itself follows

# O_PATH names a file without opening it: a FIFO or a device is never touched.
_NAME_ONLY = os.O_PATH | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def locate(root: int, names: tuple[bytes, ...]) -> int:
    """Return an O_PATH descriptor of what names lead to below the folder root.

    Raises OSError; EXDEV where a symbolic link leads out of the folder. A link inside may be
    relative or spell the folder's own absolute path.
    """
    try:
        return _openat2(root, b"/".join(names) or b".")
    except OSError as error:
        # EXDEV: an absolute link, which may still lead inside. ENOSYS: Linux before 5.6;
        # EPERM: a container's filter that does not know the call.
        if error.errno not in {errno.EXDEV, errno.ENOSYS, errno.EPERM}:
            raise
        return _Walk(root).to(names)


def reopen(located: int) -> int:
    """Return a descriptor to read from what an O_PATH descriptor names: that very file."""
    return os.open(f"/proc/self/fd/{located}", os.O_RDONLY | os.O_CLOEXEC)


def _openat2(root: int, path: bytes) -> int:
    """RESOLVE_BENEATH: the kernel refuses every step out, so no race can add one."""
    how = _OpenHow(_NAME_ONLY, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    descriptor: int = _libc.syscall(_SYS_OPENAT2, root, path, ctypes.byref(how), ctypes.sizeof(how))
    if descriptor < 0:
        raise _error(ctypes.get_errno(), path)
    return descriptor


def _error(number: int, name: bytes) -> OSError:
    return OSError(number, os.strerror(number), name)


class _Walk:
    """The same by O_NOFOLLOW steps, for where the kernel cannot do it in one call.

    Links are followed here. Only the descriptors of the way so far are trusted: ".." means the
    folder we came from and never climbs above the root.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._way: list[int] = []
        self._links = 0

    def to(self, names: tuple[bytes, ...]) -> int:
        pending = list(reversed(names))
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
