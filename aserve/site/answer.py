"""request -> Response, synchronous: usable on a loop, in a worker thread, in any I/O model."""

import logging
from dataclasses import replace

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
    """What is served: files, and the methods that may be used on them."""

    def __init__(self, files: Files, methods: Methods = METHODS) -> None:
        self._files = files
        self._methods = methods

    def answer(self, request: Request, now: int) -> Response:
        """Return the response to a request, whatever happens. now: POSIX time in seconds."""
        terms = Terms(now, self._methods)
        try:
            for _ in range(_TRIES):
                response = respond(request, self._files.find, terms)
                if (body := _body(response)) is not None:
                    return replace(response, body=body)
            raise Refused(503, "The file is being rewritten.", (("Retry-After", "1"),))
        except Refused as refused:
            return refusal(request, refused)
        except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours is one reply and one line
            _logger.error("internal error: %r while answering %r", error, request.target)
            return refusal(request, Refused(500, "Something went wrong here.", close=True))


def _body(response: Response) -> tuple[Piece, ...] | None:
    """Return what to send, read from the disk where it is small; None where the file shrank."""
    if response.length is None or response.length > SMALL:
        return response.body
    pieces = []
    for piece in response.body:
        octets = _octets(piece)
        if len(octets) < len(piece):
            return None
        pieces.append(octets)
    return tuple(pieces)


def _octets(piece: Piece) -> bytes:
    return piece.content.read(piece.start, piece.stop) if isinstance(piece, FileSlice) else piece
