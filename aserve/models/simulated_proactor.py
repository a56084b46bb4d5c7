"""The default model: the event loop reads and writes, a bounded thread pool does the file work.

It is a Proactor as far as the logic can tell, which sees only completed reads and writes, and it
is simulated because the loop completes them by readiness: epoll under uvloop's transports.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import cast

from aserve.models.streams import blocks
from aserve.models.thread_pool import ThreadPool
from aserve.semantics.dates import format_date
from aserve.semantics.messages import Piece, Refused, Request, Response
from aserve.semantics.refusals import refusal
from aserve.site.answer import Site
from aserve.wire.exchange import Exchange
from aserve.wire.limits import Limits
from aserve.wire.states import State

_MOST_UNREAD = 65_536  # octets of requests behind the one being answered; then reading pauses

Observe = Callable[[str, Request, int, int, float], None]
"""Is told of each reply: client, request, status, octets of content sent, seconds it took."""

_logger = logging.getLogger("aserve")


class SimulatedProactor:
    """One event loop's share of a site: its connections and its thread pool.

    threads, queue: how many requests may be worked on, and how many more may wait for that.
    """

    def __init__(
        self, site: Site, limits: Limits, observe: Observe | None, *, threads: int, queue: int
    ) -> None:
        self.site = site
        self.limits = limits
        self.observe = observe
        self.loop = asyncio.get_running_loop()
        self.pool = ThreadPool(self.loop, threads, queue)
        self.connections: set[Connection] = set()
        self.stopping = False
        self.patience = {
            State.IDLE: limits.idle,
            State.HEAD: limits.head_time,
            State.BODY: limits.body_time,
            State.LINGERING: limits.linger,
        }
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket."""
        self._server = await self.loop.create_server(
            lambda: Connection(self), sock=listener, backlog=self.limits.backlog
        )
        self._sweep()

    async def stop(self, grace: float) -> None:
        """Accept no more, let what has begun end for at most grace seconds, then cut it off."""
        self.stopping = True
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.finish()
        if self.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace)
        self.abort()
        if self._sweeper:
            self._sweeper.cancel()
        self.pool.shutdown(wait=False)

    def abort(self) -> None:
        """Cut off every connection."""
        for connection in list(self.connections):
            connection.abort()

    def forget(self, connection: "Connection") -> None:
        """Drop a connection that is gone."""
        self.connections.discard(connection)
        if self.stopping and not self.connections:
            self._empty.set()

    def _sweep(self) -> None:
        """Look at every connection once a second: one timer for all of them."""
        for connection in list(self.connections):
            connection.tick()
        self._sweeper = self.loop.call_later(1, self._sweep)


class Connection(asyncio.Protocol):
    """One client: what the loop hands us goes into the exchange, what comes out goes back."""

    __slots__ = (
        "_age",
        "_began",
        "_client",
        "_exchange",
        "_owner",
        "_reading",
        "_request",
        "_seen",
        "_stream",
        "_transport",
        "_writable",
    )

    def __init__(self, owner: SimulatedProactor) -> None:
        self._owner = owner
        self._exchange = Exchange(owner.limits)
        self._seen = State.IDLE
        self._age = 0  # in sweeps, since the state was last seen to change or a reply left
        self._reading = True
        self._writable: asyncio.Event | None = None  # while writing is paused
        self._stream: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._client = ""
        self._request: Request
        self._began = 0.0

    # What the loop tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to a client."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) and peer else "-"
        self._owner.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; read no further while too much of it waits."""
        self._exchange.receive(data)
        self._advance()
        if self._reading and self._exchange.backlog > _MOST_UNREAD:
            self._reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Answer what was asked before the client's end of the connection was shut."""
        self._exchange.receive_end()
        self._advance()
        return True  # closing stays with us: an answer may still be on its way

    def pause_writing(self) -> None:
        """Hold back: the client reads more slowly than we write."""
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        """Go on where writing was paused."""
        if self._writable:
            self._writable.set()
            self._writable = None
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol
        """Leave nothing behind."""
        if self._stream:
            self._stream.cancel()
            self._stream = None
        self._exchange.end()
        self._owner.forget(self)

    # What the owner tells us.

    def finish(self) -> None:
        """End with the response that is under way, at once where there is none."""
        self._exchange.final = True
        if self._exchange.state is State.IDLE:
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()

    def tick(self) -> None:
        """Grow a second older; give up on a client that takes too long."""
        state = self._exchange.state
        if state is not self._seen:
            self._seen, self._age = state, 0
            return
        self._age += 1
        if self._age < self._owner.patience.get(state, self._age + 1):
            return
        if state in {State.HEAD, State.BODY}:
            late = Refused(408, "The request took too long to arrive.")
            self._take(self._exchange.refuse(late))
        else:
            self._transport.close()

    # The trip of a request.

    def _advance(self) -> None:
        """Answer what is there to be answered, in order, as long as the client takes it."""
        while self._writable is None and (request := self._exchange.next_request()):
            self._take(request)
        if self._exchange.state is State.CLOSED:
            self._transport.close()
        elif not self._reading and self._exchange.backlog <= _MOST_UNREAD:
            self._reading = True
            self._transport.resume_reading()

    def _take(self, request: Request) -> None:
        self._request, self._began = request, time.perf_counter()
        if response := self._answer(request):
            self._reply(response)

    def _answer(self, request: Request) -> Response | None:
        """Return the response where none needs the disk; else send the request on its one hop."""
        if request.refusal:
            return refusal(request, request.refusal)
        job = partial(self._owner.site.answer, request, int(time.time()))
        if self._owner.pool.offer(job, self._answered):
            return None
        busy = Refused(503, "The server is busy. Try again in a moment.", (("Retry-After", "1"),))
        return refusal(request, busy)

    def _answered(self, response: Response) -> None:
        if self._exchange.state is not State.CLOSED:
            self._reply(response)
            self._advance()

    def _reply(self, response: Response) -> None:
        pieces = self._exchange.reply(response, format_date(int(time.time())))
        if len(pieces) == 1 and isinstance(pieces[0], bytes):
            self._transport.write(pieces[0])
            self._replied(response, sum(map(len, response.body)))
        else:
            self._stream = self._owner.loop.create_task(self._send(response, pieces))

    def _replied(self, response: Response, octets: int) -> None:
        self._age = 0
        self._exchange.replied()
        self._record(response, octets)
        if self._exchange.state is State.LINGERING:
            self._transport.write_eof()

    def _record(self, response: Response, octets: int) -> None:
        if self._owner.observe:
            seconds = time.perf_counter() - self._began
            self._owner.observe(self._client, self._request, response.status, octets, seconds)

    async def _send(self, response: Response, pieces: list[Piece]) -> None:
        """Send a reply piece by piece, as fast as the client takes it."""
        octets = (response.length or 0) - sum(map(len, pieces))  # content sent; the head is none
        try:
            async with aclosing(blocks(pieces, self._owner.pool)) as stream:
                async for block in stream:
                    self._transport.write(block)
                    octets += len(block)
                    if self._writable:
                        await self._writable.wait()
        except (OSError, EOFError) as error:
            # Content-Length has been promised and cannot be kept: an end that shows is honest.
            _logger.error("%s: reply cut short: %s", self._request.target, error)
            self._transport.abort()
            self._record(response, octets)
        except asyncio.CancelledError:
            self._record(response, octets)
            raise
        else:
            self._stream = None
            self._replied(response, octets)
            self._advance()
