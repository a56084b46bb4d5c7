"""Connections with TLS, which are plain ones to the system: OpenSSL reads and writes memory.

So what holds for a plain connection holds for these, whichever way it ends, and all that is sent
and received stays in one place. It also costs less than the event loops' transports, which look
for more after each record by an exception.
"""

import contextlib
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Any

from abench.client.proxy_tunnel import split_response
from abench.client.socket_transport import SocketPoller, SocketTransport, TransportClient
from abench.plan.plan import Plan

_MAX_RECORD = 16_384  # bytes of a record's content (RFC 8446 section 5.1)
_MAX_PLAIN = 65_536  # bytes that a client takes at once
# What is received at once, with the piece of a record that came before, decrypts to fewer.
_MAX_ENCRYPTED = _MAX_PLAIN - _MAX_RECORD
_MAX_UNSENT = 131_072  # bytes of a large request that are encrypted ahead of being sent


@dataclass(frozen=True, slots=True)
class Security:
    """What the connections of a plan share: their TLS, and the request for a proxy's tunnel."""

    context: ssl.SSLContext
    server_name: str
    tunnel_request: bytes
    encrypted: memoryview  # what has just come, on whichever connection

    @classmethod
    def of(cls, plan: Plan) -> "Security":
        """Return what the connections of `plan` share; raises ParameterError."""
        name = plan.tls.name or plan.target.host
        buffer = memoryview(bytearray(_MAX_ENCRYPTED))
        return cls(plan.tls.context(), name, plan.route.tunnel_request(plan.target), buffer)


class TlsTransport(SocketTransport):
    """A connection with TLS, perhaps through a proxy's tunnel.

    `_unsent` is encrypted already, and `_plain` is what waits for it to be sent: a large body is
    encrypted piece by piece, and never held twice.
    """

    __slots__ = (
        "_encrypted",
        "_incoming",
        "_next_step",
        "_outgoing",
        "_plain",
        "_read_plain",
        "_tls",
        "_tunnel_request",
        "_tunnel_response",
    )

    def __init__(
        self,
        lines: SocketPoller,
        client: TransportClient,
        family: int,
        where: Any,
        security: Security,
    ) -> None:
        super().__init__(lines, client, family, where)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = security.context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=security.server_name
        )
        self._read_plain: Any = self._tls.read  # its stub has no number of bytes for a buffer
        self._encrypted = security.encrypted
        self._tunnel_request, self._tunnel_response = security.tunnel_request, b""
        self._plain: deque[memoryview] = deque()
        # A plain function, since a method of its own would hold the line in a circle.
        self._next_step = TlsTransport._handshake

    def write(self, octets: bytes) -> None:
        """Send bytes, or keep them until they can be sent."""
        if self._plain or len(octets) > _MAX_RECORD:
            self._plain.append(memoryview(octets))
            self._encrypt()
            return
        try:
            self._tls.write(octets)
        except ssl.SSLError:  # it is closed
            return
        SocketTransport.write(self, self._outgoing.read())

    def close_silently(self) -> bool:
        """Close the socket without waiting for anything; return whether it was open."""
        if self in self._poller.transports:
            self._end_tls()
        return super().close_silently()

    def _connected(self) -> None:
        """Have the proxy open a tunnel, or begin TLS."""
        if self._tunnel_request:
            self._next_step = TlsTransport._read_proxy_response
            SocketTransport.write(self, self._tunnel_request)
        else:
            self._handshake()

    def _read(self) -> None:
        try:
            nbytes = self._receive(self._encrypted)
        except BlockingIOError:
            return
        except OSError as error:
            self._on_end(error)
            return
        if nbytes:
            self._incoming.write(self._encrypted[:nbytes])
        else:
            self._incoming.write_eof()
        self._next_step(self)

    def _read_proxy_response(self) -> None:
        """Wait for the proxy's response, and begin TLS behind it."""
        incoming = self._incoming
        self._tunnel_response += incoming.read()
        try:
            found = split_response(self._tunnel_response, ended=incoming.eof)
        except OSError as error:
            self._on_end(error)
            return
        if found:
            incoming.write(found[1])
            self._next_step = TlsTransport._handshake
            self._handshake()

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_records()
        except OSError as error:
            self._on_end(error)
        else:
            self._send_records()
            self._next_step = TlsTransport._decrypt
            super()._connected()
            if (
                self._incoming.pending and self in self._poller.transports
            ):  # the server may speak first
                self._decrypt()

    def _decrypt(self) -> None:
        """Hand over all that has come, as one piece: a server may make several records of it."""
        read, incoming, buffer = self._read_plain, self._incoming, self._buffer
        nbytes, more = 0, 1
        try:
            while more:
                more = read(_MAX_PLAIN, buffer[nbytes:] if nbytes else buffer)
                nbytes += more
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            self._send_records()  # there may be something to answer: new keys, for one
        except ssl.SSLError as error:
            self._hand_over(nbytes)
            self._on_end(error)
            return
        self._hand_over(nbytes)
        if not more:  # the server's close_notify
            self._on_end(None)

    def _hand_over(self, nbytes: int) -> None:
        if nbytes:
            self._updated(nbytes)

    def _on_end(self, error: OSError | None) -> None:
        """End the connection, or the attempt at one, since the server does or by its error."""
        if not self._is_connected:
            self._connect_failed(error or ConnectionError())
        elif self in self._poller.transports:
            if error is None or isinstance(error, ssl.SSLEOFError):
                self._client.eof_received(orderly=error is None)
            self.close(error)

    def _connect_failed(self, error: OSError) -> None:
        if self.close_silently():
            reason = _reason(error)
            said = error.strerror or str(error) or reason
            self._client.connect_failed(error.errno or 0, reason, said)

    def _encrypt(self) -> None:
        """Encrypt and send what waits, as far as it can be sent."""
        plain, outgoing = self._plain, self._outgoing
        while plain and not self._unsent:
            while plain and outgoing.pending < _MAX_UNSENT:
                self._encrypt_record()
            SocketTransport.write(self, outgoing.read())

    def _encrypt_record(self) -> None:
        plain = self._plain
        try:
            written = self._tls.write(plain[0])
        except ssl.SSLError:  # it is closed
            plain.clear()
            return
        if written < len(plain[0]):
            plain[0] = plain[0][written:]
        else:
            plain.popleft()

    def _flush(self) -> None:
        super()._flush()
        self._encrypt()

    def _stop_sending(self) -> None:
        self._plain.clear()
        super()._stop_sending()

    def _send_records(self) -> None:
        """Send what is TLS's own."""
        if records := self._outgoing.read():
            SocketTransport.write(self, records)

    def _end_tls(self) -> None:
        """Send close_notify, or the alert that there is, once; wait for none (RFC 9112, 9.8)."""
        if self._unsent:  # within a record nothing else can be said
            return
        with contextlib.suppress(OSError):  # it would wait for the server's
            self._tls.unwrap()
        if records := self._outgoing.read():
            with contextlib.suppress(OSError):
                self._send(records)


def _reason(error: OSError) -> str:
    """Return TLS's or the proxy's own word for it; "" where the system's number tells."""
    if isinstance(error, ssl.SSLEOFError):
        return "closed in the handshake"
    return str(getattr(error, "reason", None) or "")
