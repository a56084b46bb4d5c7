"""Where a report may go: a file, standard output or another descriptor, a pipe, a device.

All is checked before a run, and nothing that was there is lost: a file has the new report as a
whole or what it had before, and keeps its mode, its owner, its links and its mounts.
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
_WORDS = {
    **dict.fromkeys(("off", "none"), "leave the option out for none"),
    "stdout": "standard output is -",
    "stderr": "standard error is /dev/stderr",
}
_IN_PLACE = {EACCES, EBUSY, EPERM, EROFS, EXDEV}  # no other file may take this one's place


class Destination:
    """Where the report of an option goes. Making one raises ParameterError if it cannot go there.

    `descriptor` is what is open already: a file is opened only to be filled.
    """

    def __init__(self, option: str, name: str) -> None:
        self.option, self.name = option, name
        try:
            self.path = Path(os.path.realpath(name))
            self.descriptor = _parse_descriptor(option, name)
            if self.descriptor is None:
                self.descriptor = _check_path(option, name, self.path)
        except (OSError, ValueError) as error:  # the latter of a NUL
            raise ParameterError(option, f"{name}: {_why(error)}") from None

    @property
    def is_stdout(self) -> bool:
        """Whether it is where the text would go."""
        return self.descriptor == STDOUT

    @property
    def is_file(self) -> bool:
        """Whether it is a file, beside which there may be another."""
        return self.descriptor is None

    @property
    def identity(self) -> object:
        """What two destinations have alike only if one would overwrite the other."""
        if self.is_stdout:
            return STDOUT
        with suppress(OSError):
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
        content = text.encode(*_ENCODING)
        if self.is_stdout:
            sys.stdout.flush()
            sys.stdout.buffer.write(content)  # a page says that it is UTF-8, whatever the locale
        elif self.descriptor is not None:
            _write_all(self.descriptor, content)
        elif not _replace(self.path, content):
            _overwrite(self.path, content)


def _parse_descriptor(option: str, name: str) -> int | None:
    """Return the descriptor that a name means, checked; None for the name of a file."""
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
    """Refuse what was hardly meant as the name of a file."""
    hint = _WORDS.get(name.lower())
    if hint:
        raise ParameterError(option, f"{name!r} is no file; {hint}, ./{name} is one")
    if name.startswith("-") and name != "-":
        raise ParameterError(option, f"{name!r} is an option, and no file; ./{name} is one")
    if "://" in name:
        raise ParameterError(option, f"{name} is a URL: the name of a file is missing")
    if not name or name.endswith("/"):
        raise ParameterError(option, f"the name of a file is missing{name and f' in {name}'}")


def _check_path(option: str, name: str, path: Path) -> int | None:
    """Return a pipe or a device, opened; of a file, check that it can be written."""
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
    """Open a pipe or a device before the run: opened later, it might be waited for for ever."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == ENXIO:
            raise ParameterError(option, f"nobody reads from {name}") from None
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def _check_directory(option: str, directory: Path) -> None:
    """Raise unless a file can be made there, which only making one tells."""
    if not directory.is_dir():
        raise ParameterError(option, f"there is no directory {directory}")
    with tempfile.TemporaryFile(dir=directory):
        pass


def _check_not_standard(option: str, name: str, path: Path) -> None:
    """Refuse the file that standard output or error goes to: one would overwrite the other."""
    for descriptor, said in ((STDOUT, "-"), (2, "/dev/stderr")):
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                raise ParameterError(option, f"{name} is where {said} goes: say {said} for it")


def _replace(path: Path, content: bytes) -> bool:
    """Put a new file in the place of `path` in one step; False where that would lose anything."""
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
            stream.write(content)
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
    """Give a new file the mode of the one it replaces; False if it has more than that to lose."""
    try:
        old, new = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        os.fchmod(descriptor, 0o666 & ~_umask())  # a temporary file is for its owner alone
        return True
    alike = (old.st_uid, old.st_gid, old.st_nlink) == (new.st_uid, new.st_gid, 1)
    if not alike or _attributes(path):
        return False
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    return True


def _attributes(path: Path) -> list[str]:
    """Return the names of extended attributes: access control lists are in them."""
    with suppress(OSError):
        return os.listxattr(path)
    return []


def _overwrite(path: Path, content: bytes) -> None:
    """Write into a file that is there. Room for it is taken before anything of it is lost."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if content:
            _reserve(descriptor, len(content))
        _write_all(descriptor, content)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reserve(descriptor: int, length: int) -> None:
    """Take room on the disk, where the file system can; a file that has grown shrinks again."""
    before = os.fstat(descriptor).st_size
    try:
        os.posix_fallocate(descriptor, 0, length)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _why(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
