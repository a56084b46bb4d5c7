"""One call of a sink, which a thread makes if it may have to wait."""

from aserve.http.messages import BodySink, HttpError, Response, StoreBody
from aserve.transport.eventloop.socket_reader import SocketReader
from aserve.transport.eventloop.thread_pool import close_resource

SinkResult = Response | HttpError | None
"""What a sink has made of some bytes: the response after the last ones, or an error."""


class SinkCall:
    """Passes bytes of a body on to its sink, and closes the sink once it has made a response.

    Then a small upload takes one hop to a thread, and none more to be closed. begins: whether these
    are the first bytes; is_complete: whether they are the last; reader: what has more.
    """

    __slots__ = ("_begins", "_data", "_is_closed", "_is_complete", "_reader", "_sink", "may_wait")

    def __init__(
        self,
        sink: BodySink,
        data: bytes,
        reader: SocketReader | None = None,
        *,
        begins: bool,
        is_complete: bool,
    ) -> None:
        self.may_wait = sink.may_wait
        self._sink = sink
        self._data = data
        self._reader = reader
        self._begins = begins
        self._is_complete = is_complete
        self._is_closed = False

    def __call__(self) -> SinkResult:
        """Return the sink's response if that was all, or the error that it raised.

        The sink is closed then; after any other exception it is not.
        """
        result: SinkResult
        try:
            result = self._write()
        except HttpError as error:
            result = error
        if result:
            self._is_closed = True
            close_resource(self._sink)
        return result

    def _write(self) -> Response | None:
        sink = self._sink
        if self._begins and self._is_complete:
            store: StoreBody | None = getattr(sink, "store", None)
            if store:
                return store(self._data)
        if self._begins:
            sink.begin()
        if self._data:
            sink.write(self._data)
        is_complete = self._reader.read_into(sink) if self._reader else self._is_complete
        return sink.respond() if is_complete else None

    def close(self) -> None:
        """Close the sink, unless the call has done so. Never while the call is under way."""
        if not self._is_closed:
            self._is_closed = True
            self._sink.close()
