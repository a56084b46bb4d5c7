"""One client's connection on an event loop: between asyncio's transport and the wire's exchange."""

import asyncio
import enum
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import NamedTuple, Protocol, cast

from aserve.models.streams import blocks
from aserve.models.thread_pool import ThreadPool
from aserve.models.tunnel import DIAL_TIME, Tunnel
from aserve.semantics.dates import format_date
from aserve.semantics.messages import Piece, Refused, Request, Response
from aserve.semantics.refusals import refusal
from aserve.site.recall import Kept, Key, Recall, Trails
from aserve.wire.exchange import Exchange
from aserve.wire.limits import Limits
from aserve.wire.patience import Patience
from aserve.wire.states import State

_MOST_JOINED = 65_536  # octets of pipelined replies in one write
_MOST_UNREAD = 65_536  # octets of requests behind the one being answered; then reading pauses

Observe = Callable[[str, Request, int, int, float], None]
"""Is told of each reply: client, request, status, octets of content sent, seconds it took."""

_logger = logging.getLogger("aserve")


class Answer(NamedTuple):
    """A response on its way back, with what is needed to remember the reply that it becomes."""

    response: Response
    key: Key | None = None
    trails: Trails | None = None
    since: int = 0


class Admission(enum.Enum):
    """What becomes of a new connection."""

    WELCOME = enum.auto()
    REFUSED = enum.auto()
    """It is told that there are too many."""
    CUT_OFF = enum.auto()
    """There are even too many to be told."""


class Owner(Protocol):
    """What a connection asks of the model that it belongs to."""

    limits: Limits
    loop: asyncio.AbstractEventLoop
    pool: ThreadPool
    observe: Observe | None
    recall: Recall | None

    def admit(self, connection: "Connection") -> Admission:
        """Take a connection into account, or tell that it is one too many."""

    def forget(self, connection: "Connection") -> None:
        """Drop a connection that is gone."""

    def answer(
        self, request: Request, done: Callable[[Answer], None], *, persists: bool
    ) -> Kept | Answer | None:
        """Return the reply, or None where done will get it."""


class Connection(asyncio.Protocol):
    """One client: what the loop hands us goes into the exchange, what comes out goes back."""

    __slots__ = (
        "_arrived",
        "_began",
        "_exchange",
        "_handed",
        "_owner",
        "_patience",
        "_reading",
        "_request",
        "_task",
        "_transport",
        "_tunnel",
        "_writable",
        "client",
    )

    def __init__(self, owner: Owner) -> None:
        self.client = "-"
        self._owner = owner
        self._exchange = Exchange(owner.limits)
        self._patience = Patience(owner.limits)
        self._arrived = 0  # octets
        self._handed = 0  # octets, to the transport
        self._reading = True
        self._writable: asyncio.Event | None = None  # while writing is paused
        self._task: asyncio.Task[None] | None = None  # a reply that takes more than one write
        self._tunnel: Tunnel | None = None
        self._transport: asyncio.Transport
        self._request: Request
        self._began = 0.0

    # What the loop tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to a client."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple) and peer:
            self.client = peer[0]
        admission = self._owner.admit(self)
        if admission is Admission.REFUSED:
            self._refuse(503, "Too many connections are open. Try again in a moment.")
        elif admission is Admission.CUT_OFF:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; read no further while too much of it waits."""
        self._arrived += len(data)
        exchange, recall = self._exchange, self._owner.recall
        if exchange.at_rest and recall and self._writable is None:
            self._began = time.perf_counter()
            if known := recall.get(data, int(time.time())):
                kept, self._request = known
                self._say_again(kept)
                return
        exchange.receive(data)
        self._advance()
        waits = exchange.state >= State.ANSWERING or self._writable is not None
        if self._reading and waits and exchange.backlog > _MOST_UNREAD:
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
        if self._task:
            self._task.cancel()
        self._task = self._tunnel = None
        self._exchange.end()
        self._owner.forget(self)

    # What the owner tells us.

    def finish(self) -> None:
        """End with the response that is under way, at once where there is none."""
        self._exchange.finish()
        if self._exchange.state is State.IDLE:
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        if self._tunnel:
            self._tunnel.abort()
        else:
            self._transport.abort()

    def tick(self) -> None:
        """Grow a second older; give up on a client that takes too long."""
        if self._tunnel:
            self._tunnel.idle += 1
            if self._tunnel.idle >= self._owner.limits.tunnel_time:
                self._tunnel.abort()
            return
        state, waiting = self._exchange.state, self._transport.get_write_buffer_size()
        if not self._patience.is_over(state, self._arrived, self._handed - waiting, waiting):
            return
        if waiting:
            self._transport.abort()
        elif state in {State.HEAD, State.BODY}:
            self._refuse(408, "The request took too long to arrive.")
        else:
            self._transport.close()

    # The trip of a request.

    def _advance(self) -> None:
        """Answer what is there to be answered, in order, as long as the client takes it."""
        self._repeat_known()
        while self._writable is None and (request := self._exchange.next_request()):
            self._take(request)
            self._repeat_known()
        if self._exchange.state is State.CLOSED:
            self._transport.close()
        elif not self._reading and self._exchange.backlog <= _MOST_UNREAD:
            self._reading = True
            self._transport.resume_reading()

    def _repeat_known(self) -> None:
        """Answer pipelined requests that were answered before, as many as there are at once."""
        exchange, recall = self._exchange, self._owner.recall
        if not recall:
            return
        self._began = time.perf_counter()
        now, replies, octets = int(time.time()), [], 0
        while octets < _MOST_JOINED and self._writable is None and (head := exchange.next_head()):
            known = recall.get(head, now)
            if not known or known[0].closes or not exchange.persists:
                break
            kept, self._request = known
            exchange.skip(head)
            replies.append(kept.octets)
            octets += len(kept.octets)
            self._record(kept.status, kept.content)
        if replies:
            self._write(b"".join(replies))

    def _take(self, request: Request) -> None:
        self._request, self._began = request, time.perf_counter()
        answer = self._owner.answer(request, self._answered, persists=self._exchange.persists)
        if isinstance(answer, Kept):
            self._exchange.repeat()
            self._write(answer.octets)
            self._replied(answer.status, answer.content)
        elif answer:
            self._reply(answer)

    def _say_again(self, kept: Kept) -> None:
        """Send what was sent before, around the exchange: it is as if nothing had been asked."""
        self._write(kept.octets)
        self._record(kept.status, kept.content)
        if kept.closes:
            self._exchange.end()
            self._transport.close()

    def _answered(self, answer: Answer) -> None:
        if self._exchange.state is not State.CLOSED:
            self._reply(answer)
            self._advance()

    def _refuse(self, status: int, why: str) -> None:
        """Answer what has not been asked, or not in time, and end with that."""
        self._take(self._exchange.refuse(Refused(status, why)))
        self._advance()

    def _reply(self, answer: Answer) -> None:
        response = answer.response
        if response.tunnel:
            self._task = self._owner.loop.create_task(self._dial(response))
            return
        pieces = self._exchange.reply(response, format_date(int(time.time())))
        if len(pieces) == 1 and isinstance(pieces[0], bytes):
            self._write(pieces[0])
            self._remember(answer, pieces[0])
            self._replied(response.status, sum(map(len, response.body)))
        else:
            self._task = self._owner.loop.create_task(self._send(response, pieces))

    def _write(self, octets: bytes) -> None:
        self._handed += len(octets)
        self._transport.write(octets)

    def _remember(self, answer: Answer, reply: bytes) -> None:
        recall, (response, key, trails, since) = self._owner.recall, answer
        if recall and key and trails:
            kept = Kept(key, reply, response, closes=not self._exchange.persists)
            recall.keep(kept, trails, since)

    def _replied(self, status: int, octets: int) -> None:
        self._record(status, octets)
        self._patience.renew()
        self._exchange.replied()
        if self._exchange.state is State.LINGERING:
            self._transport.write_eof()

    def _record(self, status: int, octets: int) -> None:
        if self._owner.observe:
            seconds = time.perf_counter() - self._began
            self._owner.observe(self.client, self._request, status, octets, seconds)

    async def _send(self, response: Response, pieces: list[Piece]) -> None:
        """Send a reply piece by piece, as fast as the client takes it."""
        octets = (response.length or 0) - sum(map(len, pieces))  # content sent; the head is none
        try:
            async with aclosing(blocks(pieces, self._owner.pool)) as stream:
                async for block in stream:
                    self._write(block)
                    octets += len(block)
                    if self._writable:
                        await self._writable.wait()
        except (OSError, EOFError) as error:
            # Content-Length has been promised and cannot be kept: an end that shows is honest.
            _logger.error("%s: reply cut short: %s", self._request.target, error)
            self._transport.abort()
            self._record(response.status, octets)
        except asyncio.CancelledError:
            self._record(response.status, octets)
            raise
        else:
            self._task = None
            self._replied(response.status, octets)
            self._advance()

    async def _dial(self, response: Response) -> None:
        """Connect with the far side of a tunnel, then tell the client and join the two."""
        tunnel = Tunnel(self.connection_lost)
        host, port = response.tunnel or ("", 0)
        try:
            async with asyncio.timeout(DIAL_TIME):
                await self._owner.loop.create_connection(lambda: tunnel.far, host, port)
        except TimeoutError:
            self._answered(self._no_tunnel(504, "The far side of the tunnel does not answer."))
        except (OSError, UnicodeError):  # the latter for a name that no name can be
            self._answered(self._no_tunnel(502, "The far side of the tunnel cannot be reached."))
        else:
            self._task, self._tunnel = None, tunnel
            (octets,) = self._exchange.reply(response, format_date(int(time.time())))
            self._transport.write(cast("bytes", octets))
            if not self._reading:
                self._transport.resume_reading()
            ended = self._exchange.ended
            tunnel.open(self._transport, self._exchange.tunnelled(), ended=ended)
            self._record(response.status, 0)

    def _no_tunnel(self, status: int, why: str) -> Answer:
        return Answer(refusal(self._request, Refused(status, why)))
