"""Destinations of a report: a file, standard output or another descriptor, a pipe, a device.

A destination is checked before the run. No data is lost: a file has either the complete new report
or its old data, and keeps its mode, owner, hard links and mounts.
"""

import fcntl
import os
import re
import stat
import sys
import tempfile
from contextlib import suppress
from errno import EACCES, EBUSY, ENXIO, EPERM, EROFS, EXDEV
from pathlib import Path
from typing import Self

from abench.errors import ParameterError

STDOUT = 1
_ENCODING = ("utf-8", "backslashreplace")
_DESCRIPTOR = re.compile(
    r"/(?:dev/(?:fd/([0-9]{1,9})|stdin|stdout|stderr)|proc/self/fd/([0-9]{1,9}))"
)
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_HINTS = {
    **dict.fromkeys(("off", "none"), "leave the option out to disable it"),
    "stdout": "use - for standard output",
    "stderr": "use /dev/stderr for standard error",
}
_IN_PLACE = {EACCES, EBUSY, EPERM, EROFS, EXDEV}  # another file cannot replace this one


class Destination:
    """The destination of an option's report; raises ParameterError if it cannot be written.

    `descriptor` is an open descriptor, or None for a file, which is opened only when it is written.
    A file is replaced, unless `appends` is set: then what it has is kept.
    """

    appends = False

    def __init__(self, option: str, name: str) -> None:
        self.option, self.name = option, name
        try:
            self.path = Path(os.path.realpath(name))
            self.descriptor = _parse_descriptor(option, name)
            if self.descriptor is None:
                self.descriptor = _check_path(option, name, self.path)
        except (OSError, ValueError) as error:  # ValueError: a NUL byte
            raise ParameterError(option, f"{name}: {_error_reason(error)}") from None

    @property
    def is_stdout(self) -> bool:
        """Whether it is standard output, where the text report goes by default."""
        return self.descriptor == STDOUT

    @property
    def is_file(self) -> bool:
        """Whether it is a file, which can have a sibling."""
        return self.descriptor is None

    @property
    def identity(self) -> object:
        """A value that two destinations share only if one would overwrite the other."""
        if self.is_stdout:
            return STDOUT
        with suppress(OSError):  # not there yet: only its name tells it from others
            found = self.path.stat() if self.descriptor is None else os.fstat(self.descriptor)
            if not stat.S_ISCHR(found.st_mode):
                return found.st_dev, found.st_ino
            return object()
        return self.path

    def sibling(self, word: str) -> Self:
        """Return the destination `run.word.json` beside `run.json`."""
        path = self.path.with_suffix(f".{word}{self.path.suffix}")
        return type(self)(self.option, str(path))

    def save(self, text: str) -> None:
        """Write `text` there; raises OSError."""
        data = text.encode(*_ENCODING)
        if self.is_stdout:
            sys.stdout.flush()
            sys.stdout.buffer.write(data)  # always UTF-8, as the HTML declares, whatever the locale
        elif self.descriptor is not None:
            _write_all(self.descriptor, data)
        elif self.appends:
            append(self.path, data)
        elif not _replace(self.path, data):
            _overwrite(self.path, data)


def append(path: Path, data: bytes) -> None:
    """Append `data` to a file as a whole, also if others append to it; raises OSError.

    Writers that lock wait for each other, and others cannot come between since all is written at
    the end of the file, wherever that is by then.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        _write_all(descriptor, _after_a_torn_line(descriptor) + data)
    finally:
        os.close(descriptor)  # and so the lock


def _after_a_torn_line(descriptor: int) -> bytes:
    """Return the end of the line that is missing if a writer was killed in the middle of one."""
    size = os.fstat(descriptor).st_size
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""


def _parse_descriptor(option: str, name: str) -> int | None:
    """Return the descriptor that a name refers to, checked; None for the name of a file."""
    _check_word(option, name)
    if name == "-":
        number = STDOUT
    elif found := _DESCRIPTOR.fullmatch(name):
        number = int(found[1] or found[2] or _STANDARD[name])
    else:
        return None
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise ParameterError(option, f"{name} is not open for writing")
    if number == STDOUT and sys.__stdout__ is None:
        raise ParameterError(option, "there is no standard output")
    return number


def _check_word(option: str, name: str) -> None:
    """Refuse a word that was hardly meant as the name of a file."""
    hint = _HINTS.get(name.lower())
    if hint:
        raise ParameterError(option, f"{name!r} is not a file: {hint}; for a file, write ./{name}")
    if name.startswith("-") and name != "-":
        raise ParameterError(
            option, f"{name!r} is an option, not a file; for a file, write ./{name}"
        )
    if "://" in name:
        raise ParameterError(option, f"{name} is a URL: the name of a file is missing")
    if not name or name.endswith("/"):
        raise ParameterError(option, f"the name of a file is missing{name and f' in {name}'}")


def _check_path(option: str, name: str, path: Path) -> int | None:
    """Open a pipe or a device and return it; check that a file can be written."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        _check_directory(option, path.parent)
        return None
    if stat.S_ISDIR(mode):
        raise ParameterError(option, f"{name} is a directory")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise ParameterError(option, f"{name} is a {'disk' if stat.S_ISBLK(mode) else 'socket'}")
    if stat.S_ISREG(mode):
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        _check_not_standard(option, name, path)
        return None
    return _open_special(option, name, path)


def _open_special(option: str, name: str, path: Path) -> int:
    """Open a pipe or a device before the run: opening it later might block for ever."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == ENXIO:
            raise ParameterError(option, f"no process reads from {name}") from None
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def _check_directory(option: str, directory: Path) -> None:
    """Raise unless a file can be created there, which is tested by creating one."""
    if not directory.is_dir():
        raise ParameterError(option, f"there is no directory {directory}")
    with tempfile.TemporaryFile(dir=directory):
        pass


def _check_not_standard(option: str, name: str, path: Path) -> None:
    """Refuse the file of standard output or error: one would overwrite the other."""
    for descriptor, alias in ((STDOUT, "-"), (2, "/dev/stderr")):
        with suppress(OSError):  # one of the two is not there
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                raise ParameterError(
                    option, f"{name} is already the file of {alias}: use {alias} instead"
                )


def _replace(path: Path, data: bytes) -> bool:
    """Replace `path` by a new file atomically; return False if that would lose anything."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".abench-")
    except OSError as error:
        if error.errno in _IN_PLACE and path.exists():
            return False
        raise
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if not _adopt_mode(descriptor, path):
                return False
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        unfinished.replace(path)
    except OSError as error:
        if error.errno in _IN_PLACE and path.exists():
            return False
        raise
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _adopt_mode(descriptor: int, path: Path) -> bool:
    """Copy the mode of the file to be replaced; return False if more than that would be lost."""
    try:
        old, new = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        os.fchmod(descriptor, 0o666 & ~_umask())  # a temporary file is private to its owner
        return True
    alike = (old.st_uid, old.st_gid, old.st_nlink) == (new.st_uid, new.st_gid, 1)
    if not alike or _attributes(path):
        return False
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    return True


def _attributes(path: Path) -> list[str]:
    """Return the names of extended attributes, which include access control lists."""
    with suppress(OSError):  # a file system without them
        return os.listxattr(path)
    return []


def _overwrite(path: Path, data: bytes) -> None:
    """Overwrite a file in place; disk space is reserved before any data is lost."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if data:
            _reserve(descriptor, len(data))
        _write_all(descriptor, data)
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reserve(descriptor: int, length: int) -> None:
    """Reserve disk space if the file system can; restore the file's length if it fails."""
    before = os.fstat(descriptor).st_size
    try:
        os.posix_fallocate(descriptor, 0, length)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _error_reason(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
