"""How much memory bodies take that are made here, until their clients have read them."""

from collections.abc import Iterator
from threading import Lock
from weakref import WeakValueDictionary

from aserve.http.messages import BodyStream, HttpError, Response

MAX_INLINE_SIZE = 65_536
"""A body of at most this many bytes is read into memory; a larger one is sent from where it is."""


class ResponseMemory:
    """Bounds the bodies in memory that are being sent together. Any thread may use it.

    Only those of more than MAX_INLINE_SIZE bytes count, as only larger files are sent from disk.
    Equal bodies share their memory, and count once.

    max_bytes: of all of them; one that is alone may be larger.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._held: WeakValueDictionary[bytes, _Held] = WeakValueDictionary()

    @property
    def size(self) -> int:
        """How many bytes are held now."""
        with self._lock:
            return self._size()

    def hold(self, response: Response) -> Response:
        """Return a response whose body is counted until it has been sent, or is given up.

        It is sent piece by piece, so that no connection has a copy of its own. Raises HttpError 503
        where others leave no room for it.
        """
        body = response.body[0] if len(response.body) == 1 else None
        if not isinstance(body, bytes) or len(body) <= MAX_INLINE_SIZE:
            return response
        pieces = _pieces(self._add(body))
        return response.with_body((BodyStream(pieces, may_wait=False),))

    def _add(self, content: bytes) -> "_Held":
        with self._lock:
            held = self._held.get(content)
            if held is None:
                size = self._size()
                if size and size + len(content) > self._max_bytes:
                    raise HttpError(503, "Many large pages are being sent. Try again in a moment.")
                held = self._held[content] = _Held(content)
            return held

    def _size(self) -> int:
        return sum(len(held.content) for held in self._held.values())


class _Held:
    """A body that is counted as long as this object is referenced: by the streams that send it."""

    __slots__ = ("__weakref__", "content")

    def __init__(self, content: bytes) -> None:
        self.content = content


def _pieces(held: _Held) -> Iterator[bytes]:
    for start in range(0, len(held.content), MAX_INLINE_SIZE):
        yield held.content[start : start + MAX_INLINE_SIZE]
