"""Why something could not be written: one class for each reason, with a sentence for the client.

No status codes here: which one an error becomes is up to the handlers.
"""

import errno
from contextlib import AbstractContextManager


class WriteError(Exception):
    """Something was not written; what was there before is unchanged.

    detail: one sentence, which names no file: the client knows which path it asked for.
    """

    detail = "The file could not be written."

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or self.detail
        super().__init__(self.detail)


class InvalidName(WriteError):
    """The name can belong to no file."""

    detail = "No file can have this name."


class Hidden(WriteError):
    """The name would be hidden from every request, or is hidden now."""

    detail = "This name is not allowed here."


class ParentMissing(WriteError):
    """The directory that the name should be in does not exist."""

    detail = "The folder of this path does not exist."


class Missing(WriteError):
    """There is nothing to delete or to move."""

    detail = "There is nothing at this path."


class Exists(WriteError):
    """The name is taken, and what is there is not to be replaced."""

    detail = "This name is already taken."


class IsDirectory(WriteError):
    """The path is that of a directory, and a file was expected."""

    detail = "There is a folder at this path."


class NotWritable(WriteError):
    """The operating system, or a rule of this server, does not allow it."""

    detail = "The server may not write here."


class IsLink(NotWritable):
    """A symbolic link is on the path: none is ever followed, replaced or deleted."""

    detail = "A link is on this path, and links are not followed for writing."


class IsSpecial(NotWritable):
    """A device, a socket or a pipe is at the path."""

    detail = "What is at this path is no ordinary file."


class AddOnly(NotWritable):
    """Only new names are accepted: nothing is replaced, moved or deleted."""

    detail = "Only new files are accepted here; nothing is replaced or deleted."


class TooLarge(WriteError):
    """The file is larger than the server accepts, or than the file system can store."""

    detail = "The file is too large."


class Incomplete(WriteError):
    """The bytes written are not as many as were announced."""

    detail = "The file has another size than was announced."


class NoSpace(WriteError):
    """The disk has no room for the file, or less than is to be left free."""

    detail = "The disk is full."


class QuotaExceeded(NoSpace):
    """The quota of the folder, or of the server's account, has no room for the file."""

    detail = "The quota does not allow so many bytes."


class TooManyEntries(WriteError):
    """A directory has more entries below it than are deleted or moved at once."""

    detail = "The folder holds too many files for one request."


class NotEmpty(WriteError):
    """A directory was not deleted or moved: what it holds may not be."""

    detail = "The folder holds files that may not be deleted or moved."


class Busy(WriteError):
    """Another program has locked the directory, or too many files are open: try again."""

    detail = "The folder is busy. Try again in a moment."


class OtherWriter(Busy):
    """Another request is writing the same file."""

    detail = "Another request is writing this file."


class StorageFailed(WriteError):
    """The disk reported an error."""

    detail = "The disk reported an error."


_ERRORS: dict[int, tuple[type[WriteError], str]] = {
    errno.ENOENT: (ParentMissing, ""),
    errno.ENOTDIR: (ParentMissing, ""),
    errno.ESTALE: (ParentMissing, ""),
    errno.ELOOP: (IsLink, ""),
    errno.ENAMETOOLONG: (InvalidName, "This name is too long."),
    errno.EILSEQ: (InvalidName, ""),
    errno.EINVAL: (InvalidName, ""),  # vfat and others refuse some names so
    errno.EEXIST: (Exists, ""),
    errno.ENOTEMPTY: (NotEmpty, ""),
    errno.EISDIR: (IsDirectory, ""),
    errno.EACCES: (NotWritable, ""),
    errno.EPERM: (NotWritable, ""),
    errno.EROFS: (NotWritable, "The disk is read-only."),
    errno.EBUSY: (Busy, ""),
    errno.EXDEV: (NotWritable, "Nothing can be moved to another disk."),
    errno.EFBIG: (TooLarge, "The file is larger than the disk can store."),
    errno.ENOSPC: (NoSpace, ""),
    errno.EDQUOT: (QuotaExceeded, "The disk quota of the server is used up."),
    errno.EMFILE: (Busy, "The server has too many files open. Try again in a moment."),
    errno.ENFILE: (Busy, "The server has too many files open. Try again in a moment."),
    errno.ENOMEM: (Busy, "Memory is short. Try again in a moment."),
}


def write_error(error: OSError) -> WriteError:
    """Return an error of the operating system as an error of this package."""
    kind, detail = _ERRORS.get(error.errno or 0, (StorageFailed, ""))
    return kind(detail)


class _Translation:
    """A context that raises the errors of the operating system as those of this package."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise write_error(error) from error


_TRANSLATION = _Translation()


def translated() -> AbstractContextManager[None]:
    """Raise the errors of the operating system as those of this package."""
    return _TRANSLATION
