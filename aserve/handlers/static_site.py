"""request -> Response, synchronous: usable on a loop, in a worker thread, in any I/O model."""

import logging
from functools import partial

from aserve.filesystem.directory import FileSystem
from aserve.handlers.methods import METHODS
from aserve.handlers.representation import MethodTable, RequestContext, respond
from aserve.http.error_pages import error_response
from aserve.http.messages import BodyPart, FileSlice, HttpError, Request, Response

MAX_INLINE_SIZE = 65_536
"""A body of at most so many octets is read at once; a larger one is streamed from its file."""

_MAX_TRIES = 3  # at a small file that becomes shorter between being measured and being read

_logger = logging.getLogger("aserve")


class StaticSite:
    """What is served: files, and the methods that may be used on them.

    small: a body of at most so many octets is read at once. decode_slashes: whether %2F in a path
    divides names.
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
        self._find_at_once = partial(files.find, wait=False)
        self._methods = methods

    def without_inlined_bodies(self) -> "StaticSite":
        """Return the same site, which leaves to others to read any body that is in a file."""
        return StaticSite(self._files, self._methods, 0, decode_slashes=self._decode_slashes)

    def handle(self, request: Request, now: int, *, wait: bool = True) -> Response:
        """Return the response to a request, whatever happens. now: POSIX time in seconds.

        Raises BlockingIOError where wait is False and a disk would have to be waited for.
        """
        terms = RequestContext(now, self._methods, self._decode_slashes)
        find = self._find if wait else self._find_at_once
        try:
            for _ in range(_MAX_TRIES):
                response = respond(request, find, terms)
                if (body := _inline_body(response, self._max_inline_size)) is not None:
                    return response.with_body(body)
            raise HttpError(503, "The file is being rewritten.")
        except HttpError as refused:
            return error_response(request, refused)
        except Exception as error:
            if not wait and isinstance(error, BlockingIOError):
                raise
            # The boundary: a fault of ours is one reply and one line.
            _logger.error("internal error: %r while answering %r", error, request.target)
            return error_response(request, HttpError(500, "Something went wrong here.", close=True))


def _inline_body(response: Response, small: int) -> tuple[BodyPart, ...] | None:
    """Return what to send, read from the disk where it is small; None where the file shrank."""
    if response.length is None or response.length > small:
        return response.body
    pieces: tuple[BodyPart, ...] = ()
    for piece in response.body:
        octets = piece
        if isinstance(piece, FileSlice):
            octets = piece.source.read(piece.start, piece.stop)
            if len(octets) < piece.stop - piece.start:
                return None
        pieces += (octets,)
    return pieces
