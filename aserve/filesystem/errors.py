"""The operating system's errors, as errors of HTTP: translated here and nowhere else."""

import errno

from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.messages import HttpError, NotFound

_NOT_FOUND = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP),
        errno.ENXIO,  # a socket
        errno.ENODEV,  # a device without a driver
        errno.EXDEV,  # a link out of the directory is no part of the site
    }
)
_ERRORS = {
    errno.EACCES: (403, "This file may not be read."),
    errno.EPERM: (403, "This file may not be read."),
    errno.EMFILE: (TOO_MANY_FILES.status, TOO_MANY_FILES.detail),
    errno.ENFILE: (TOO_MANY_FILES.status, TOO_MANY_FILES.detail),
    errno.ENOMEM: (503, "Memory is short. Try again in a moment."),
}


def http_error(error: OSError, absent: tuple[bytes, ...] = ()) -> HttpError:
    """Return the error response to an error of the file system. absent: where no file was found."""
    if error.errno in _NOT_FOUND:
        return NotFound(absent)
    default = (500, "The file could not be read.")
    status, detail = _ERRORS.get(error.errno or 0, default)
    return HttpError(status, detail)


def is_nothing_to_serve(error: OSError) -> bool:
    """Tell whether an error says that nothing is there, or that it may not be read.

    Any other may be over in a moment: what is in the way then must not pass for nothing.
    """
    return http_error(error).status in {403, 404}
