"""One client's connection on an event loop: between asyncio's transport and the wire's exchange."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import cast

from aserve.models.admissions import Admission
from aserve.models.faults import contained, report
from aserve.models.outlet import Outlet
from aserve.models.owner import Answer, Owner
from aserve.models.tunnel import DIAL_TIME, Tunnel
from aserve.models.turns import MAX_TURN
from aserve.semantics.dates import format_date
from aserve.semantics.messages import FileSlice, Piece, Refused, Request, Response
from aserve.semantics.refusals import TOO_MANY_FILES, refusal
from aserve.site.answer import SMALL
from aserve.site.recall import Kept
from aserve.wire.exchange import Exchange
from aserve.wire.patience import Patience
from aserve.wire.states import State

_MOST_JOINED = 65_536  # octets of pipelined replies in one write
_MAX_JOINED = 64  # pipelined responses in one write
MAX_ROUNDS = 16
"""Requests that are worked out, or writes of remembered responses, for one connection in a turn."""
_MAX_SENT = 1 << 21  # bytes past the transport in a turn
_MOST_UNREAD = 65_536  # octets of requests behind the one being answered; then reading pauses

_NO_REQUEST = Request("", "")

_logger = logging.getLogger("aserve")


class Connection(asyncio.Protocol):
    """One client: what the loop hands us goes into the exchange, what comes out goes back.

    octets: what was read from it before.
    """

    __slots__ = (
        "_again",
        "_arrived",
        "_began",
        "_client",
        "_exchange",
        "_handed",
        "_has_failed",
        "_has_file",
        "_mark",
        "_observe",
        "_outlet",
        "_owner",
        "_patience",
        "_reading",
        "_recall",
        "_request",
        "_status",
        "_task",
        "_transport",
        "_tunnel",
        "_turn_end",
        "_writable",
    )

    def __init__(self, owner: Owner["Connection"], octets: bytes = b"") -> None:
        self._client = ""
        self._owner = owner
        self._recall = owner.recall
        self._observe = owner.observe
        self._exchange = Exchange(owner.limits)
        self._patience: Patience | None = None  # once it has lasted for a tick
        self._arrived = len(octets)
        self._handed = 0  # octets, to the transport
        self._mark = 0  # octets that had left when the response began to
        self._status = 0
        self._reading = True
        self._has_file = False  # holds a descriptor beside its own
        self._has_failed = False
        self._again: asyncio.Handle | None = None  # its next turn, if it is due at once
        self._turn_end = 0.0  # of this turn, by the monotonic clock
        self._writable: asyncio.Event | None = None  # while writing is paused
        self._outlet: Outlet | None = None  # once a reply was too large for one write
        self._task: asyncio.Task[None] | None = None  # a reply that takes its time
        self._tunnel: Tunnel | None = None
        self._transport: asyncio.Transport
        self._request = _NO_REQUEST
        self._began = 0.0  # POSIX seconds
        if octets:
            self._exchange.receive(octets)

    # What the loop tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to a client."""
        self._transport = cast("asyncio.Transport", transport)
        try:
            admission = self._owner.admit(self)
            if admission is Admission.REFUSED:
                self._refuse(503, "Too many connections are open. Try again in a moment.")
            elif admission is Admission.CUT_OFF:
                self._transport.abort()
            elif self._arrived:
                self._advance()
        except Exception as error:  # noqa: BLE001 - as contained does, without a call
            self.fail(error)

    def data_received(self, data: bytes) -> None:  # noqa: C901 - calls less, of which each is 2 %
        """Take what has arrived; read no further while too much of it waits."""
        exchange, recall = self._exchange, self._recall
        try:
            if exchange.at_rest and recall and self._writable is None:
                now = time.time()
                if known := recall.get(data, now):
                    kept, request = known
                    if kept.is_one_write:  # the hot path: a frame more would be 2 % of it
                        self._handed += kept.size
                        self._transport.write(kept.octets)
                        if self._observe:
                            self._observe(self.client, request, kept.status, kept.content, now)
                        if kept.closes:
                            exchange.end()
                            self._transport.close()
                        return
                    if self._hold_file():
                        self._request = request
                        self._repeat(kept, now)
                        return
            count = len(data)
            self._arrived += count
            exchange.receive(data)
            self._advance()
            waits = exchange.state >= State.ANSWERING or self._again or self._writable
            if count > _MOST_UNREAD or (waits and exchange.backlog > _MOST_UNREAD):
                self._pause_reading()
        except Exception as error:  # noqa: BLE001 - as contained does, without a call
            self.fail(error)

    def eof_received(self) -> bool:
        """Answer what was asked before the client's end of the connection was shut."""
        try:
            self._exchange.receive_end()
            self._advance()
        except Exception as error:  # noqa: BLE001 - as contained does, but for the value
            self.fail(error)
        return True  # closing stays with us: an answer may still be on its way

    def pause_writing(self) -> None:
        """Hold back: the client reads more slowly than we write."""
        self._writable = asyncio.Event()

    @contained
    def resume_writing(self) -> None:
        """Go on where writing was paused."""
        if self._writable:
            self._writable.set()
            self._writable = None
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol
        """Leave nothing behind."""
        task, outlet, again = self._task, self._outlet, self._again
        self._task = self._tunnel = self._outlet = self._again = None
        try:
            if task:
                task.cancel()
            if again:
                again.cancel()
            if outlet:
                outlet.close()
            self._exchange.end()
        except Exception as error:  # noqa: BLE001 - it is gone in any case
            report(error, self.client)
        finally:
            self._owner.forget(self)

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
        return self._exchange.state in {State.ANSWERING, State.REPLYING}

    @contained
    def finish(self) -> None:
        """End with the response that is under way, at once where there is none."""
        self._exchange.finish()
        if self._exchange.state is State.IDLE and self._again is None:
            self._transport.close()

    def fail(self, error: Exception) -> None:
        """End because of a fault of ours: with 500 where nothing of a response has left yet."""
        report(error, self.client)
        state = self._exchange.state
        untouched = state is State.REPLYING and self._left() == self._mark and not self._task
        if self._again:
            self._again.cancel()
            self._again = None
        if not self._has_failed and (state <= State.ANSWERING or untouched):
            self._has_failed = True
            try:
                self._refuse(500, "Something went wrong here.")
            except Exception as another:  # noqa: BLE001 - the last boundary of a connection
                report(another, self.client)
            else:
                return
        if self.is_responding and not self._task:  # else the task tells of it
            self._record_cut(self._status or 500, 0)
        self.abort()

    def abort(self) -> None:
        """End at once."""
        if self._tunnel:
            self._tunnel.abort()
        else:
            self._transport.abort()

    @contained
    def tick(self) -> None:
        """Grow a second older; give up on a client that takes too long."""
        if self._tunnel:
            self._tunnel.idle += 1
            if self._tunnel.idle >= self._owner.limits.tunnel_time:
                self._tunnel.abort()
            return
        state, buffered = self._exchange.state, self._transport.get_write_buffer_size()
        if not self._patience:
            self._patience = Patience(self._owner.limits)
        stuck = buffered > 0 or (self._outlet is not None and self._outlet.waits)
        left = self._left() - buffered
        if not self._patience.is_over(state, self._arrived, left, stuck=stuck):
            return
        if stuck:
            self._transport.abort()
        elif state in {State.HEAD, State.BODY}:
            self._refuse(408, "The request took too long to arrive.")
        else:
            self._transport.close()

    # The trip of a request.

    def _advance(self) -> None:
        """Answer what is there to be answered, in order, as long as the client takes it."""
        if self._again:
            return
        exchange = self._exchange
        rounds, outlet = 0, self._outlet
        goal = (outlet.sent if outlet else 0) + _MAX_SENT
        # Once it has gone, asyncio complains of each write from the fifth on.
        while (
            self._writable is None
            and not exchange.at_rest
            and not (rounds > 1 and self._transport.is_closing())
        ):
            if rounds and self._turn_is_over(rounds, goal):
                self._again = self._owner.loop.call_soon(self._continue)
                break
            if not (self._repeat_next() or self._take_next()):
                if exchange.halted:
                    self._again = self._owner.loop.call_soon(self._continue)
                break
            rounds += 1
        if exchange.state is State.CLOSED:
            self._transport.close()
        elif not self._reading and not self._again and not self._is_full():
            self._reading = True
            self._transport.resume_reading()

    def _turn_is_over(self, rounds: int, goal: int) -> bool:
        """Tell whether others have to have their turn before the next request is looked at.

        150,000 pipelined requests took 2.9 s, in which nobody else got a word in.
        """
        if rounds == 1:  # the first had none behind it, as a rule, and asks for no time
            self._turn_end = time.monotonic() + MAX_TURN
        elif rounds == MAX_ROUNDS or time.monotonic() > self._turn_end:
            return True
        outlet = self._outlet
        return outlet is not None and outlet.sent > goal

    @contained
    def _continue(self) -> None:
        """Go on with what the last turn left, after others have had theirs."""
        self._again = None
        self._advance()
        exchange = self._exchange
        if exchange.state is State.IDLE and not (exchange.persists or self._again):
            self._transport.close()  # finish was called between the turns, and nothing has come

    def _is_full(self) -> bool:
        """Tell whether what has arrived and cannot be dealt with now is enough."""
        state, waits = self._exchange.state, self._again or self._writable is not None
        return (waits or state >= State.ANSWERING) and self._exchange.backlog > _MOST_UNREAD

    def _pause_reading(self) -> None:
        """Read no further, for now or, where nothing has to be waited for, in this turn.

        libuv reads up to 32 times 256 KiB from a fast sender before it looks at anybody else.
        """
        if self._reading:
            self._reading = False
            self._transport.pause_reading()
        if not (self._again or self._is_full()):
            self._again = self._owner.loop.call_soon(self._continue)

    def _repeat_next(self) -> bool:
        """Answer the next requests, as far as they were answered before; tell whether any was."""
        exchange, recall = self._exchange, self._recall
        if not (recall and exchange.persists):
            return False
        joined: list[bytes] = []
        now, octets = time.time(), 0
        while (
            octets < _MOST_JOINED
            and len(joined) < _MAX_JOINED
            and (head := exchange.next_head())
            and (known := recall.get(head, now))
        ):
            kept, request = known
            if not (kept.is_one_write or self._hold_file()):
                break
            exchange.skip(head)
            self._request = request
            if kept.closes or not kept.is_one_write:
                self._write(b"".join(joined))
                self._repeat(kept, now)
                return True
            joined.append(kept.octets)
            octets += kept.size
            self._record(kept.status, kept.content, now)
        self._write(b"".join(joined))
        return bool(joined)

    def _repeat(self, kept: Kept, now: float) -> None:
        """Send what was sent before; around the exchange where all of it leaves at once."""
        left = self._start((kept.octets, *kept.rest))
        if left or kept.closes:
            self._began = now
            self._exchange.repeat(closes=kept.closes)
            self._go_on(left, kept.status, kept.content)
        else:
            self._release_file()
            self._record(kept.status, kept.content, now)

    def _take_next(self) -> bool:
        """Begin to answer the next request; tell whether there was one."""
        if request := self._exchange.next_request():
            self._take(request)
            return True
        return False

    def _take(self, request: Request) -> None:
        self._request, self._began = request, time.time()
        answer = self._owner.answer(request, self._answered, persists=self._exchange.persists)
        if isinstance(answer, Kept):
            if not (answer.is_one_write or self._hold_file()):
                self._reply(self._refusal(TOO_MANY_FILES))
                return
            self._exchange.repeat(closes=answer.closes)
            self._leave([answer.octets, *answer.rest], answer.status, answer.content)
        elif answer:
            self._reply(answer)

    @contained
    def _answered(self, answer: Answer) -> None:
        if self._exchange.state is State.ANSWERING:
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
        length = response.length
        if length is not None and length > SMALL and response.body and not self._hold_file():
            self._reply(self._refusal(TOO_MANY_FILES))
            return
        pieces = self._exchange.reply(response, format_date(int(time.time())))
        if answer.key:
            closes = not self._exchange.persists
            self._owner.remember(self._request, answer, pieces, closes=closes)
        self._leave(pieces, response.status, sum(map(len, response.body)))

    def _hold_file(self) -> bool:
        """Take a file's or a tunnel's descriptor into account; tell whether there is one."""
        self._has_file = self._has_file or self._owner.reserve(self)
        return self._has_file

    def _release_file(self) -> None:
        if self._has_file:
            self._has_file = False
            self._owner.release(self)

    def _write(self, octets: bytes) -> None:
        self._handed += len(octets)
        self._transport.write(octets)

    def _leave(self, pieces: Sequence[Piece], status: int, octets: int) -> None:
        """Send a reply."""
        self._go_on(self._start(pieces), status, octets)

    def _start(self, pieces: Sequence[Piece]) -> deque[Piece] | None:
        """Send what can leave without waiting for anything; return the rest, None for nothing."""
        outlet = self._outlet
        self._mark = self._handed + (outlet.sent if outlet else 0)
        if len(pieces) == 1 and isinstance(pieces[0], bytes):
            self._write(pieces[0])
            return None
        if self._transport.is_closing():
            return deque(pieces)
        try:
            return (self._outlet or self._way_out()).send_at_once(pieces)
        except (OSError, EOFError) as error:
            self._cut_short(error)
            return deque(pieces)

    def _way_out(self) -> Outlet:
        """Return the way past the transport, which is made once."""
        if not self._outlet:
            owner = self._owner
            self._outlet = Outlet(
                self._transport,
                owner.pool,
                owner.room,
                self._until_writable,
            )
        return self._outlet

    def _go_on(self, left: deque[Piece] | None, status: int, octets: int) -> None:
        """Send the rest of a reply that has begun to leave."""
        self._status = status
        if left and self._transport.is_closing():
            self._record_cut(status, octets - sum(map(len, left)))
        elif left:
            self._task = self._owner.loop.create_task(
                self._send(self._way_out(), left, status, octets)
            )
        else:
            self._replied(status, octets)

    def _left(self) -> int:
        """Return how many octets were handed on, in all."""
        return self._handed + (self._outlet.sent if self._outlet else 0)

    async def _until_writable(self) -> None:
        if self._writable:
            await self._writable.wait()

    def _replied(self, status: int, octets: int) -> None:
        if self._has_file:
            self._release_file()
        self._record(status, octets, self._began)
        if self._patience:
            self._patience.renew()
        self._exchange.replied()
        if self._exchange.state is State.LINGERING:
            self._end_writing()
        elif self._exchange.state is State.CLOSED:
            self._transport.close()

    def _end_writing(self) -> None:
        try:
            self._transport.write_eof()
        except OSError:  # asyncio shuts the socket down at once: ENOTCONN after a reset
            self._transport.abort()

    def _record(self, status: int, octets: int, began: float) -> None:
        if self._observe:
            self._observe(self.client, self._request, status, octets, began)

    def _record_cut(self, status: int, octets: int) -> None:
        """Tell of a response that ends before it is complete, and what was sent of its content."""
        if self._observe:
            self._observe(self.client, self._request, status, max(0, octets), self._began, True)

    async def _send(self, outlet: Outlet, left: deque[Piece], status: int, octets: int) -> None:
        """Send the rest of a reply, as fast as the client takes it and the disk gives it."""
        before, missing = outlet.sent, sum(map(len, left))
        files = [piece.content for piece in left if isinstance(piece, FileSlice)]
        try:
            await outlet.send(left)
        except asyncio.CancelledError:
            self._record_cut(status, octets - missing + outlet.sent - before)
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours ends the same way
            # Content-Length has been promised and cannot be kept: an end that shows is honest.
            self._record_cut(status, octets - missing + outlet.sent - before)
            self._cut_short(error)
        else:
            self._task = None
            self._sent_all(status, octets)
        finally:
            for file in files:
                if not file.is_local:  # then even its end may have to be waited for
                    self._owner.pool.submit(file.close)

    @contained
    def _sent_all(self, status: int, octets: int) -> None:
        self._replied(status, octets)
        self._advance()

    def _cut_short(self, error: Exception) -> None:
        if not isinstance(error, (OSError, EOFError)):
            report(error, self.client)
        elif not isinstance(error, ConnectionError):  # that is a client which has gone
            _logger.error("%s: reply cut short: %s", self._request.target, error)
        self._transport.abort()

    async def _dial(self, response: Response) -> None:
        """Connect with the far side of a tunnel, then tell the client and join the two."""
        tunnel = Tunnel(self.connection_lost)
        host, port = response.tunnel or ("", 0)
        if not self._hold_file():
            self._task = None
            self._answered(self._refusal(TOO_MANY_FILES))
            return
        try:
            async with asyncio.timeout(DIAL_TIME):
                await self._owner.loop.create_connection(lambda: tunnel.far, host, port)
        except TimeoutError:
            self._no_tunnel(504, "The far side of the tunnel does not answer.")
        except (OSError, UnicodeError):  # the latter for a name that no name can be
            self._no_tunnel(502, "The far side of the tunnel cannot be reached.")
        except Exception as error:  # noqa: BLE001 - a fault of ours ends this connection alone
            self._task = None
            self.fail(error)
        else:
            self._task = None
            self._join(tunnel, response)

    @contained
    def _join(self, tunnel: Tunnel, response: Response) -> None:
        self._tunnel = tunnel
        (octets,) = self._exchange.reply(response, format_date(int(time.time())))
        self._transport.write(cast("bytes", octets))
        if not self._reading:
            self._transport.resume_reading()
        ended = self._exchange.ended
        tunnel.open(self._transport, self._exchange.tunnelled(), ended=ended)
        self._record(response.status, 0, self._began)

    def _no_tunnel(self, status: int, why: str) -> None:
        self._task = None
        self._release_file()
        self._answered(self._refusal(Refused(status, why)))

    def _refusal(self, refused: Refused) -> Answer:
        return Answer(refusal(self._request, refused))
