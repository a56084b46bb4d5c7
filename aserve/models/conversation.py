"""One client's connection on a non-blocking socket, for the models that have no asyncio.

Every system call here is one that would rather say EAGAIN than wait. Who finds out when it is
worth while is the model's part.
"""

import logging
import os
import socket
import time
from collections import deque
from contextlib import suppress

from aserve.models.admissions import Admission, Admissions, Bounds
from aserve.models.faults import contained, report
from aserve.models.owner import Observe
from aserve.models.turns import MAX_TURN
from aserve.semantics.dates import format_date
from aserve.semantics.messages import FileSlice, Piece, Refused, Request, Response
from aserve.semantics.refusals import TOO_MANY_FILES, refusal
from aserve.site.answer import Site
from aserve.wire.exchange import Exchange
from aserve.wire.limits import Limits
from aserve.wire.patience import Patience
from aserve.wire.states import State

_MOST_READ = 65_536  # octets at once
_MOST_UNREAD = 65_536  # octets of requests behind the one being answered; then reading pauses
_MOST_SENT = 1 << 20  # octets of a file at once: then others have their turn
MAX_REQUESTS = 16
"""Pipelined requests of one connection that are answered in a turn: then others have theirs."""

_logger = logging.getLogger("aserve")


class House:
    """What all conversations of one model share."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None, bounds: Bounds) -> None:
        self.site = site
        self.limits = limits
        self.observe = observe
        self.guests: Admissions[Conversation] = Admissions(bounds)

    @property
    def responses(self) -> int:
        """How many are being worked out or sent."""
        return sum(talk.is_responding for talk in list(self.guests.open))

    def answer(self, request: Request, second: int) -> Response:
        """Return the response to a request, or to what is wrong with it."""
        if request.refusal:
            return refusal(request, request.refusal)
        return self.site.answer(request, second)


class Conversation:
    """One client: what its socket has goes into the exchange, what comes out goes back."""

    blocks = False
    """Whether calls on the socket may wait."""
    file_descriptors = 1
    """How many a response takes whose content is in a file."""

    def __init__(self, connection: socket.socket, client: str, house: House) -> None:
        connection.setblocking(self.blocks)
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.client = client
        self._house = house
        self._exchange = Exchange(house.limits)
        self._patience = Patience(house.limits)
        self._left: deque[Piece] = deque()  # of the reply that is leaving
        self._arrived = self._sent = 0  # octets
        self._is_gone = self._has_failed = self._has_file = self._halted = False
        self._request = Request("", "")
        self._status = self._octets = self._start = self._goal = 0
        self._began = 0.0
        self._enter()

    @property
    def is_over(self) -> bool:
        """Whether the socket is closed."""
        return self._exchange.state is State.CLOSED

    @property
    def writes(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._left)

    @property
    def reads(self) -> bool:
        """Whether what arrives is wanted now."""
        exchange = self._exchange
        if exchange.ended or self.is_over:
            return False
        return not self._left or exchange.backlog <= _MOST_UNREAD

    @property
    def has_more(self) -> bool:
        """Whether another turn is due, whatever the socket says: the last one was cut short."""
        return self._halted and not self._left

    @property
    def is_responding(self) -> bool:
        """Whether a response is being worked out or sent."""
        return self._exchange.state in {State.ANSWERING, State.REPLYING}

    def turn(self, *, readable: bool = True) -> bool:
        """Write once and read once, as far as there is need; tell whether more may come of it."""
        try:
            went = self._send_some()
            if (went or self._halted) and not self._left:
                self._advance()
            # Not before what was read has been looked at: what waits stays bounded.
            if readable and not self._halted and self.reads:
                went = self._receive() or went
        except Exception as error:  # noqa: BLE001 - as contained does, without a call
            self.fail(error)
            went = True
        return went and not self.is_over

    @contained
    def reject(self, status: int, why: str) -> None:
        """Answer what has not been asked, as refuse does; for those outside."""
        self.refuse(status, why)

    def refuse(self, status: int, why: str) -> None:
        """Answer what has not been asked, or not in time, and end with that."""
        self._answer(self._exchange.refuse(Refused(status, why)))

    @contained
    def finish(self) -> None:
        """End with the reply that is under way, at once where there is none."""
        self._exchange.finish()
        if self._exchange.state is State.IDLE and not self._halted:
            self.abort()

    def fail(self, error: Exception) -> None:
        """End because of a fault of ours: with 500 where nothing of a response has left yet."""
        report(error, self.client)
        state = self._exchange.state
        untouched = state is State.REPLYING and self._sent == self._start
        if self._has_failed or self._is_busy or not (state <= State.ANSWERING or untouched):
            self.abort()
            return
        self._has_failed, self._halted = True, False
        self._left.clear()
        try:
            self.refuse(500, "Something went wrong here.")
        except Exception as another:  # noqa: BLE001 - the last boundary of a connection
            report(another, self.client)
            self.abort()

    def abort(self) -> None:
        """End at once; more than once is harmless.

        Whatever fails in it, the connection's place and its descriptor are given back.
        """
        if self._is_gone:
            return
        self._is_gone = True
        for step in (self._record_cut, self._exchange.end, self._leave, self._close):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the last boundary of a connection
                report(error, self.client)
                self._exchange.state = State.CLOSED
        self._left.clear()
        if self.socket.fileno() >= 0:  # closing failed, or waits for somebody
            self._let_go()

    @contained
    def tick(self) -> None:
        """Grow a second older; give up on a client that takes too long."""
        state, stuck = self._exchange.state, self.writes
        if not self._patience.is_over(state, self._arrived, self._sent, stuck=stuck):
            return
        if not stuck and state in {State.HEAD, State.BODY}:
            self.refuse(408, "The request took too long to arrive.")
        else:
            self.abort()

    @property
    def _is_busy(self) -> bool:
        """Whether somebody else works on the response, so that it cannot be replaced."""
        return False

    @contained
    def _enter(self) -> None:
        admission = self._house.guests.admit(self)
        if admission is Admission.REFUSED:
            self.refuse(503, "Too many connections are open. Try again in a moment.")
        elif admission is Admission.CUT_OFF:
            self.abort()

    def _leave(self) -> None:
        self._house.guests.forget(self)

    def _receive(self) -> bool:
        try:
            octets = self.socket.recv(_MOST_READ)
        except BlockingIOError:
            return False
        except OSError:  # a client which has gone
            self.abort()
            return False
        self._take(octets)
        return True

    def _take(self, octets: bytes) -> None:
        """Go on with what has arrived; with nothing, which is the client's end."""
        self._arrived += len(octets)
        if octets:
            self._exchange.receive(octets)
        else:
            self._exchange.receive_end()
        self._advance()

    def _close(self) -> None:
        self.socket.close()

    def _let_go(self) -> None:
        """Give the descriptor back, as soon as nobody uses it."""
        os.close(self.socket.detach())

    def _advance(self) -> None:
        """Answer what is there to be answered, in order, as long as the client takes it.

        Not all of it: 2,200 requests fit into one read and took 43 ms, in which nobody else got
        a word in.
        """
        exchange = self._exchange
        goal, end = self._sent + _MOST_SENT, time.monotonic() + MAX_TURN
        for _ in range(MAX_REQUESTS):
            request = None if self._left else exchange.next_request()
            if not request:
                self._halted = exchange.halted
                break
            self._answer(request)
            self._halted = not exchange.at_rest
            if self._sent > goal or time.monotonic() > end:
                break
        if self.is_over or self._has_finished:
            self.abort()

    @property
    def _has_finished(self) -> bool:
        """Whether nothing more is to come, where finish was called between two turns."""
        exchange = self._exchange
        return exchange.state is State.IDLE and not (exchange.persists or self._halted)

    def _answer(self, request: Request) -> None:
        self._request, self._began = request, time.time()
        second = int(self._began)
        response = self._hold_file(request, self._house.answer(request, second))
        pieces = self._exchange.reply(response, format_date(second))
        self._status, self._octets = response.status, sum(map(len, response.body))
        self._start, self._goal = self._sent, self._sent + sum(map(len, pieces))
        self._left.extend(pieces)
        self._send_some()

    def _hold_file(self, request: Request, response: Response) -> Response:
        """Return a response, or 503 where there is no descriptor for what it is to be read from."""
        if not any(isinstance(piece, FileSlice) for piece in response.body):
            return response
        self._has_file = self._house.guests.reserve(self, self.file_descriptors)
        return response if self._has_file else refusal(request, TOO_MANY_FILES)

    def _send_some(self) -> bool:
        """Send what can leave now; tell whether anything did."""
        before = self._sent
        try:
            while self._left and self._sent - before < _MOST_SENT:
                self._put(self._left[0])
        except BlockingIOError:
            pass
        except (OSError, EOFError) as error:
            self._cut_short(error)
            return False
        if self._sent > before and not self._left:
            self._replied()
        return self._sent > before

    def _put(self, piece: Piece) -> None:
        if isinstance(piece, bytes):
            more = socket.MSG_MORE if len(self._left) > 1 else 0
            count = self.socket.send(piece, more)
            rest: Piece = piece[count:]
        else:
            source, most = piece.content.fileno(), min(len(piece), _MOST_SENT)
            count = os.sendfile(self.socket.fileno(), source, piece.start, most)
            if not count:
                raise EOFError(f"the file ended {len(piece)} octets early")
            rest = FileSlice(piece.content, piece.start + count, piece.stop)
        self._sent += count
        if len(rest):
            self._left[0] = rest
        else:
            self._left.popleft()

    def _cut_short(self, error: OSError | EOFError) -> None:
        """End; Content-Length was promised and cannot be kept: an end that shows is honest."""
        if not isinstance(error, ConnectionError):
            _logger.error("%s: reply cut short: %s", self._request.target, error)
        self.abort()

    def _replied(self) -> None:
        if self._has_file:
            self._has_file = False
            self._house.guests.release(self)
        self._record(self._octets)
        self._patience.renew()
        self._exchange.replied()
        if self._exchange.state is State.LINGERING:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
        elif self.is_over:
            self.abort()

    def _record(self, octets: int) -> None:
        if observe := self._house.observe:
            observe(self.client, self._request, self._status, octets, self._began)

    def _record_cut(self) -> None:
        """Tell of a response that ends before it is complete, if one is under way."""
        if self._exchange.state is State.REPLYING and self._sent < self._goal:
            self._record_part(self._status, max(0, self._octets - (self._goal - self._sent)))
        elif self._exchange.state is State.ANSWERING:  # not even the 500 could be made
            self._record_part(500, 0)

    def _record_part(self, status: int, octets: int) -> None:
        if observe := self._house.observe:
            observe(self.client, self._request, status, octets, self._began, True)
