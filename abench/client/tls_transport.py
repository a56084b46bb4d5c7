"""Connections with TLS, which are plain ones to the kernel: OpenSSL reads and writes memory.

So what holds for a plain connection holds for these, however it closes, and all sending and
receiving stays in one place. It also costs less than the event loops' transports, which find out
by an exception after each record that there is no other.
"""

import contextlib
import ssl
import time
from collections import deque
from typing import Any, NamedTuple, cast

from abench.client import tls_errors
from abench.client.proxy_tunnel import split_response
from abench.client.socket_transport import (
    OpeningTimes,
    SocketPoller,
    SocketTransport,
    TransportClient,
)
from abench.client.tls_sessions import SessionStore
from abench.plan.plan import Plan

_clock = time.perf_counter_ns

_MAX_RECORD = 16_384  # bytes of plaintext in a record (RFC 8446 section 5.1)
_MAX_PLAIN = 65_536  # bytes of a client's buffer
# One read, with a partial record from the read before, decrypts to at most the client's buffer.
_MAX_ENCRYPTED = _MAX_PLAIN - _MAX_RECORD
_MAX_UNSENT = 131_072  # bytes of a large request that are encrypted ahead of sending


class TlsSettings(NamedTuple):
    """What the connections of a plan share: TLS, and the request for a proxy's tunnel.

    `encrypted` is what was just received, on any of them. Without `sessions`, none is resumed.
    """

    context: ssl.SSLContext
    server_name: str
    tunnel_request: bytes
    encrypted: memoryview
    sessions: SessionStore | None

    @classmethod
    def of(cls, plan: Plan) -> "TlsSettings":
        """Return what the connections of `plan` share; raises ParameterError."""
        name = plan.tls.name or plan.target.host
        return cls(
            context=plan.tls.context(),
            server_name=name,
            tunnel_request=plan.route.tunnel_request(plan.target),
            encrypted=memoryview(bytearray(_MAX_ENCRYPTED)),
            sessions=SessionStore(plan.connections) if plan.tls.resume else None,
        )


class TlsTransport(SocketTransport):
    """A connection with TLS, perhaps through a proxy's tunnel.

    `_unsent` is encrypted already, and `_plain` waits for it to be sent: a large body is encrypted
    part by part, and never held twice. `_tls` is there from the start of its handshake.
    """

    __slots__ = (
        "_connect_us",
        "_encrypted",
        "_incoming",
        "_next_step",
        "_outgoing",
        "_plain",
        "_read_plain",
        "_resumed",
        "_settings",
        "_tls",
        "_tunnel_response",
        "_write_plain",
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
        self._connect_us = 0
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._read_plain: Any  # the type stub has no size together with a buffer
        self._write_plain: Any
        self._resumed: ssl.SSLSession | None
        self._settings = settings
        self._encrypted = settings.encrypted
        self._tunnel_response = b""
        self._plain: deque[memoryview] = deque()
        # A plain function: a bound method would make a reference cycle.
        self._next_step = TlsTransport._handshake

    def cancel_connect(self, error_number: int = 0) -> None:
        """Cancel an attempt to connect, with the errno that made it fail or 0."""
        if self._tls is None or error_number:
            super().cancel_connect(error_number)
        elif not self._is_connected and self.close_silently():
            self._client.connect_failed(0, *tls_errors.TIMED_OUT, kind="tls")

    def write(self, data: bytes) -> None:
        """Send bytes, or buffer them until they can be sent."""
        if self._plain or len(data) > _MAX_RECORD:
            self._plain.append(memoryview(data))
            self._encrypt()
            return
        try:
            self._write_plain(data)
        except ssl.SSLError:  # it is closed
            return
        SocketTransport.write(self, self._outgoing.read())

    def close_silently(self) -> bool:
        """Close the socket without telling the client; return whether it was open."""
        if self in self._poller.transports:
            self._end_tls()
        return super().close_silently()

    # Opening: TCP, perhaps a tunnel, and the handshake.

    def _connected(self) -> None:
        """Have the proxy open a tunnel, or start the TLS handshake."""
        if tunnel_request := self._settings.tunnel_request:
            self._next_step = TlsTransport._read_proxy_response
            SocketTransport.write(self, tunnel_request)
        else:
            self._start_handshake()

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
            self._start_handshake()

    def _start_handshake(self) -> None:
        self._connect_us = _clock() // 1000 - self._began_us
        settings = self._settings
        self._resumed = settings.sessions.take() if settings.sessions else None
        self._tls = tls = settings.context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_hostname=settings.server_name,
            session=self._resumed,
        )
        self._read_plain, self._write_plain = tls.read, tls.write
        self._next_step = TlsTransport._handshake
        self._began_us = _clock() // 1000  # what was before is not the server's: see ADR 63
        self._handshake()

    def _handshake(self) -> None:
        tls = cast("ssl.SSLObject", self._tls)
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_records()
        except OSError as error:
            self._on_end(error)
        else:
            now = _clock() // 1000
            times = OpeningTimes(now, self._connect_us, now - self._began_us)
            self._client.opened(times, tls)
            self._start()  # a request is sent together with the last of the handshake
            self._send_records()
            if self._incoming.pending and self in self._poller.transports:
                self._decrypt()  # the server may send first

    def _connect_failed(self, error: OSError) -> None:
        if not self.close_silently():
            return
        if self._tls:
            self._client.connect_failed(0, *tls_errors.describe(error), kind="tls")
        else:
            reason = str(getattr(error, "reason", None) or "")  # of the proxy
            self._client.connect_failed(error.errno or 0, reason, error.strerror or str(error))

    # Reading and writing.

    def _read(self) -> None:
        incoming, encrypted = self._incoming, self._encrypted
        try:
            nbytes = self._receive(encrypted)
        except BlockingIOError:
            return
        except OSError as error:
            self._on_end(error)
            return
        if nbytes:
            incoming.write(encrypted[:nbytes])
        else:
            incoming.write_eof()
        if self._is_connected:
            self._decrypt()
        else:
            self._next_step(self)

    def _decrypt(self) -> None:
        """Pass on all that was received in one call: a server may split it into records."""
        read, incoming, buffer = self._read_plain, self._incoming, self._buffer
        nbytes, more = 0, 1
        failure: ssl.SSLError | None = None
        try:
            nbytes = more = read(_MAX_PLAIN, buffer)
            while more and incoming.pending:
                more = read(_MAX_PLAIN, buffer[nbytes:])
                nbytes += more
        except ssl.SSLWantReadError:
            self._send_records()  # TLS may have to respond: to a key update, for one
        except ssl.SSLError as error:
            failure = error
        if nbytes:
            self._updated(nbytes)
        if failure or not more:  # else 0 is the server's close_notify
            self._on_end(failure)

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
            written = self._write_plain(plain[0])
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

    # Closing.

    def _on_end(self, error: OSError | None) -> None:
        """Close the connection, or fail the attempt, since the server closed it or it failed."""
        if not self._is_connected:
            self._connect_failed(error or ConnectionError())
        elif self in self._poller.transports:
            if error is None or isinstance(error, ssl.SSLEOFError):
                self._client.eof_received(orderly=error is None)
            self.close(error)

    def _end_tls(self) -> None:
        """Send close_notify or a pending alert, once; wait for none in return (RFC 9112, 9.8)."""
        tls, sessions = self._tls, self._settings.sessions
        if tls is None:
            return
        if sessions and self._is_connected:
            sessions.put(tls, self._resumed)
        if self._unsent:  # inside a record nothing else can be sent
            return
        with contextlib.suppress(OSError):  # it would wait for the server's close_notify
            tls.unwrap()
        if records := self._outgoing.read():
            with contextlib.suppress(OSError):  # the server has gone, or takes nothing now
                self._send(records)
