"""Request -> Response, synchronous: for an event loop, a worker thread, any I/O model."""

import logging
from functools import partial

from aserve.filesystem.directory import FileSystem
from aserve.handlers.methods import METHODS
from aserve.handlers.representation import MethodTable, RequestContext, respond
from aserve.http.error_pages import error_response
from aserve.http.messages import BodyPart, FileSlice, HttpError, Request, Response

MAX_INLINE_SIZE = 65_536
"""A body of at most this many bytes is read into memory; a larger one is sent from its file."""

_MAX_TRIES = 3  # for a small file that shrinks between stat and read

_logger = logging.getLogger("aserve")


class StaticSite:
    """Serves a directory of files, with the given methods.

    max_inline_size: a body of at most this many bytes is read into memory. decode_slashes: whether
    %2F in a path separates segments.
    """

    def __init__(
        self,
        files: FileSystem,
        methods: MethodTable = METHODS,
        max_inline_size: int = MAX_INLINE_SIZE,
        *,
        decode_slashes: bool = False,
    ) -> None:
        self._files = files
        self._decode_slashes = decode_slashes
        self._max_inline_size = max_inline_size
        self._find = partial(files.find, wait=True)
        self._try_find = partial(files.find, wait=False)
        self._methods = methods

    def without_inlined_bodies(self) -> "StaticSite":
        """Return the same site, but with every body left in its file, for the caller to read."""
        return StaticSite(self._files, self._methods, 0, decode_slashes=self._decode_slashes)

    def handle(self, request: Request, now: int, *, wait: bool = True) -> Response:
        """Return the response to a request, whatever happens. now: POSIX time in seconds.

        Raises BlockingIOError if wait is False and the answer would have to wait for a disk.
        """
        context = RequestContext(now, self._methods, self._decode_slashes)
        find = self._find if wait else self._try_find
        try:
            for _ in range(_MAX_TRIES):
                response = respond(request, find, context)
                if (body := _inline_body(response, self._max_inline_size)) is not None:
                    return response.with_body(body)
            raise HttpError(503, "The file is being rewritten.")
        except HttpError as error:
            return error_response(request, error)
        except Exception as error:
            if not wait and isinstance(error, BlockingIOError):
                raise
            # The boundary: an internal error is one response and one log line.
            _logger.error("internal error: %r while answering %r", error, request.target)
            return error_response(request, HttpError(500, "Something went wrong here.", close=True))


def _inline_body(response: Response, max_size: int) -> tuple[BodyPart, ...] | None:
    """Return the body, read into memory if it is small; None if the file has shrunk."""
    if response.length is None or response.length > max_size:
        return response.body
    parts: tuple[BodyPart, ...] = ()
    for part in response.body:
        data = part
        if isinstance(part, FileSlice):
            data = part.source.read(part.start, part.stop)
            if len(data) < part.stop - part.start:
                return None
        parts += (data,)
    return parts
