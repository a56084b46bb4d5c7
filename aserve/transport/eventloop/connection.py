"""One client's connection on an event loop: between asyncio's transport and the wire's exchange."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import cast

from aserve.cache.response_cache import CachedResponse
from aserve.handlers.static_site import MAX_INLINE_SIZE
from aserve.http.dates import format_date
from aserve.http.error_pages import TOO_MANY_FILES, error_response
from aserve.http.messages import BodyPart, FileSlice, HttpError, Request, Response
from aserve.http1.connection import H1Connection
from aserve.http1.states import State
from aserve.http1.timeouts import Deadlines
from aserve.transport.connection_limiter import Decision
from aserve.transport.eventloop.connection_host import ConnectionHost, PendingResponse
from aserve.transport.eventloop.file_sender import FileSender
from aserve.transport.eventloop.tunnel import CONNECT_TIMEOUT, Tunnel
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.turns import MAX_TURN_S

_MAX_JOINED_BYTES = 65_536  # octets of pipelined replies in one write
_MAX_JOINED_RESPONSES = 64  # pipelined responses in one write
MAX_ROUNDS = 16
"""Requests that are worked out, or writes of remembered responses, for one connection in a turn."""
_MAX_BYTES_PER_TURN = 1 << 21  # bytes past the transport in a turn
_MAX_BUFFERED_INPUT = (
    65_536  # octets of requests behind the one being answered; then reading pauses
)

_NO_REQUEST = Request("", "")

_logger = logging.getLogger("aserve")


class Connection(asyncio.Protocol):
    """One client: what the loop hands us goes into the exchange, what comes out goes back.

    octets: what was read from it before.
    """

    __slots__ = (
        "_bytes_received",
        "_bytes_written",
        "_cache",
        "_client",
        "_deadlines",
        "_file_sender",
        "_has_failed",
        "_holds_descriptor",
        "_host",
        "_http",
        "_is_reading",
        "_next_turn",
        "_observer",
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
        self._cache = host.cache
        self._observer = host.observer
        self._http = H1Connection(host.limits)
        self._deadlines: Deadlines | None = None  # once it has lasted for a tick
        self._bytes_received = len(received)
        self._bytes_written = 0  # octets, to the transport
        self._response_start = 0  # octets that had left when the response began to
        self._status = 0
        self._is_reading = True
        self._holds_descriptor = False  # holds a descriptor beside its own
        self._has_failed = False
        self._next_turn: asyncio.Handle | None = None  # its next turn, if it is due at once
        self._turn_end = 0.0  # of this turn, by the monotonic clock
        self._write_resumed: asyncio.Event | None = None  # while writing is paused
        self._file_sender: FileSender | None = None  # once a reply was too large for one write
        self._task: asyncio.Task[None] | None = None  # a reply that takes its time
        self._tunnel: Tunnel | None = None
        self._transport: asyncio.Transport
        self._request = _NO_REQUEST
        self._started_at = 0.0  # POSIX seconds
        if received:
            self._http.receive(received)

    # What the loop tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to a client."""
        self._transport = cast("asyncio.Transport", transport)
        try:
            admission = self._host.admit(self)
            if admission is Decision.REJECT:
                self._reject(503, "Too many connections are open. Try again in a moment.")
            elif admission is Decision.DROP:
                self._transport.abort()
            elif self._bytes_received:
                self._process_requests()
        except Exception as error:  # noqa: BLE001 - as contained does, without a call
            self.fail(error)

    def data_received(self, data: bytes) -> None:  # noqa: C901 - calls less, of which each is 2 %
        """Take what has arrived; read no further while too much of it waits."""
        exchange, recall = self._http, self._cache
        try:
            if exchange.is_idle and recall and self._write_resumed is None:
                now = time.time()
                if known := recall.lookup_head(data, now):
                    kept, request = known
                    if kept.is_one_write:  # the hot path: a frame more would be 2 % of it
                        self._bytes_written += kept.size
                        self._transport.write(kept.data)
                        if self._observer:
                            self._observer(
                                self.client, request, kept.status, kept.content_length, now
                            )
                        if kept.closes:
                            exchange.close()
                            self._transport.close()
                        return
                    if self._reserve_descriptor():
                        self._request = request
                        self._send_cached(kept, now)
                        return
            count = len(data)
            self._bytes_received += count
            exchange.receive(data)
            self._process_requests()
            waits = exchange.state >= State.HANDLING or self._next_turn or self._write_resumed
            if count > _MAX_BUFFERED_INPUT or (waits and exchange.buffered > _MAX_BUFFERED_INPUT):
                self._pause_reading()
        except Exception as error:  # noqa: BLE001 - as contained does, without a call
            self.fail(error)

    def eof_received(self) -> bool:
        """Answer what was asked before the client's end of the connection was shut."""
        try:
            self._http.receive_eof()
            self._process_requests()
        except Exception as error:  # noqa: BLE001 - as contained does, but for the value
            self.fail(error)
        return True  # closing stays with us: an answer may still be on its way

    def pause_writing(self) -> None:
        """Hold back: the client reads more slowly than we write."""
        self._write_resumed = asyncio.Event()

    @isolate_errors
    def resume_writing(self) -> None:
        """Go on where writing was paused."""
        if self._write_resumed:
            self._write_resumed.set()
            self._write_resumed = None
        self._process_requests()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol
        """Leave nothing behind."""
        task, outlet, again = self._task, self._file_sender, self._next_turn
        self._task = self._tunnel = self._file_sender = self._next_turn = None
        try:
            if task:
                task.cancel()
            if again:
                again.cancel()
            if outlet:
                outlet.close()
            self._http.close()
        except Exception as error:  # noqa: BLE001 - it is gone in any case
            log_internal_error(error, self.client)
        finally:
            self._host.remove(self)

    # What the owner asks and tells us.

    @property
    def client(self) -> str:
        """The client's address, as long as it is known; "-" where there is none."""
        if not self._client:
            peer = self._transport.get_extra_info("peername")
            self._client = peer[0] if isinstance(peer, tuple) and peer else "-"
        return self._client

    @property
    def is_responding(self) -> bool:
        """Whether a response is being worked out or sent."""
        return self._http.state in {State.HANDLING, State.SENDING}

    @isolate_errors
    def close_after_response(self) -> None:
        """End with the response that is under way, at once where there is none."""
        self._http.close_after_response()
        if self._http.state is State.IDLE and self._next_turn is None:
            self._transport.close()

    def fail(self, error: Exception) -> None:
        """End because of a fault of ours: with 500 where nothing of a response has left yet."""
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
        if self.is_responding and not self._task:  # else the task tells of it
            self._record_truncated(self._status or 500, 0)
        self.abort()

    def abort(self) -> None:
        """End at once."""
        if self._tunnel:
            self._tunnel.abort()
        else:
            self._transport.abort()

    @isolate_errors
    def tick(self) -> None:
        """Grow a second older; give up on a client that takes too long."""
        if self._tunnel:
            self._tunnel.idle_ticks += 1
            if self._tunnel.idle_ticks >= self._host.limits.tunnel_timeout:
                self._tunnel.abort()
            return
        state, buffered = self._http.state, self._transport.get_write_buffer_size()
        if not self._deadlines:
            self._deadlines = Deadlines(self._host.limits)
        stuck = buffered > 0 or (self._file_sender is not None and self._file_sender.is_blocked)
        left = self._bytes_handed_off() - buffered
        if not self._deadlines.expired(state, self._bytes_received, left, is_blocked=stuck):
            return
        if stuck:
            self._transport.abort()
        elif state in {State.HEAD, State.BODY}:
            self._reject(408, "The request took too long to arrive.")
        else:
            self._transport.close()

    # The trip of a request.

    def _process_requests(self) -> None:
        """Answer what is there to be answered, in order, as long as the client takes it."""
        if self._next_turn:
            return
        exchange = self._http
        rounds, outlet = 0, self._file_sender
        goal = (outlet.bytes_sent if outlet else 0) + _MAX_BYTES_PER_TURN
        # Once it has gone, asyncio complains of each write from the fifth on.
        while (
            self._write_resumed is None
            and not exchange.is_idle
            and not (rounds > 1 and self._transport.is_closing())
        ):
            if rounds and self._turn_is_over(rounds, goal):
                self._next_turn = self._host.loop.call_soon(self._resume_processing)
                break
            if not (self._send_next_cached() or self._dispatch_next()):
                if exchange.is_paused:
                    self._next_turn = self._host.loop.call_soon(self._resume_processing)
                break
            rounds += 1
        if exchange.state is State.CLOSED:
            self._transport.close()
        elif not self._is_reading and not self._next_turn and not self._is_backlogged():
            self._is_reading = True
            self._transport.resume_reading()

    def _turn_is_over(self, rounds: int, goal: int) -> bool:
        """Tell whether others have to have their turn before the next request is looked at.

        150,000 pipelined requests took 2.9 s, in which nobody else got a word in.
        """
        if rounds == 1:  # the first had none behind it, as a rule, and asks for no time
            self._turn_end = time.monotonic() + MAX_TURN_S
        elif rounds == MAX_ROUNDS or time.monotonic() > self._turn_end:
            return True
        outlet = self._file_sender
        return outlet is not None and outlet.bytes_sent > goal

    @isolate_errors
    def _resume_processing(self) -> None:
        """Go on with what the last turn left, after others have had theirs."""
        self._next_turn = None
        self._process_requests()
        exchange = self._http
        if exchange.state is State.IDLE and not (exchange.keep_alive or self._next_turn):
            self._transport.close()  # finish was called between the turns, and nothing has come

    def _is_backlogged(self) -> bool:
        """Tell whether what has arrived and cannot be dealt with now is enough."""
        state, waits = self._http.state, self._next_turn or self._write_resumed is not None
        return (waits or state >= State.HANDLING) and self._http.buffered > _MAX_BUFFERED_INPUT

    def _pause_reading(self) -> None:
        """Read no further, for now or, where nothing has to be waited for, in this turn.

        libuv reads up to 32 times 256 KiB from a fast sender before it looks at anybody else.
        """
        if self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()
        if not (self._next_turn or self._is_backlogged()):
            self._next_turn = self._host.loop.call_soon(self._resume_processing)

    def _send_next_cached(self) -> bool:
        """Answer the next requests, as far as they were answered before; tell whether any was."""
        exchange, recall = self._http, self._cache
        if not (recall and exchange.keep_alive):
            return False
        joined: list[bytes] = []
        now, octets = time.time(), 0
        while (
            octets < _MAX_JOINED_BYTES
            and len(joined) < _MAX_JOINED_RESPONSES
            and (head := exchange.peek_head())
            and (known := recall.lookup_head(head, now))
        ):
            kept, request = known
            if not (kept.is_one_write or self._reserve_descriptor()):
                break
            exchange.skip_head(head)
            self._request = request
            if kept.closes or not kept.is_one_write:
                self._write(b"".join(joined))
                self._send_cached(kept, now)
                return True
            joined.append(kept.data)
            octets += kept.size
            self._record(kept.status, kept.content_length, now)
        self._write(b"".join(joined))
        return bool(joined)

    def _send_cached(self, kept: CachedResponse, now: float) -> None:
        """Send what was sent before; around the exchange where all of it leaves at once."""
        left = self._start_sending((kept.data, *kept.rest))
        if left or kept.closes:
            self._started_at = now
            self._http.begin_cached(closes=kept.closes)
            self._send_remainder(left, kept.status, kept.content_length)
        else:
            self._release_descriptor()
            self._record(kept.status, kept.content_length, now)

    def _dispatch_next(self) -> bool:
        """Begin to answer the next request; tell whether there was one."""
        if request := self._http.next_request():
            self._dispatch(request)
            return True
        return False

    def _dispatch(self, request: Request) -> None:
        self._request, self._started_at = request, time.time()
        answer = self._host.handle(request, self._on_response, keep_alive=self._http.keep_alive)
        if isinstance(answer, CachedResponse):
            if not (answer.is_one_write or self._reserve_descriptor()):
                self._start_response(self._error_response(TOO_MANY_FILES))
                return
            self._http.begin_cached(closes=answer.closes)
            self._send_response([answer.data, *answer.rest], answer.status, answer.content_length)
        elif answer:
            self._start_response(answer)

    @isolate_errors
    def _on_response(self, answer: PendingResponse) -> None:
        if self._http.state is State.HANDLING:
            self._start_response(answer)
            self._process_requests()

    def _reject(self, status: int, why: str) -> None:
        """Answer what has not been asked, or not in time, and end with that."""
        self._dispatch(self._http.reject(HttpError(status, why)))
        self._process_requests()

    def _start_response(self, answer: PendingResponse) -> None:
        response = answer.response
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
        pieces = self._http.start_response(response, format_date(int(time.time())))
        if answer.key:
            closes = not self._http.keep_alive
            self._host.populate_cache(self._request, answer, pieces, closes=closes)
        self._send_response(pieces, response.status, sum(map(len, response.body)))

    def _reserve_descriptor(self) -> bool:
        """Take a file's or a tunnel's descriptor into account; tell whether there is one."""
        self._holds_descriptor = self._holds_descriptor or self._host.reserve_descriptor(self)
        return self._holds_descriptor

    def _release_descriptor(self) -> None:
        if self._holds_descriptor:
            self._holds_descriptor = False
            self._host.release_descriptors(self)

    def _write(self, octets: bytes) -> None:
        self._bytes_written += len(octets)
        self._transport.write(octets)

    def _send_response(self, pieces: Sequence[BodyPart], status: int, octets: int) -> None:
        """Send a reply."""
        self._send_remainder(self._start_sending(pieces), status, octets)

    def _start_sending(self, pieces: Sequence[BodyPart]) -> deque[BodyPart] | None:
        """Send what can leave without waiting for anything; return the rest, None for nothing."""
        outlet = self._file_sender
        self._response_start = self._bytes_written + (outlet.bytes_sent if outlet else 0)
        if len(pieces) == 1 and isinstance(pieces[0], bytes):
            self._write(pieces[0])
            return None
        if self._transport.is_closing():
            return deque(pieces)
        try:
            return (self._file_sender or self._get_file_sender()).try_send(pieces)
        except (OSError, EOFError) as error:
            self._truncate(error)
            return deque(pieces)

    def _get_file_sender(self) -> FileSender:
        """Return the way past the transport, which is made once."""
        if not self._file_sender:
            owner = self._host
            self._file_sender = FileSender(
                self._transport,
                owner.thread_pool,
                owner.write_readiness,
                self._wait_writable,
            )
        return self._file_sender

    def _send_remainder(self, left: deque[BodyPart] | None, status: int, octets: int) -> None:
        """Send the rest of a reply that has begun to leave."""
        self._status = status
        if left and self._transport.is_closing():
            self._record_truncated(status, octets - sum(map(len, left)))
        elif left:
            self._task = self._host.loop.create_task(
                self._send(self._get_file_sender(), left, status, octets)
            )
        else:
            self._response_sent(status, octets)

    def _bytes_handed_off(self) -> int:
        """Return how many octets were handed on, in all."""
        return self._bytes_written + (self._file_sender.bytes_sent if self._file_sender else 0)

    async def _wait_writable(self) -> None:
        if self._write_resumed:
            await self._write_resumed.wait()

    def _response_sent(self, status: int, octets: int) -> None:
        if self._holds_descriptor:
            self._release_descriptor()
        self._record(status, octets, self._started_at)
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
        except OSError:  # asyncio shuts the socket down at once: ENOTCONN after a reset
            self._transport.abort()

    def _record(self, status: int, octets: int, began: float) -> None:
        if self._observer:
            self._observer(self.client, self._request, status, octets, began)

    def _record_truncated(self, status: int, octets: int) -> None:
        """Tell of a response that ends before it is complete, and what was sent of its content."""
        if self._observer:
            self._observer(
                self.client, self._request, status, max(0, octets), self._started_at, True
            )

    async def _send(
        self, outlet: FileSender, left: deque[BodyPart], status: int, octets: int
    ) -> None:
        """Send the rest of a reply, as fast as the client takes it and the disk gives it."""
        before, missing = outlet.bytes_sent, sum(map(len, left))
        files = [piece.source for piece in left if isinstance(piece, FileSlice)]
        try:
            await outlet.send(left)
        except asyncio.CancelledError:
            self._record_truncated(status, octets - missing + outlet.bytes_sent - before)
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours ends the same way
            # Content-Length has been promised and cannot be kept: an end that shows is honest.
            self._record_truncated(status, octets - missing + outlet.bytes_sent - before)
            self._truncate(error)
        else:
            self._task = None
            self._finish_response(status, octets)
        finally:
            for file in files:
                if not file.is_local:  # then even its end may have to be waited for
                    self._host.thread_pool.submit(file.close)

    @isolate_errors
    def _finish_response(self, status: int, octets: int) -> None:
        self._response_sent(status, octets)
        self._process_requests()

    def _truncate(self, error: Exception) -> None:
        if not isinstance(error, (OSError, EOFError)):
            log_internal_error(error, self.client)
        elif not isinstance(error, ConnectionError):  # that is a client which has gone
            _logger.error("%s: reply cut short: %s", self._request.target, error)
        self._transport.abort()

    async def _open_tunnel(self, response: Response) -> None:
        """Connect with the far side of a tunnel, then tell the client and join the two."""
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
            self._reject_tunnel(504, "The far side of the tunnel does not answer.")
        except (OSError, UnicodeError):  # the latter for a name that no name can be
            self._reject_tunnel(502, "The far side of the tunnel cannot be reached.")
        except Exception as error:  # noqa: BLE001 - a fault of ours ends this connection alone
            self._task = None
            self.fail(error)
        else:
            self._task = None
            self._start_tunnel(tunnel, response)

    @isolate_errors
    def _start_tunnel(self, tunnel: Tunnel, response: Response) -> None:
        self._tunnel = tunnel
        (octets,) = self._http.start_response(response, format_date(int(time.time())))
        self._transport.write(cast("bytes", octets))
        if not self._is_reading:
            self._transport.resume_reading()
        ended = self._http.eof_received
        tunnel.open(self._transport, self._http.start_tunnel(), has_ended=ended)
        self._record(response.status, 0, self._started_at)

    def _reject_tunnel(self, status: int, why: str) -> None:
        self._task = None
        self._release_descriptor()
        self._on_response(self._error_response(HttpError(status, why)))

    def _error_response(self, refused: HttpError) -> PendingResponse:
        return PendingResponse(error_response(self._request, refused))
