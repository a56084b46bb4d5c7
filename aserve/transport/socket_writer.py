"""How a connection on a socket sends its responses: as much as the socket takes, now."""

import socket
from collections import deque
from contextlib import suppress
from math import inf
from time import monotonic

from aserve.http.messages import BodyPart, BodyStream, SizedPart, close_streams
from aserve.http1.states import State
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.sending import joins, send_file_slice, skip_bytes
from aserve.transport.server_connection import RESET, ServerConnection
from aserve.transport.turns import MAX_TURN_S

_MAX_BYTES_PER_TURN = 1 << 20  # bytes of a file; then other connections have their turn


class SocketWriter(ServerConnection):
    """The sending half of a connection."""

    def __init__(self, sock: socket.socket, peer: str, context: ConnectionContext) -> None:
        super().__init__(context, peer)
        self.socket = sock
        self._outgoing: deque[BodyPart] = deque()  # the response that is being sent
        self._bytes_sent = self._body_size = self._response_end = 0

    @property
    def wants_write(self) -> bool:
        """Whether there is data to send."""
        return bool(self._outgoing)

    @property
    def _is_blocked(self) -> bool:
        return self.wants_write

    def _total_sent(self) -> int:
        return self._bytes_sent

    _total_delivered = _total_sent

    def _shutdown_write(self) -> None:
        with suppress(OSError):  # the client has gone
            self.socket.shutdown(socket.SHUT_WR)

    def _drop_outgoing(self) -> None:
        parts, self._outgoing = self._outgoing, deque()
        close_streams(parts)

    def _reset_when_closed(self) -> None:
        with suppress(OSError):  # it is closed already
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _send_some(self) -> bool:
        """Send what the socket takes now. Return whether another call may get further."""
        if not self._outgoing:
            return False
        before, is_turn_over = self._bytes_sent, False
        try:
            is_turn_over = self._send_for_a_turn()
        except BlockingIOError:
            pass
        except (OSError, EOFError) as error:
            self._truncate(error)
            return False
        if not self._outgoing and self._http.state is State.SENDING:  # and no 100 (Continue)
            self._response_sent(self._status, self._body_size)
            return True
        return is_turn_over or self._bytes_sent > before

    def _send_for_a_turn(self) -> bool:
        """Send until all is sent, or the turn is over. Return whether it is over, and more is left.

        A stream may work long for few bytes: compressed zeros took 60 ms for 16 KiB.
        """
        max_bytes_sent, turn_end = self._bytes_sent + _MAX_BYTES_PER_TURN, inf
        while self._outgoing and self._bytes_sent < max_bytes_sent:
            part = self._outgoing[0]
            if not isinstance(part, BodyStream):
                self._send_part(part)
                continue
            turn_end = min(turn_end, monotonic() + MAX_TURN_S)
            if monotonic() > turn_end:
                break
            self._read_from_stream(part, turn_end)
        return bool(self._outgoing)

    def _send_part(self, part: SizedPart) -> None:
        """Send what the socket takes of the first part."""
        if isinstance(part, bytes):
            more = len(self._outgoing) > 1 and joins(self._outgoing[1])
            count = self.socket.send(part, socket.MSG_MORE if more else 0)
        else:
            count = send_file_slice(self.socket.fileno(), part, _MAX_BYTES_PER_TURN)
        self._bytes_sent += count
        if count < len(part):
            self._outgoing[0] = skip_bytes(part, count)
        else:
            self._outgoing.popleft()

    def _read_from_stream(self, stream: BodyStream, until: float) -> None:
        """Put the next bytes of a stream, which is the first part, before it, if there are any yet.

        until: when to give up, by time.monotonic.
        """
        try:
            data = stream.read(until)
        except BlockingIOError as error:
            raise OSError(str(error)) from error  # it is not the socket that has no space
        if data:
            self._outgoing.appendleft(data)
            self._body_size += len(data)
            self._response_end += len(data)
        elif data is not None:
            self._outgoing.popleft()
            stream.close()

    def _record_unfinished(self) -> None:
        """Record a response that ends before it is complete, if one is being sent."""
        state = self._http.state
        if state is State.SENDING and self._outgoing:
            missing = self._response_end - self._bytes_sent
            self._record_truncated(self._status, self._body_size - missing)
        elif state is State.HANDLING:  # not even the 500 could be made
            self._record_truncated(500, 0)
        elif self._on_end:
            self._end_response(0, is_truncated=True)
