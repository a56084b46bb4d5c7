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

from aserve.models.admissions import Admission, Admissions
from aserve.models.owner import Observe
from aserve.semantics.dates import format_date
from aserve.semantics.messages import FileSlice, Piece, Refused, Request, Response
from aserve.semantics.refusals import refusal
from aserve.site.answer import Site
from aserve.wire.exchange import Exchange
from aserve.wire.limits import Limits
from aserve.wire.patience import Patience
from aserve.wire.states import State

_MOST_READ = 65_536  # octets at once
_MOST_UNREAD = 65_536  # octets of requests behind the one being answered; then reading pauses
_MOST_SENT = 1 << 20  # octets of a file at once: then others have their turn

_logger = logging.getLogger("aserve")


class House:
    """What all conversations of one model share."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None, most: int) -> None:
        self.site = site
        self.limits = limits
        self.observe = observe
        share = limits.connections_per_client or max(1, most * 3 // 4)
        self.guests: Admissions[Conversation] = Admissions(most, share)

    def answer(self, request: Request, second: int) -> Response:
        """Return the response to a request, or to what is wrong with it."""
        if request.refusal:
            return refusal(request, request.refusal)
        return self.site.answer(request, second)


class Conversation:
    """One client: what its socket has goes into the exchange, what comes out goes back."""

    blocks = False
    """Whether calls on the socket may wait."""

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
        self._is_gone = False
        self._request: Request
        self._status = self._octets = self._goal = 0
        self._began = 0.0
        admission = house.guests.admit(self)
        if admission is Admission.REFUSED:
            self.refuse(503, "Too many connections are open. Try again in a moment.")
        elif admission is Admission.CUT_OFF:
            self.abort()

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

    def turn(self, *, readable: bool = True) -> bool:
        """Write once and read once, as far as there is need; tell whether more may come of it."""
        went = self._send_some()
        if went and not self._left:
            self._advance()
        if readable and self.reads:
            went = self._receive() or went
        return went and not self.is_over

    def refuse(self, status: int, why: str) -> None:
        """Answer what has not been asked, or not in time, and end with that."""
        self._answer(self._exchange.refuse(Refused(status, why)))

    def finish(self) -> None:
        """End with the reply that is under way, at once where there is none."""
        self._exchange.finish()
        if self._exchange.state is State.IDLE:
            self.abort()

    def abort(self) -> None:
        """End at once; more than once is harmless."""
        if self._is_gone:
            return
        self._is_gone = True
        if self._left:
            missing = self._goal - self._sent
            self._record(max(0, self._octets - missing))
            self._left.clear()
        self._exchange.end()
        self._house.guests.forget(self)
        self._close()

    def tick(self) -> None:
        """Grow a second older; give up on a client that takes too long."""
        state, stuck = self._exchange.state, self.writes
        if not self._patience.is_over(state, self._arrived, self._sent, stuck=stuck):
            return
        if not stuck and state in {State.HEAD, State.BODY}:
            self.refuse(408, "The request took too long to arrive.")
        else:
            self.abort()

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

    def _advance(self) -> None:
        """Answer what is there to be answered, in order, as long as the client takes it."""
        while not self._left and (request := self._exchange.next_request()):
            self._answer(request)
        if self.is_over:
            self.abort()

    def _answer(self, request: Request) -> None:
        self._request, self._began = request, time.time()
        second = int(self._began)
        response = self._house.answer(request, second)
        pieces = self._exchange.reply(response, format_date(second))
        self._status, self._octets = response.status, sum(map(len, response.body))
        self._goal = self._sent + sum(map(len, pieces))
        self._left.extend(pieces)
        self._send_some()

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
