"""One client's connection on an event loop, between asyncio's transport and the HTTP parser."""

import asyncio
import time
from functools import partial
from typing import cast

from aserve.cache.cached_response import CachedResponse, HeadLookup
from aserve.cache.keys import NO_FACTS, ConnectionFacts
from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date
from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.messages import HttpError, Request
from aserve.http1.states import State
from aserve.policies.response_memory import MAX_INLINE_SIZE
from aserve.transport.connection_limiter import Decision
from aserve.transport.eventloop.body_acceptor import accept_as, body_acceptor
from aserve.transport.eventloop.body_receiver import BodyReceiver
from aserve.transport.eventloop.connection_host import ConnectionHost, PendingResponse
from aserve.transport.eventloop.discarding import discard_response
from aserve.transport.eventloop.request_counter import request_counter
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.server_connection import MAX_BUFFERED_INPUT
from aserve.transport.turns import MAX_REQUESTS_PER_TURN, MAX_TURN_S

_MAX_JOINED_BYTES = 65_536  # bytes of pipelined responses in one write
_MAX_JOINED_RESPONSES = 64  # pipelined responses in one write
_MAX_BYTES_PER_TURN = 1 << 21  # bytes sent past the transport in a turn

_NO_CONTEXT = RequestContext(0, may_wait=False)


class Connection(BodyReceiver):
    """One client: feeds what the loop reads to the HTTP parser, and writes the responses.

    received: bytes that were read from the client before. peer: the address at the other end, "" if
    the transport has to be asked for it.
    """

    __slots__ = (
        "_cache",
        "_turn_end",
    )

    def __init__(self, host: ConnectionHost, received: bytes = b"", peer: str = "") -> None:
        super().__init__(host, peer, len(received))
        self._host = host
        self._http.close_stream = host.thread_pool.release
        self._cache: HeadLookup | None = host.cache
        self._request_context = _NO_CONTEXT
        self._facts = NO_FACTS  # what policies see of the client
        self._partition_key = b""  # of the part of the cache that is for it
        self._bytes_written = 0
        self._write_resumed = None
        self._sender = None
        self._task = None
        self._is_reading = True
        self._sink_call = None
        self._next_turn = None
        self._turn_end = 0.0  # of the monotonic clock
        self._takeover = None
        if received:
            self._http.receive(received)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving a client, or reject it."""
        self._transport = cast("asyncio.Transport", transport)
        if self._host.sees_connection:
            self._use_host(self._host)
            self.is_shared = self._proxied is not None
        elif accept_body := self._host.accept_body:
            self._http.accept_body = partial(accept_as, NO_FACTS, accept_body)
        try:
            decision = self._limiter.admit(self)
            if decision is not Decision.ACCEPT:
                self._reject_or_drop(decision)
            elif self._bytes_received:
                self._process_requests()
        except Exception as error:  # noqa: BLE001 - as isolate_errors does, without a call
            self.fail(error)

    def data_received(self, data: bytes) -> None:  # noqa: C901 - each call that this saves is 2 %
        """Answer from the cache or parse the data. Pause reading if too much is buffered."""
        http, cache = self._http, self._cache
        is_next = http.is_idle and self._write_resumed is None
        try:
            if is_next and cache:
                now = time.time()
                if hit := cache.lookup_head(data, now):
                    cached, request = hit
                    if cached.is_one_write:  # the hot path: one more call would be 2 % of it
                        self._bytes_written += cached.size
                        self._transport.write(cached.data)
                        if self._observer:
                            self._observer(
                                self.client, request, cached.status, cached.content_length, now
                            )
                        if cached.closes:
                            http.close()
                            self._transport.close()
                        return
                    if self._reserve_descriptors():
                        self._request = request
                        self._send_cached(cached, now)
                        return
            size = len(data)
            self._bytes_received += size
            http.receive(data)
            # One head alone, which is not cached as was just found, is not looked up again.
            is_alone = is_next and data.find(b"\r\n\r\n") == size - 4
            if not (is_alone and self._dispatch_next() and http.is_idle):
                self._process_requests()
            is_busy = (
                http.state >= State.HANDLING
                or self._next_turn
                or self._write_resumed
                or self._sink_call
            )
            if size > MAX_BUFFERED_INPUT or (is_busy and http.buffered > MAX_BUFFERED_INPUT):
                self._pause_reading()
        except Exception as error:  # noqa: BLE001 - as isolate_errors does, without a call
            self.fail(error)

    def eof_received(self) -> bool:
        """Answer the requests that the client sent before it closed its sending side."""
        try:
            self._http.receive_eof()
            self._process_requests()
        except Exception as error:  # noqa: BLE001 - as isolate_errors does, but with a return value
            self.fail(error)
        return True  # keep the transport open: a response may still have to be sent

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol
        """Release everything that the connection holds."""
        task, sender, next_turn = self._task, self._sender, self._next_turn
        self._task = self._takeover = self._sender = self._next_turn = None
        try:
            if task:
                task.cancel()
            if next_turn:
                next_turn.cancel()
            if self._on_end:
                self._end_unfinished(task)
            if sender:
                sender.close()
            if self._http.sink:
                self._release_sink()
            self._http.close()
        except Exception as error:  # noqa: BLE001 - the connection is closed in any case
            log_internal_error(error, self.client)
        finally:
            self._host.remove(self)

    # Called by the server in a reload, and after a response that was under way then.

    @isolate_errors
    def follow_reload(self) -> None:
        """Have the next requests answered by the latest successor, once none is under way."""
        if self._takeover:
            self._takeover.stop()
        if not self._is_between_requests:
            return
        former = host = self._host
        while host.successor:
            host = host.successor
        self._host = host
        self._use_context(host)
        self._http.close_stream = host.thread_pool.release
        if sender := self._sender:  # it has the threads of the former one
            self._sender = None
            self._bytes_written += sender.bytes_sent
            sender.close()
        self._use_host(host)
        former.leave(self)

    def _use_host(self, host: ConnectionHost) -> None:
        """Have requests answered as a server says: what its policies see, its cache, its sinks."""
        self._facts, self._cache, self._partition_key = NO_FACTS, host.cache, b""
        self._request_context, self._proxied = _NO_CONTEXT, None
        if host.sees_connection:
            facts = self._connection_facts()
            self._facts = host.visible(facts)
            self._partition_key = host.partition_key(self._facts)
            if host.proxied_clients:
                self._proxied = host.proxied_clients.behind(facts, self._socket_family())
            self._cache = self._proxied or host.cache_for(self._facts, self._partition_key)
        asked = self._facts, self._proxied
        self._http.count_request = request_counter(host.count_request, *asked)
        self._http.accept_body = body_acceptor(host.accept_body, *asked)

    def _connection_facts(self) -> ConnectionFacts:
        return ConnectionFacts(self.peer)

    # The turns of this connection.

    @property
    def _has_turn_pending(self) -> bool:
        return self._next_turn is not None

    def _cancel_turn(self) -> None:
        if self._next_turn:
            self._next_turn.cancel()
            self._next_turn = None

    # The path of a request.

    def _process_requests(self) -> None:
        """Handle the buffered requests in order, as long as the client reads the responses."""
        if self._next_turn or self._sink_call:
            return
        http = self._http
        rounds, sender = 0, self._sender
        max_bytes_sent = (sender.bytes_sent if sender else 0) + _MAX_BYTES_PER_TURN
        # asyncio logs a warning for each write after the client has gone, from the fifth on.
        while (
            self._write_resumed is None
            and not http.is_idle
            and not (rounds > 1 and self._transport.is_closing())
        ):
            if rounds and self._turn_is_over(rounds, max_bytes_sent):
                self._next_turn = self._host.loop.call_soon(self._resume_processing)
                break
            if not (self._send_next_cached() or self._dispatch_next()):
                if http.is_paused:
                    self._next_turn = self._host.loop.call_soon(self._resume_processing)
                break
            rounds += 1
        if http.state is State.CLOSED:
            self._transport.close()
        elif not self._is_reading and not self._next_turn and not self._is_backlogged():
            self._is_reading = True
            self._transport.resume_reading()

    def _turn_is_over(self, rounds: int, max_bytes_sent: int) -> bool:
        """Return whether other connections have their turn before the next request.

        150,000 pipelined requests took 2.9 s, in which no other connection was served.
        """
        if rounds == 1:  # most requests are alone: the first one does not read the clock
            self._turn_end = time.monotonic() + MAX_TURN_S
        elif rounds == MAX_REQUESTS_PER_TURN or time.monotonic() > self._turn_end:
            return True
        sender = self._sender
        return sender is not None and sender.bytes_sent > max_bytes_sent

    @isolate_errors
    def _resume_processing(self) -> None:
        """Handle the requests that the last turn left, after other connections had their turn."""
        self._next_turn = None
        self._process_requests()
        if self._has_finished:
            self._transport.close()

    def _is_backlogged(self) -> bool:
        """Return whether reading has to wait: too much is buffered, or a thread reads."""
        if self._sink_call and self._sink_call.reader:
            return True
        is_waiting = self._next_turn or self._sink_call or self._write_resumed is not None
        is_busy = is_waiting or self._http.state >= State.HANDLING
        return is_busy and self._http.buffered > MAX_BUFFERED_INPUT

    def _pause_reading(self) -> None:
        """Stop reading until the buffer is handled, or for this turn if nothing else is pending.

        libuv reads up to 32 times 256 KiB from a fast sender before it serves another connection.
        While a sink works, nothing is handled, and the buffer fills.
        """
        if self._sink_call and not self._is_backlogged():
            return
        if self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()
        if not (self._next_turn or self._is_backlogged()):
            self._next_turn = self._host.loop.call_soon(self._resume_processing)

    def _send_next_cached(self) -> bool:
        """Answer the next requests from the cache, up to a miss. Return whether any was hit."""
        http, cache = self._http, self._cache
        if not (cache and http.keep_alive):
            return False
        joined: list[bytes] = []
        now, size = time.time(), 0
        while (
            size < _MAX_JOINED_BYTES
            and len(joined) < _MAX_JOINED_RESPONSES
            and (head := http.peek_head())
            and (hit := cache.lookup_head(head, now))
        ):
            cached, request = hit
            if not (cached.is_one_write or self._reserve_descriptors()):
                break
            http.skip_head(head)
            self._request = request
            if cached.closes or not cached.is_one_write:
                if joined:
                    self._write(b"".join(joined))
                self._send_cached(cached, now)
                return True
            joined.append(cached.data)
            size += cached.size
            self._record(cached.status, cached.content_length, now)
        if joined:
            self._write(b"".join(joined))
        return bool(joined)

    def _send_cached(self, cached: CachedResponse, now: float) -> None:
        """Send a cached response, without a change of the HTTP state if it is sent at once."""
        unsent = self._start_sending((cached.data, *cached.rest))
        if unsent or cached.closes:
            self._started_at = now
            self._http.begin_cached(closes=cached.closes)
            self._send_remainder(unsent, cached.status, cached.content_length)
        else:
            self._release_descriptors()
            self._record(cached.status, cached.content_length, now)

    def _dispatch_next(self) -> bool:
        """Dispatch the next request. Return whether there was one."""
        request = self._http.next_request()
        if sink := self._http.sink:
            return self._receive_body(sink, request)
        if request:
            self._dispatch(request)
            return True
        return False

    def _dispatch(self, request: Request) -> None:
        if self._http.sink:
            self._release_sink()
        if self._proxied:
            request = self._identify(self._proxied, request)
            self._request_context = _NO_CONTEXT
        self._request, self._started_at = request, time.time()
        now = int(self._started_at)
        if self._request_context.now != now:  # one for all requests of a second
            self._request_context = RequestContext(now, False, *self._facts)
        result = self._host.handle(
            request,
            self._request_context,
            self._on_response,
            keep_alive=self._http.keep_alive,
            partition_key=self._partition_key,
        )
        if isinstance(result, CachedResponse):
            if not (result.is_one_write or self._reserve_descriptors()):
                self._start_response(self._error_response(TOO_MANY_FILES))
                return
            self._http.begin_cached(closes=result.closes)
            unsent = self._start_sending((result.data, *result.rest))
            self._send_remainder(unsent, result.status, result.content_length)
        elif result:
            self._start_response(result, now)

    @isolate_errors
    def _on_response(self, pending: PendingResponse) -> None:
        if self._http.state is State.HANDLING:
            self._start_response(pending)
            self._process_requests()
        else:  # the client has gone meanwhile
            discard_response(pending.response, self._host)

    def _start_response(self, pending: PendingResponse, now: int | None = None) -> None:
        response = pending.response
        if response.takeover and self._transport.is_closing():
            # The task would be cancelled before its first step, which aborts the takeover.
            discard_response(response, self._host)
            return
        if response.takeover:
            preparing = self._prepare_takeover(response, response.takeover)
            self._task = self._host.loop.create_task(preparing)
            return
        length = response.length
        if (
            (length is None or length > MAX_INLINE_SIZE or response.on_end)
            and response.body
            and not self._reserve_descriptors()
        ):
            discard_response(response, self._host)
            self._start_response(self._error_response(TOO_MANY_FILES))
            return
        date = format_date(int(time.time()) if now is None else now)
        if self._on_end:  # it is sent in place of another one, which has failed
            self._end_response(0, is_truncated=True)
        self._on_end = response.on_end
        parts = self._http.start_response(response, date)
        if pending.key:
            closes = not self._http.keep_alive
            self._host.populate_cache(self._request, pending, parts, closes=closes)
        body_size = self._http.body_size
        self._send_remainder(self._start_sending(parts), response.status, body_size)

    def _error_response(self, error: HttpError) -> PendingResponse:
        return self._host.reject(self._request, self._request_context, error)
