"""How a connection on an event loop receives request bodies, for the handlers that want them."""

import asyncio
import time
from abc import abstractmethod
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from aserve.handlers.handler import RequestContext
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.http1.connection import CONTINUE
from aserve.transport.eventloop.connection_host import PendingResponse
from aserve.transport.eventloop.discarding import discard_response
from aserve.transport.eventloop.file_sender import FileSender
from aserve.transport.eventloop.response_writer import ResponseWriter
from aserve.transport.eventloop.sink_call import SinkCall, SinkResult
from aserve.transport.eventloop.socket_reader import SocketReader
from aserve.transport.internal_errors import isolate_errors, log_internal_error

# From this many bytes in one call the client is so fast that a look at its socket is not needed.
_MIN_FAST_READ = 1 << 15
_MIN_LONG_REST = 1 << 18  # bytes of a body whose end is not near: waiting for it delays no response
_PAUSE_S = 0.001  # A client of 100 MB/s takes a quarter less processor time than without.


class PendingSinkCall(NamedTuple):
    """A call of a sink in a thread, and the future of its result.

    reader: what takes more of the body from the socket in that call.
    """

    call: SinkCall
    future: Future[SinkResult]
    reader: SocketReader | None


class BodyReceiver(ResponseWriter):
    """The part of a connection that passes a body on to its sink, in a thread if that may wait.

    While the sink works, no request is parsed. The thread reads on by itself as long as something
    is there, and the transport does not; if that cannot be, it reads what fits into its buffer.
    """

    __slots__ = (
        "_next_turn",
        "_sink_call",
    )

    # Connection sets them, which saves each client a call.
    _next_turn: asyncio.Handle | None
    """Scheduled, if something is left to do without further input."""
    _sink_call: PendingSinkCall | None
    """Set while a thread works for the sink."""

    @abstractmethod
    def _start_response(self, pending: PendingResponse) -> None:
        """Start to send a response."""

    def _check_deadlines(self) -> None:
        if not self._sink_call:  # a slow disk is not the client's fault
            super()._check_deadlines()

    def _receive_body(self, sink: BodySink, request: Request | None) -> bool:
        """Pass on what has arrived. Return whether the next request may be parsed.

        request: set once the body is complete or was rejected.
        """
        http = self._http
        if request and request.error:
            self._dispatch(request)
            return True
        data, begins = http.take_body(), http.sink_is_new
        if begins:
            http.sink_is_new, self._body_started_at = False, time.time()
        if request:
            self._begin_handling(request)
        elif not (data or begins):
            return False
        is_complete = request is not None
        if sink.may_wait:
            self._call_in_thread(sink, data, begins=begins, is_complete=is_complete)
            return False
        self._on_sink_result(SinkCall(sink, data, begins=begins, is_complete=is_complete)())
        return True

    def _begin_handling(self, request: Request) -> None:
        if self._proxied:
            request = self._identify(self._proxied, request)
        self._request, self._started_at = request, time.time()
        self._request_context = RequestContext(int(self._started_at), False, *self._facts)

    def _call_in_thread(
        self, sink: BodySink, data: bytes, *, begins: bool, is_complete: bool
    ) -> None:
        reader = self._open_reader()
        call = SinkCall(sink, data, reader, begins=begins, is_complete=is_complete)
        future = self._host.sink_queue.submit(call, partial(self._sink_done, sink))
        if reader:
            future.add_done_callback(lambda _: reader.close())
        self._sink_call = PendingSinkCall(call, future, reader)

    def _open_reader(self) -> SocketReader | None:
        """Return what reads the rest of the body in a thread, and pause the transport.

        None if there is no rest, if the client waits for 100 (Continue), or if the bytes have to
        come through the transport.
        """
        http, transport = self._http, self._transport
        size = 0 if http.wants_continue else http.unread_body
        # A uvloop transport is not paused before it reads: it would start to read all the same.
        if not (size and FileSender.can_send_on(transport) and self._can_pause()):
            return None
        if not self._reserve_descriptors():
            return None
        reader = SocketReader(transport.get_extra_info("socket").fileno(), size)
        if self._is_reading:
            self._is_reading = False
            transport.pause_reading()
        return reader

    def _can_pause(self) -> bool:
        return not self._is_reading or self._transport.is_reading()

    @isolate_errors
    def _sink_done(self, sink: BodySink, future: "Future[SinkResult]") -> None:
        if self._http.sink is not sink:  # the request was rejected, or the client has gone
            return
        reader = self._sink_call.reader if self._sink_call else None
        self._sink_call = None
        if reader:
            self._count_read(reader)
        if reader and reader.is_lost:
            self.abort()
            return
        result = future.result()
        if reader and not result and reader.bytes_read >= _MIN_FAST_READ:
            self._read_on_later(sink, reader)
            return
        self._on_sink_result(result)
        self._process_requests()

    def _read_on_later(self, sink: BodySink, reader: SocketReader) -> None:
        """Have a thread read more of a body from a fast client, without waiting for its next bytes.

        Where nothing was left, the client gets a moment to send: each call costs a turn of the loop
        and of a thread, however little there is.
        """
        if reader.may_have_more:
            self._read_on(sink)
        elif self._http.unread_body >= _MIN_LONG_REST:
            self._next_turn = self._host.loop.call_later(_PAUSE_S, self._read_on, sink)
        else:
            self._process_requests()

    @isolate_errors
    def _read_on(self, sink: BodySink) -> None:
        self._next_turn = None
        if self._http.sink is sink:
            self._call_in_thread(sink, b"", begins=False, is_complete=False)
        else:  # it was rejected meanwhile
            self._process_requests()

    def _count_read(self, reader: SocketReader) -> None:
        """Account for what came past the transport, perhaps the rest of the body."""
        self._bytes_received += reader.bytes_read
        self._http.skip_body(reader.bytes_read)
        if request := self._http.next_request():
            self._begin_handling(request)

    def _on_sink_result(self, result: SinkResult) -> None:
        """Go on after a sink has taken some bytes. result: the response, after all of them."""
        if result:
            self._http.sink = None  # its call has closed it
        if isinstance(result, HttpError):
            self._dispatch(self._http.reject_body(result))
        elif result:
            self._start_response(self._host.finish(self._request, self._request_context, result))
        elif self._http.wants_continue:
            self._http.wants_continue = False
            self._write(CONTINUE)

    def _release_sink(self) -> None:
        """Close the sink of a request that is rejected, or whose client has gone."""
        sink, self._http.sink = self._http.sink, None
        self._http.body.clear()
        pending, self._sink_call = self._sink_call, None
        if pending:
            pending.future.add_done_callback(partial(self._drop_result, self.client))
            self._host.thread_pool.release(pending.call, after=pending.future)
            self._host.sink_queue.cancel(pending.future)  # if no thread has begun it
        elif sink:
            self._host.thread_pool.release(sink)

    def _drop_result(self, client: str, future: "Future[SinkResult]") -> None:
        """Take the result of a sink that was abandoned meanwhile, in the thread that made it."""
        if future.cancelled():
            return
        if error := future.exception():
            log_internal_error(error, client)
        elif isinstance(response := future.result(), Response):
            discard_response(response, self._host)
