"""Connections with TLS, which are plain ones to the kernel: OpenSSL reads and writes memory.

So what holds for a plain connection holds for these, however it closes, and all sending and
receiving stays in one place. It also costs less than the event loops' transports, which find out
by an exception after each record that there is no other.
"""

import contextlib
import ssl
from collections import deque
from typing import Any, NamedTuple

from abench.client.proxy_tunnel import split_response
from abench.client.socket_transport import SocketPoller, SocketTransport, TransportClient
from abench.plan.plan import Plan

_MAX_RECORD = 16_384  # bytes of plaintext in a record (RFC 8446 section 5.1)
_MAX_PLAIN = 65_536  # bytes of a client's buffer
# One read, with a partial record from the read before, decrypts to at most the client's buffer.
_MAX_ENCRYPTED = _MAX_PLAIN - _MAX_RECORD
_MAX_UNSENT = 131_072  # bytes of a large request that are encrypted ahead of sending


class TlsSettings(NamedTuple):
    """What the connections of a plan share: TLS, and the request for a proxy's tunnel."""

    context: ssl.SSLContext
    server_name: str
    tunnel_request: bytes
    encrypted: memoryview  # what was just received, on any connection

    @classmethod
    def of(cls, plan: Plan) -> "TlsSettings":
        """Return what the connections of `plan` share; raises ParameterError."""
        name = plan.tls.name or plan.target.host
        buffer = memoryview(bytearray(_MAX_ENCRYPTED))
        return cls(plan.tls.context(), name, plan.route.tunnel_request(plan.target), buffer)


class TlsTransport(SocketTransport):
    """A connection with TLS, perhaps through a proxy's tunnel.

    `_unsent` is encrypted already, and `_plain` waits for it to be sent: a large body is encrypted
    part by part, and never held twice.
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
        poller: SocketPoller,
        client: TransportClient,
        family: int,
        address: Any,
        settings: TlsSettings,
    ) -> None:
        super().__init__(poller, client, family, address)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = settings.context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=settings.server_name
        )
        self._read_plain: Any = self._tls.read  # the type stub has no size together with a buffer
        self._encrypted = settings.encrypted
        self._tunnel_request, self._tunnel_response = settings.tunnel_request, b""
        self._plain: deque[memoryview] = deque()
        # A plain function: a bound method would make a reference cycle.
        self._next_step = TlsTransport._handshake

    def write(self, data: bytes) -> None:
        """Send bytes, or buffer them until they can be sent."""
        if self._plain or len(data) > _MAX_RECORD:
            self._plain.append(memoryview(data))
            self._encrypt()
            return
        try:
            self._tls.write(data)
        except ssl.SSLError:  # it is closed
            return
        SocketTransport.write(self, self._outgoing.read())

    def close_silently(self) -> bool:
        """Close the socket without telling the client; return whether it was open."""
        if self in self._poller.transports:
            self._end_tls()
        return super().close_silently()

    def _connected(self) -> None:
        """Have the proxy open a tunnel, or start the TLS handshake."""
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
        """Read the proxy's response, and start the TLS handshake after it."""
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
            if self._incoming.pending and self in self._poller.transports:
                self._decrypt()  # the server may send first

    def _decrypt(self) -> None:
        """Pass on all that was received in one call: a server may split it into records."""
        read, incoming, buffer = self._read_plain, self._incoming, self._buffer
        nbytes, more = 0, 1
        try:
            while more:
                more = read(_MAX_PLAIN, buffer[nbytes:] if nbytes else buffer)
                nbytes += more
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            self._send_records()  # TLS may have to respond: to a key update, for one
        except ssl.SSLError as error:
            self._deliver(nbytes)
            self._on_end(error)
            return
        self._deliver(nbytes)
        if not more:  # the server's close_notify
            self._on_end(None)

    def _deliver(self, nbytes: int) -> None:
        if nbytes:
            self._updated(nbytes)

    def _on_end(self, error: OSError | None) -> None:
        """Close the connection, or fail the attempt, since the server closed it or it failed."""
        if not self._is_connected:
            self._connect_failed(error or ConnectionError())
        elif self in self._poller.transports:
            if error is None or isinstance(error, ssl.SSLEOFError):
                self._client.eof_received(orderly=error is None)
            self.close(error)

    def _connect_failed(self, error: OSError) -> None:
        if self.close_silently():
            reason = _reason(error)
            message = error.strerror or str(error) or reason
            self._client.connect_failed(error.errno or 0, reason, message)

    def _encrypt(self) -> None:
        """Encrypt and send what is buffered, as far as the socket accepts it."""
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
        """Send TLS's own records: the handshake, alerts, key updates."""
        if records := self._outgoing.read():
            SocketTransport.write(self, records)

    def _end_tls(self) -> None:
        """Send close_notify or a pending alert, once; wait for none in return (RFC 9112, 9.8)."""
        if self._unsent:  # inside a record nothing else can be sent
            return
        with contextlib.suppress(OSError):  # it would wait for the server's close_notify
            self._tls.unwrap()
        if records := self._outgoing.read():
            with contextlib.suppress(OSError):  # the server has gone, or takes nothing now
                self._send(records)


def _reason(error: OSError) -> str:
    """Return the reason that TLS or the proxy gives; "" where the errno tells it."""
    if isinstance(error, ssl.SSLEOFError):
        return "closed in the handshake"
    return str(getattr(error, "reason", None) or "")
