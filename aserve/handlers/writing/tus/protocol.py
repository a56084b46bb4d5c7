"""What all requests and responses of tus 1.0.0 have in common (tus.io/protocols)."""

from collections.abc import Iterator
from contextlib import contextmanager

from aserve.filesystem.writing.errors import WriteError
from aserve.handlers.writing.upload_folder import upload_error
from aserve.http.integers import parse_decimal
from aserve.http.messages import Headers, HttpError, Request

VERSION = "1.0.0"
RESUMABLE = ("Tus-Resumable", VERSION)
"""Every response has it, except those to OPTIONS."""

NO_STORE = ("Cache-Control", "no-store")
MEDIA_TYPE = "application/offset+octet-stream"
"""Of the bytes of a file from an offset on."""

_EXTENSIONS = "creation,creation-defer-length,creation-with-upload,expiration,checksum,termination"


def capabilities(max_size: int | None, algorithms: str) -> Headers:
    """Return the headers by which clients learn what is supported. max_size: None for no limit."""
    headers: Headers = (
        RESUMABLE,
        ("Tus-Version", VERSION),
        ("Tus-Extension", _EXTENSIONS),
        ("Tus-Checksum-Algorithm", algorithms),
    )
    return headers if max_size is None else (*headers, ("Tus-Max-Size", str(max_size)))


def check_version(request: Request) -> None:
    """Raise HttpError 412 unless a request is of the version that is supported."""
    if request.header("tus-resumable") != VERSION:
        detail = f"The header Tus-Resumable must be {VERSION}."
        raise HttpError(412, detail, (("Tus-Version", VERSION),), close=True)


def check_media_type(request: Request) -> None:
    """Raise HttpError 415 unless the body is the bytes of a file, as they are."""
    media_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise HttpError(415, f"The Content-Type must be {MEDIA_TYPE}.", close=True)


def parse_size(request: Request, name: str) -> int | None:
    """Return the bytes that a header says, None without it. Raises HttpError 400.

    name: of the header, in lower case.
    """
    text = request.header(name)
    if text is None:
        return None
    size = parse_decimal(text)
    if size is None:
        raise HttpError(400, f"The header {name.title()} must be a number of bytes.")
    return size


@contextmanager
def tus_errors() -> Iterator[None]:
    """Raise what is raised as errors of HTTP, with the headers that tus asks for."""
    try:
        yield
    except (HttpError, WriteError) as error:
        reason = upload_error(error)
        headers = (RESUMABLE, NO_STORE, *reason.headers)
        raise HttpError(reason.status, reason.detail, headers, close=reason.close) from None


def checksum_mismatch() -> HttpError:
    """Return what tus has for a body that does not have its checksum."""
    return HttpError(460, "The body has another checksum. None of it counts.")
