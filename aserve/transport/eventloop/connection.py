"""One client's connection on an event loop, between asyncio's transport and the HTTP parser."""

import asyncio
import time
from typing import cast

from aserve.cache.response_cache import CachedResponse, HeadLookup
from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date
from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.messages import HttpError, Request, Response
from aserve.http1.states import State
from aserve.policies.site import MAX_INLINE_SIZE
from aserve.transport.connection_limiter import Decision
from aserve.transport.eventloop.connection_host import ConnectionHost, PendingResponse
from aserve.transport.eventloop.response_writer import ResponseWriter
from aserve.transport.eventloop.tunnel import CONNECT_TIMEOUT, Tunnel
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.server_connection import MAX_BUFFERED_INPUT
from aserve.transport.turns import MAX_REQUESTS_PER_TURN, MAX_TURN_S

_MAX_JOINED_BYTES = 65_536  # bytes of pipelined responses in one write
_MAX_JOINED_RESPONSES = 64  # pipelined responses in one write
_MAX_BYTES_PER_TURN = 1 << 21  # bytes sent past the transport in a turn

_NO_CONTEXT = RequestContext(0, may_wait=False)


class Connection(ResponseWriter):
    """One client: feeds what the loop reads to the HTTP parser, and writes the responses.

    received: bytes that were read from the client before.
    """

    __slots__ = (
        "_cache",
        "_context",
        "_is_reading",
        "_next_turn",
        "_peer",
        "_tunnel",
        "_turn_end",
    )

    def __init__(self, host: ConnectionHost, received: bytes = b"") -> None:
        super().__init__(host, received=len(received))
        self._host = host
        self._cache: HeadLookup | None = host.cache
        self._context = _NO_CONTEXT
        self._peer = "-"  # what policies see of the client
        self._bytes_written = 0
        self._write_resumed = None
        self._file_sender = None
        self._task = None
        self._is_reading = True
        self._next_turn: asyncio.Handle | None = None  # scheduled, if requests are left
        self._turn_end = 0.0  # of the monotonic clock
        self._tunnel: Tunnel | None = None
        if received:
            self._http.receive(received)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving a client, or reject it."""
        self._transport = cast("asyncio.Transport", transport)
        if self._host.has_cache_partitions:
            self._peer = self.client
            self._cache = self._host.cache_for(RequestContext(0, client=self._peer))
        try:
            decision = self._limiter.admit(self)
            if decision is not Decision.ACCEPT:
                self._turn_away(decision)
            elif self._bytes_received:
                self._process_requests()
        except Exception as error:  # noqa: BLE001 - as isolate_errors does, without a call
            self.fail(error)

    def data_received(self, data: bytes) -> None:  # noqa: C901 - each call that this saves is 2 %
        """Answer from the cache or parse the data. Pause reading if too much is buffered."""
        http, cache = self._http, self._cache
        try:
            if http.is_idle and cache and self._write_resumed is None:
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
            self._process_requests()
            is_busy = http.state >= State.HANDLING or self._next_turn or self._write_resumed
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
        task, file_sender, next_turn = self._task, self._file_sender, self._next_turn
        self._task = self._tunnel = self._file_sender = self._next_turn = None
        try:
            if task:
                task.cancel()
            if next_turn:
                next_turn.cancel()
            if file_sender:
                file_sender.close()
            self._http.close()
        except Exception as error:  # noqa: BLE001 - the connection is closed in any case
            log_internal_error(error, self.client)
        finally:
            self._host.remove(self)

    # Called by the server.

    def abort(self) -> None:
        """Close at once."""
        if self._tunnel:
            self._tunnel.abort()
        else:
            self._transport.abort()

    def _check_deadlines(self) -> None:
        if not self._tunnel:
            super()._check_deadlines()
            return
        self._tunnel.idle_ticks += 1
        if self._tunnel.idle_ticks >= self._limits.tunnel_timeout:
            self._tunnel.abort()

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
        if self._next_turn:
            return
        http = self._http
        rounds, file_sender = 0, self._file_sender
        max_bytes_sent = (file_sender.bytes_sent if file_sender else 0) + _MAX_BYTES_PER_TURN
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
        file_sender = self._file_sender
        return file_sender is not None and file_sender.bytes_sent > max_bytes_sent

    @isolate_errors
    def _resume_processing(self) -> None:
        """Handle the requests that the last turn left, after other connections had their turn."""
        self._next_turn = None
        self._process_requests()
        if self._has_finished:
            self._transport.close()

    def _is_backlogged(self) -> bool:
        """Return whether too much data is buffered that cannot be handled now."""
        state, is_waiting = self._http.state, self._next_turn or self._write_resumed is not None
        return (is_waiting or state >= State.HANDLING) and self._http.buffered > MAX_BUFFERED_INPUT

    def _pause_reading(self) -> None:
        """Stop reading until the buffer is handled, or for this turn if nothing else is pending.

        libuv reads up to 32 times 256 KiB from a fast sender before it serves another connection.
        """
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
                self._write(b"".join(joined))
                self._send_cached(cached, now)
                return True
            joined.append(cached.data)
            size += cached.size
            self._record(cached.status, cached.content_length, now)
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
        if request := self._http.next_request():
            self._dispatch(request)
            return True
        return False

    def _dispatch(self, request: Request) -> None:
        self._request, self._started_at = request, time.time()
        self._context = RequestContext(int(self._started_at), False, self._peer)
        result = self._host.handle(
            request, self._context, self._on_response, keep_alive=self._http.keep_alive
        )
        if isinstance(result, CachedResponse):
            if not (result.is_one_write or self._reserve_descriptors()):
                self._start_response(self._error_response(TOO_MANY_FILES))
                return
            self._http.begin_cached(closes=result.closes)
            unsent = self._start_sending((result.data, *result.rest))
            self._send_remainder(unsent, result.status, result.content_length)
        elif result:
            self._start_response(result)

    @isolate_errors
    def _on_response(self, pending: PendingResponse) -> None:
        if self._http.state is State.HANDLING:
            self._start_response(pending)
            self._process_requests()

    def _start_response(self, pending: PendingResponse) -> None:
        response = pending.response
        if response.tunnel:
            self._task = self._host.loop.create_task(self._open_tunnel(response))
            return
        length = response.length
        if (
            length is not None
            and length > MAX_INLINE_SIZE
            and response.body
            and not self._reserve_descriptors()
        ):
            self._start_response(self._error_response(TOO_MANY_FILES))
            return
        parts = self._http.start_response(response, format_date(int(time.time())))
        if pending.key:
            closes = not self._http.keep_alive
            self._host.populate_cache(self._request, pending, parts, closes=closes)
        body_size = sum(map(len, response.body))
        self._send_remainder(self._start_sending(parts), response.status, body_size)

    async def _open_tunnel(self, response: Response) -> None:
        """Connect to the target of a tunnel, then answer the client and join the two."""
        tunnel = Tunnel(self.connection_lost)
        host, port = response.tunnel or ("", 0)
        if not self._reserve_descriptors():
            self._task = None
            self._on_response(self._error_response(TOO_MANY_FILES))
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._host.loop.create_connection(lambda: tunnel.target_end, host, port)
        except TimeoutError:
            self._reject_tunnel(504, "The target of the tunnel does not answer.")
        except (OSError, UnicodeError):  # UnicodeError: not a valid host name
            self._reject_tunnel(502, "The target of the tunnel cannot be reached.")
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            self._task = None
            self.fail(error)
        else:
            self._task = None
            self._start_tunnel(tunnel, response)

    @isolate_errors
    def _start_tunnel(self, tunnel: Tunnel, response: Response) -> None:
        self._tunnel = tunnel
        (data,) = self._http.start_response(response, format_date(int(time.time())))
        self._transport.write(cast("bytes", data))
        if not self._is_reading:
            self._transport.resume_reading()
        has_ended = self._http.eof_received
        tunnel.open(self._transport, self._http.start_tunnel(), has_ended=has_ended)
        self._record(response.status, 0, self._started_at)

    def _reject_tunnel(self, status: int, detail: str) -> None:
        self._task = None
        self._release_descriptors()
        self._on_response(self._error_response(HttpError(status, detail)))

    def _error_response(self, error: HttpError) -> PendingResponse:
        return self._host.reject(self._request, self._context, error)
