"""The operating system's errors, as errors of HTTP: translated here and nowhere else."""

import errno

from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.messages import HttpError

_ERRORS = {
    errno.ENOENT: (404, "Nothing is here."),
    errno.ENOTDIR: (404, "Nothing is here."),
    errno.ENAMETOOLONG: (404, "Nothing is here."),
    errno.ELOOP: (404, "Nothing is here."),
    errno.ENXIO: (404, "Nothing is here."),  # a socket
    errno.ENODEV: (404, "Nothing is here."),  # a device without a driver
    errno.EXDEV: (404, "Nothing is here."),  # a link out of the directory is no part of the site
    errno.EACCES: (403, "This file may not be read."),
    errno.EPERM: (403, "This file may not be read."),
    errno.EMFILE: (TOO_MANY_FILES.status, TOO_MANY_FILES.detail),
    errno.ENFILE: (TOO_MANY_FILES.status, TOO_MANY_FILES.detail),
    errno.ENOMEM: (503, "Memory is short. Try again in a moment."),
}


def http_error(error: OSError) -> HttpError:
    """Return the error response to an error of the file system."""
    default = (500, "The file could not be read.")
    status, detail = _ERRORS.get(error.errno or 0, default)
    return HttpError(status, detail)
