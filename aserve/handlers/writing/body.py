"""A body that is stored as it is."""

from aserve.http.messages import HttpError, Request


def check_is_whole(request: Request) -> None:
    """Raise HttpError for a body that is a part of a file, or another form of it."""
    if request.header("content-range") is not None:
        # RFC 9110 section 14.5: a server that ignored it would take a part for the whole.
        raise HttpError(400, "A part of a file cannot be stored: Content-Range is not supported.")
    coding = request.header("content-encoding")
    if coding is not None and coding.strip().lower() != "identity":
        detail = "The body must not be encoded: its bytes are stored as they are."
        raise HttpError(415, detail, (("Accept-Encoding", "identity"),))


def announced_size(request: Request) -> int | None:
    """Return the size of the body in bytes; None if it comes in chunks."""
    if "transfer-encoding" in request.headers:
        return None
    return int(request.headers["content-length"])
