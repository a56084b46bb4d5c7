"""Why something was not written, as a response."""

from aserve.filesystem.writing.errors import (
    AddOnly,
    Busy,
    Exists,
    Hidden,
    Incomplete,
    InvalidName,
    IsDirectory,
    Missing,
    NoSpace,
    NotEmpty,
    NotWritable,
    OtherWriter,
    ParentMissing,
    StorageFailed,
    TooLarge,
    TooManyEntries,
    WriteError,
)
from aserve.http.messages import HttpError

_STATUSES: dict[type[WriteError], int] = {
    InvalidName: 400,
    # A rule of names, which says nothing of what is there: 403 explains why the name is refused.
    Hidden: 403,
    ParentMissing: 409,
    Missing: 404,
    Exists: 409,
    IsDirectory: 405,
    AddOnly: 405,
    NotWritable: 403,
    TooLarge: 413,
    Incomplete: 400,
    NoSpace: 507,
    TooManyEntries: 403,
    NotEmpty: 409,
    Busy: 503,
    OtherWriter: 423,
    StorageFailed: 500,
}


def status_of(error: WriteError) -> int:
    """Return the status of a response that says why something was not written."""
    return next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)


def http_error(error: WriteError) -> HttpError:
    """Return an error of the storage as one of HTTP. A 405 needs an Allow header besides."""
    status = status_of(error)
    # A body that is not read to its end leaves bytes that must not be taken for a request.
    return HttpError(status, error.detail, close=isinstance(error, TooLarge | Incomplete))
