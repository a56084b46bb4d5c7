"""One client's connection on an event loop, between asyncio's transport and the HTTP parser."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import cast

from aserve.cache.response_cache import CachedResponse, HeadLookup
from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date
from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.messages import BodyPart, FileSlice, HttpError, Request, Response
from aserve.http1.connection import H1Connection
from aserve.http1.states import State
from aserve.http1.timeouts import Deadlines
from aserve.policies.site import MAX_INLINE_SIZE
from aserve.transport.connection_limiter import Decision
from aserve.transport.eventloop.connection_host import ConnectionHost, PendingResponse
from aserve.transport.eventloop.file_sender import FileSender
from aserve.transport.eventloop.tunnel import CONNECT_TIMEOUT, Tunnel
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.turns import MAX_TURN_S

_MAX_JOINED_BYTES = 65_536  # bytes of pipelined responses in one write
_MAX_JOINED_RESPONSES = 64  # pipelined responses in one write
MAX_ROUNDS = 16
"""Requests handled, or writes of cached responses, for one connection in a turn."""
_MAX_BYTES_PER_TURN = 1 << 21  # bytes sent past the transport in a turn
_MAX_BUFFERED_INPUT = 65_536  # bytes of pipelined requests that wait; then reading pauses

_NO_REQUEST = Request("", "")
_NO_CONTEXT = RequestContext(0, may_wait=False)

_logger = logging.getLogger("aserve")


class Connection(asyncio.Protocol):
    """One client: feeds what the loop reads to the HTTP parser, and writes the responses.

    received: bytes that were read from the client before.
    """

    __slots__ = (
        "_bytes_received",
        "_bytes_written",
        "_cache",
        "_client",
        "_context",
        "_deadlines",
        "_file_sender",
        "_has_failed",
        "_holds_descriptor",
        "_host",
        "_http",
        "_is_reading",
        "_next_turn",
        "_observer",
        "_peer",
        "_request",
        "_response_start",
        "_started_at",
        "_status",
        "_task",
        "_transport",
        "_tunnel",
        "_turn_end",
        "_write_resumed",
    )

    def __init__(self, host: ConnectionHost["Connection"], received: bytes = b"") -> None:
        self._client = ""
        self._host = host
        self._cache: HeadLookup | None = host.cache
        self._observer = host.observer
        self._http = H1Connection(host.limits)
        self._deadlines: Deadlines | None = None  # set by the first tick
        self._bytes_received = len(received)
        self._bytes_written = 0  # to the transport
        self._response_start = 0  # bytes handed off before this response
        self._status = 0
        self._is_reading = True
        self._holds_descriptor = False  # reserved, besides its own
        self._has_failed = False
        self._next_turn: asyncio.Handle | None = None  # scheduled, if requests are left
        self._turn_end = 0.0  # of the monotonic clock
        self._write_resumed: asyncio.Event | None = None  # while writing is paused
        self._file_sender: FileSender | None = None  # set by the first response of several writes
        self._task: asyncio.Task[None] | None = None  # sends a remainder, or opens a tunnel
        self._tunnel: Tunnel | None = None
        self._transport: asyncio.Transport
        self._request = _NO_REQUEST
        self._context = _NO_CONTEXT
        self._peer = "-"  # what policies see of the client
        self._started_at = 0.0  # POSIX seconds
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
            decision = self._host.admit(self)
            if decision is Decision.REJECT:
                self._reject(503, "Too many connections are open. Try again in a moment.")
            elif decision is Decision.DROP:
                self._transport.abort()
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
                    if self._reserve_descriptor():
                        self._request = request
                        self._send_cached(cached, now)
                        return
            size = len(data)
            self._bytes_received += size
            http.receive(data)
            self._process_requests()
            is_busy = http.state >= State.HANDLING or self._next_turn or self._write_resumed
            if size > _MAX_BUFFERED_INPUT or (is_busy and http.buffered > _MAX_BUFFERED_INPUT):
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

    def pause_writing(self) -> None:
        """Stop writing: the client reads more slowly than we write."""
        self._write_resumed = asyncio.Event()

    @isolate_errors
    def resume_writing(self) -> None:
        """Continue where writing was paused."""
        if self._write_resumed:
            self._write_resumed.set()
            self._write_resumed = None
        self._process_requests()

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

    @property
    def client(self) -> str:
        """The client's address, or "-" if it has none."""
        if not self._client:
            peer = self._transport.get_extra_info("peername")
            self._client = peer[0] if isinstance(peer, tuple) and peer else "-"
        return self._client

    @property
    def is_responding(self) -> bool:
        """Whether a response is being made or sent."""
        return self._http.state in {State.HANDLING, State.SENDING}

    @isolate_errors
    def close_after_response(self) -> None:
        """Close after the response that is being sent, or at once if there is none."""
        self._http.close_after_response()
        if self._http.state is State.IDLE and self._next_turn is None:
            self._transport.close()

    def fail(self, error: Exception) -> None:
        """Close because of an internal error, with a 500 if no byte of a response was sent yet."""
        log_internal_error(error, self.client)
        state = self._http.state
        untouched = (
            state is State.SENDING
            and self._bytes_handed_off() == self._response_start
            and not self._task
        )
        if self._next_turn:
            self._next_turn.cancel()
            self._next_turn = None
        if not self._has_failed and (state <= State.HANDLING or untouched):
            self._has_failed = True
            try:
                self._reject(500, "Something went wrong here.")
            except Exception as another:  # noqa: BLE001 - the last boundary of a connection
                log_internal_error(another, self.client)
            else:
                return
        if self.is_responding and not self._task:  # the task records its own response
            self._record_truncated(self._status or 500, 0)
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._tunnel:
            self._tunnel.abort()
        else:
            self._transport.abort()

    @isolate_errors
    def tick(self) -> None:
        """Close a client that takes too long; called once a second."""
        if self._tunnel:
            self._tunnel.idle_ticks += 1
            if self._tunnel.idle_ticks >= self._host.limits.tunnel_timeout:
                self._tunnel.abort()
            return
        state, buffered = self._http.state, self._transport.get_write_buffer_size()
        if not self._deadlines:
            self._deadlines = Deadlines(self._host.limits)
        is_blocked = buffered > 0 or (
            self._file_sender is not None and self._file_sender.is_blocked
        )
        bytes_sent = self._bytes_handed_off() - buffered
        if not self._deadlines.expired(
            state, self._bytes_received, bytes_sent, is_blocked=is_blocked
        ):
            return
        if is_blocked:
            self._transport.abort()
        elif state in {State.HEAD, State.BODY}:
            self._reject(408, "The request took too long to arrive.")
        else:
            self._transport.close()

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
        elif rounds == MAX_ROUNDS or time.monotonic() > self._turn_end:
            return True
        file_sender = self._file_sender
        return file_sender is not None and file_sender.bytes_sent > max_bytes_sent

    @isolate_errors
    def _resume_processing(self) -> None:
        """Handle the requests that the last turn left, after other connections had their turn."""
        self._next_turn = None
        self._process_requests()
        http = self._http
        if http.state is State.IDLE and not (http.keep_alive or self._next_turn):
            # close_after_response was called between the turns, and no request followed.
            self._transport.close()

    def _is_backlogged(self) -> bool:
        """Return whether too much data is buffered that cannot be handled now."""
        state, is_waiting = self._http.state, self._next_turn or self._write_resumed is not None
        return (is_waiting or state >= State.HANDLING) and self._http.buffered > _MAX_BUFFERED_INPUT

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
            if not (cached.is_one_write or self._reserve_descriptor()):
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
            self._release_descriptor()
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
            if not (result.is_one_write or self._reserve_descriptor()):
                self._start_response(self._error_response(TOO_MANY_FILES))
                return
            self._http.begin_cached(closes=result.closes)
            self._send_response([result.data, *result.rest], result.status, result.content_length)
        elif result:
            self._start_response(result)

    @isolate_errors
    def _on_response(self, pending: PendingResponse) -> None:
        if self._http.state is State.HANDLING:
            self._start_response(pending)
            self._process_requests()

    def _reject(self, status: int, detail: str) -> None:
        """Send an error response without a complete request, then close the connection."""
        self._dispatch(self._http.reject(HttpError(status, detail)))
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
            and not self._reserve_descriptor()
        ):
            self._start_response(self._error_response(TOO_MANY_FILES))
            return
        parts = self._http.start_response(response, format_date(int(time.time())))
        if pending.key:
            closes = not self._http.keep_alive
            self._host.populate_cache(self._request, pending, parts, closes=closes)
        self._send_response(parts, response.status, sum(map(len, response.body)))

    def _reserve_descriptor(self) -> bool:
        """Reserve a descriptor for a file or a tunnel. Return whether there is one."""
        self._holds_descriptor = self._holds_descriptor or self._host.reserve_descriptor(self)
        return self._holds_descriptor

    def _release_descriptor(self) -> None:
        if self._holds_descriptor:
            self._holds_descriptor = False
            self._host.release_descriptors(self)

    def _write(self, data: bytes) -> None:
        self._bytes_written += len(data)
        self._transport.write(data)

    def _send_response(self, parts: Sequence[BodyPart], status: int, body_size: int) -> None:
        """Send a response whose body has this many bytes."""
        self._send_remainder(self._start_sending(parts), status, body_size)

    def _start_sending(self, parts: Sequence[BodyPart]) -> deque[BodyPart] | None:
        """Send what can be sent without waiting. Return the unsent parts, or None."""
        file_sender = self._file_sender
        self._response_start = self._bytes_written + (file_sender.bytes_sent if file_sender else 0)
        if len(parts) == 1 and isinstance(parts[0], bytes):
            self._write(parts[0])
            return None
        if self._transport.is_closing():
            return deque(parts)
        try:
            return (file_sender or self._get_file_sender()).try_send(parts)
        except (OSError, EOFError) as error:
            self._truncate(error)
            return deque(parts)

    def _get_file_sender(self) -> FileSender:
        """Return the connection's FileSender, which is made once."""
        if not self._file_sender:
            host = self._host
            self._file_sender = FileSender(
                self._transport, host.thread_pool, host.write_readiness, self._wait_writable
            )
        return self._file_sender

    def _send_remainder(self, unsent: deque[BodyPart] | None, status: int, body_size: int) -> None:
        """Send the unsent parts of a response in a task, or finish it if there are none."""
        self._status = status
        if unsent and self._transport.is_closing():
            self._record_truncated(status, body_size - sum(map(len, unsent)))
        elif unsent:
            self._task = self._host.loop.create_task(
                self._send(self._get_file_sender(), unsent, status, body_size)
            )
        else:
            self._response_sent(status, body_size)

    def _bytes_handed_off(self) -> int:
        """Return how many bytes were handed to the transport or the kernel, in total."""
        return self._bytes_written + (self._file_sender.bytes_sent if self._file_sender else 0)

    async def _wait_writable(self) -> None:
        if self._write_resumed:
            await self._write_resumed.wait()

    def _response_sent(self, status: int, body_size: int) -> None:
        if self._holds_descriptor:
            self._release_descriptor()
        self._record(status, body_size, self._started_at)
        if self._deadlines:
            self._deadlines.reset()
        self._http.response_sent()
        if self._http.state is State.LINGERING:
            self._shutdown_write()
        elif self._http.state is State.CLOSED:
            self._transport.close()

    def _shutdown_write(self) -> None:
        try:
            self._transport.write_eof()
        except OSError:  # asyncio calls shutdown at once, which fails with ENOTCONN after a reset
            self._transport.abort()

    def _record(self, status: int, body_size: int, started_at: float) -> None:
        if self._observer:
            self._observer(self.client, self._request, status, body_size, started_at)

    def _record_truncated(self, status: int, body_size: int) -> None:
        """Record a truncated response. body_size: bytes of its body that were sent."""
        if self._observer:
            self._observer(
                self.client, self._request, status, max(0, body_size), self._started_at, True
            )

    async def _send(
        self, file_sender: FileSender, unsent: deque[BodyPart], status: int, body_size: int
    ) -> None:
        """Send the rest of a response, as fast as the client and the disk allow."""
        before, missing = file_sender.bytes_sent, sum(map(len, unsent))
        files = [part.source for part in unsent if isinstance(part, FileSlice)]
        try:
            await file_sender.send(unsent)
        except asyncio.CancelledError:
            self._record_truncated(status, body_size - missing + file_sender.bytes_sent - before)
            raise
        except Exception as error:  # noqa: BLE001 - an internal error ends the same way
            # Close, so that the client sees that the response is shorter than its Content-Length.
            self._record_truncated(status, body_size - missing + file_sender.bytes_sent - before)
            self._truncate(error)
        else:
            self._task = None
            self._finish_response(status, body_size)
        finally:
            for file in files:
                if not file.is_local:  # closing a remote file may wait for the network
                    self._host.thread_pool.submit(file.close)

    @isolate_errors
    def _finish_response(self, status: int, body_size: int) -> None:
        self._response_sent(status, body_size)
        self._process_requests()

    def _truncate(self, error: Exception) -> None:
        if not isinstance(error, (OSError, EOFError)):
            log_internal_error(error, self.client)
        elif not isinstance(error, ConnectionError):  # a client that has gone is no error
            _logger.error("%s: response truncated: %s", self._request.target, error)
        self._transport.abort()

    async def _open_tunnel(self, response: Response) -> None:
        """Connect to the target of a tunnel, then answer the client and join the two."""
        tunnel = Tunnel(self.connection_lost)
        host, port = response.tunnel or ("", 0)
        if not self._reserve_descriptor():
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
        self._release_descriptor()
        self._on_response(self._error_response(HttpError(status, detail)))

    def _error_response(self, error: HttpError) -> PendingResponse:
        return self._host.reject(self._request, self._context, error)
