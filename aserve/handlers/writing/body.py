"""A body that is stored as it is."""

from abc import ABC, abstractmethod

from aserve.http.messages import HttpError, Request, Response


class StoringSink(ABC):
    """A sink that stores a body in pieces, or at once where all of it is there."""

    def begin(self) -> None:
        """Reject what cannot be stored, and open a file for the rest. Raises HttpError."""
        self._begin(at_once=False)

    def store(self, data: bytes) -> Response:
        """Store a whole body. Raises HttpError."""
        self._begin(at_once=True)
        self.write(data)
        return self.respond()

    @abstractmethod
    def _begin(self, *, at_once: bool) -> None:
        """Open the file. at_once: the body follows in the same call."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Store the next bytes. Raises HttpError."""

    @abstractmethod
    def respond(self) -> Response:
        """Return the response to a whole body. Raises HttpError."""


def check_is_whole(request: Request) -> None:
    """Raise HttpError for a body that is a part of a file, or another form of it."""
    if not request.has_any("content-range", "content-encoding"):
        return
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
