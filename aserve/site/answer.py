"""request -> Response, synchronous: usable on a loop, in a worker thread, in any I/O model."""

import logging
from functools import partial

from aserve.semantics.messages import FileSlice, Piece, Refused, Request, Response
from aserve.semantics.methods import METHODS
from aserve.semantics.refusals import refusal
from aserve.semantics.respond import Methods, Terms, respond
from aserve.site.files import Files

SMALL = 65_536
"""A body of at most so many octets is read at once; a larger one is streamed from its file."""

_TRIES = 3  # at a small file that becomes shorter between being measured and being read

_logger = logging.getLogger("aserve")


class Site:
    """What is served: files, and the methods that may be used on them.

    small: a body of at most so many octets is read at once. decode_slashes: whether %2F in a path
    divides names.
    """

    def __init__(
        self,
        files: Files,
        methods: Methods = METHODS,
        small: int = SMALL,
        *,
        decode_slashes: bool = False,
    ) -> None:
        self._files = files
        self._decode_slashes = decode_slashes
        self._small = small
        self._find = partial(files.find, wait=True)
        self._find_at_once = partial(files.find, wait=False)
        self._methods = methods

    def unread(self) -> "Site":
        """Return the same site, which leaves to others to read any body that is in a file."""
        return Site(self._files, self._methods, 0, decode_slashes=self._decode_slashes)

    def answer(self, request: Request, now: int, *, wait: bool = True) -> Response:
        """Return the response to a request, whatever happens. now: POSIX time in seconds.

        Raises BlockingIOError where wait is False and a disk would have to be waited for.
        """
        terms = Terms(now, self._methods, self._decode_slashes)
        find = self._find if wait else self._find_at_once
        try:
            for _ in range(_TRIES):
                response = respond(request, find, terms)
                if (body := _body(response, self._small)) is not None:
                    return response.with_body(body)
            raise Refused(503, "The file is being rewritten.")
        except Refused as refused:
            return refusal(request, refused)
        except Exception as error:
            if not wait and isinstance(error, BlockingIOError):
                raise
            # The boundary: a fault of ours is one reply and one line.
            _logger.error("internal error: %r while answering %r", error, request.target)
            return refusal(request, Refused(500, "Something went wrong here.", close=True))


def _body(response: Response, small: int) -> tuple[Piece, ...] | None:
    """Return what to send, read from the disk where it is small; None where the file shrank."""
    if response.length is None or response.length > small:
        return response.body
    pieces: tuple[Piece, ...] = ()
    for piece in response.body:
        octets = piece
        if isinstance(piece, FileSlice):
            octets = piece.content.read(piece.start, piece.stop)
            if len(octets) < piece.stop - piece.start:
                return None
        pieces += (octets,)
    return pieces
