"""How a connection on an event loop receives request bodies, for the handlers that want them."""

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
from aserve.transport.eventloop.response_writer import ResponseWriter
from aserve.transport.eventloop.sink_call import SinkCall, SinkResult
from aserve.transport.internal_errors import isolate_errors, log_internal_error


class PendingSinkCall(NamedTuple):
    """A call of a sink in a thread, and the future of its result."""

    call: SinkCall
    future: Future[SinkResult]


class BodyReceiver(ResponseWriter):
    """The part of a connection that passes a body on to its sink, in a thread if that may wait.

    While the sink works, no request is parsed, and reading pauses when enough was read ahead.
    """

    __slots__ = ("_sink_call",)

    # Connection sets it, which saves each client a call.
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
            self._request, self._started_at = request, time.time()
            self._request_context = RequestContext(int(self._started_at), False, *self._facts)
        elif not (data or begins):
            return False
        call = SinkCall(sink, data, begins=begins, is_complete=request is not None)
        if not sink.may_wait:
            self._on_sink_result(call())
            return True
        future = self._host.sink_queue.submit(call, partial(self._sink_done, sink))
        self._sink_call = PendingSinkCall(call, future)
        self._read_ahead()
        return False

    def _read_ahead(self) -> None:
        """Read on while the sink works: its next call gets more at once.

        Not where many uploads wait for a thread, or the memory of all would be that of one too many
        times over.
        """
        if not self._host.sink_queue.is_crowded:
            self._http.read_ahead()

    @isolate_errors
    def _sink_done(self, sink: BodySink, future: "Future[SinkResult]") -> None:
        if self._http.sink is not sink:  # the request was rejected, or the client has gone
            return
        self._sink_call = None
        self._on_sink_result(future.result())
        self._process_requests()

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
