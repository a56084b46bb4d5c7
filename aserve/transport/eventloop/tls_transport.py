"""TLS between the transport of a socket and a connection: OpenSSL in memory, and no I/O.

The loops have such a layer as well, which keeps plaintext and ciphertext in buffers of its own for
each client, starts two timers and reads 256 KiB at a time. Here the buffers belong to the server:
what a client sends is decrypted in the call that brings it, what is written is encrypted in the
call that writes it, and what a slow client does not take is where it is without TLS
(docs/adr/0062-speed-of-tls.md).
"""

import asyncio
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol, cast

from aserve.tls.presented import PresentedCertificates, ServerEnd
from aserve.transport.eventloop.handshakes import Handshakes
from aserve.transport.eventloop.wrapped_transport import WrappedTransport
from aserve.transport.internal_errors import log_internal_error

_HANDSHAKE = 0x16  # RFC 8446 section 5.1; no method begins with it
_MAX_RECORD = 16_384  # bytes of plaintext: RFC 8446 section 5.1
_READ_SIZE = 262_144  # bytes
_NO_PROTOCOL = asyncio.Protocol()


class TlsClient(Protocol):
    """The protocol of a client, which may speak TLS or not."""

    def accepted(self, transport: asyncio.Transport) -> None:
        """Count the client. The transport can do nothing yet but be closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the client: by TLS after its handshake, or by the transport of its socket."""


class TlsLayer:
    """What the TLS connections of a server share.

    incoming, outgoing: ciphertext on its way to and from OpenSSL. Both are empty again at the end
    of the call that has filled them, and before any code of a protocol runs. So all connections can
    have the same ones, and an idle connection has none, however much it has sent.

    received: where the loop puts ciphertext, for the call that follows. As an object of its own for
    each read it would make uploads a fifth dearer.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, certificates: PresentedCertificates
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.received = memoryview(bytearray(_READ_SIZE))
        self.handshakes = Handshakes(loop)
        self._certificates = certificates

    def new_end(self) -> ServerEnd:
        """Return the server's end of a connection that begins."""
        return self._certificates.new_end(self.incoming, self.outgoing)


class TlsTransport(WrappedTransport, asyncio.BufferedProtocol):
    """The transport of a client that speaks TLS, and the protocol of the one of its socket.

    It holds no data but what a handshake that waits is to read. A client that speaks no TLS is left
    to its protocol, with the transport of its socket.
    """

    __slots__ = (
        "_can_write",
        "_end",
        "_has_ended",
        "_is_open",
        "_layer",
        "_received",
    )

    def __init__(self, layer: TlsLayer, protocol: asyncio.Protocol) -> None:
        self._layer = layer
        self._protocol = protocol
        self._end: ServerEnd | None = None  # until the first byte has come
        self._received = b""  # for the next step of the handshake
        self._is_open = False  # between the handshake and the last byte of the client
        self._can_write = False  # between the handshake and the last byte to the client
        self._has_ended = False  # no more is read

    # The protocol of the socket's transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the client, and wait for its first byte."""
        self._socket = cast("asyncio.Transport", transport)
        cast("TlsClient", self._protocol).accepted(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - it is as large as loops read
        """Return where the loop puts what it reads, before it calls buffer_updated."""
        return self._layer.received

    def buffer_updated(self, size: int) -> None:  # noqa: C901 - each call that this saves is 1 %
        """Decrypt what the client has sent and pass it on, or go on with its handshake."""
        end, layer = self._end, self._layer
        data = layer.received[:size]
        if not (end and self._is_open):
            self._receive_handshake(bytes(data))
            return
        incoming = layer.incoming
        incoming.write(data)
        try:
            # A record that has come as a whole is shorter than its ciphertext.
            plain = end.read(size if size < _MAX_RECORD else _MAX_RECORD)  # noqa: FURB136 - a call
            if incoming.pending or len(plain) >= size or size >= _MAX_RECORD:
                plain = self._read_rest(plain)
            elif not plain:
                self._has_ended = True
        except ssl.SSLWantReadError:  # a part of a record, or one that is OpenSSL's own
            plain = b""
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            self._fail(error)
            return
        if layer.outgoing.pending:  # such as the answer to a KeyUpdate
            self._socket.write(layer.outgoing.read())
        if plain:
            self._protocol.data_received(plain)
        if self._has_ended:
            self._end_reading()

    def eof_received(self) -> bool:
        """Keep the connection if the client has announced its end, as it may still read.

        Else it has gone, or has been cut off (RFC 8446 section 6.1).
        """
        return self._has_ended

    def pause_writing(self) -> None:
        """Have the protocol stop writing."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Have the protocol go on writing."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what OpenSSL holds, and tell the protocol."""
        protocol, self._protocol = self._protocol, _NO_PROTOCOL  # they refer to each other
        self._is_open = self._can_write = False
        self._has_ended = True
        self._end = None
        protocol.connection_lost(exc)

    # Handshakes.

    def _receive_handshake(self, data: bytes) -> None:
        if self._has_ended:
            return
        if self._end is None:
            if data[0] != _HANDSHAKE:
                self._leave_to_protocol(data)
                return
            self._end = self._layer.new_end()
        self._received += data
        if not self._layer.handshakes.take(self._continue_handshake):
            self._socket.pause_reading()  # what the client sends meanwhile waits in the kernel

    def _leave_to_protocol(self, data: bytes) -> None:
        self._socket.pause_reading()  # or uvloop would read into the same buffer for ever
        self._socket.set_protocol(self._protocol)
        self._socket.resume_reading()
        self._protocol.connection_made(self._socket)
        self._protocol.data_received(data)

    def _continue_handshake(self) -> None:
        if self._is_open or self._has_ended or self._socket.is_closing():
            return
        if not self._socket.is_reading():
            self._socket.resume_reading()
        end, layer = cast("ServerEnd", self._end), self._layer
        layer.incoming.write(self._received)
        self._received = plain = b""
        try:
            end.do_handshake()
            if layer.incoming.pending:
                plain = self._read_rest(b"")
        except ssl.SSLWantReadError:
            self._flush()
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            self._fail(error)
        else:
            self._open(plain)

    def _open(self, plain: bytes) -> None:
        """Have the protocol serve the client. plain: what has come behind the handshake."""
        self._flush()
        self._is_open = self._can_write = True
        self._protocol.connection_made(self)
        if plain:
            self._protocol.data_received(plain)
        if self._has_ended:
            self._end_reading()

    # Reading and writing.

    def _read_rest(self, first: bytes) -> bytes:
        """Return what was read first, and all that has come behind it."""
        end, incoming, parts = cast("ServerEnd", self._end), self._layer.incoming, [first]
        try:
            while incoming.pending or end.pending():
                if not (part := end.read(_MAX_RECORD)):
                    self._has_ended = True
                    incoming.read()  # what may follow the end is ignored: RFC 8446 section 6.1
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)

    def _end_reading(self) -> None:
        """Tell the protocol that nothing more comes. With TLS 1.3 the client may still read."""
        if not (end := self._end):  # the connection is lost already
            return
        self._is_open = False
        is_over = end.version() != "TLSv1.3"  # RFC 5246 section 7.2.1
        if not self._protocol.eof_received() or is_over:
            self.close()

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        end = cast("ServerEnd", self._end)
        while data:  # a Python may have OpenSSL take one record at a time
            data = memoryview(data)[end.write(data) :]

    def _flush(self) -> None:
        if self._layer.outgoing.pending:
            self._socket.write(self._layer.outgoing.read())

    def _fail(self, error: Exception) -> None:
        """Close, with the alert that OpenSSL has written, if any."""
        if not isinstance(error, OSError):  # SSLError is one: a client that speaks no TLS
            log_internal_error(error, "-")
        self._layer.incoming.read()  # the next to read from it is another client's end
        self._is_open = self._can_write = False
        self._has_ended = True
        self._flush()
        self._socket.close()

    # The transport of the protocol.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt data, and write it as one piece."""
        end = self._end
        if not (data and end and self._can_write):
            return
        try:
            if (count := end.write(data)) < len(data):
                self._encrypt(memoryview(data)[count:])
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            self._fail(error)
        else:
            self._socket.write(self._layer.outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt several pieces, and write them as one."""
        if not self._can_write:
            return
        try:
            for data in list_of_data:
                if data:
                    self._encrypt(data)
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            self._fail(error)
        else:
            self._flush()

    def _end_writing(self) -> None:
        """Send close_notify, so that the client can tell the end from a cut connection."""
        if self._can_write:
            self._can_write = False
            with suppress(OSError):  # the client's own has not come
                cast("ServerEnd", self._end).unwrap()
            self._layer.incoming.read()
            self._flush()

    def write_eof(self) -> None:
        """End writing, and read on."""
        self._end_writing()
        self._socket.write_eof()

    def can_write_eof(self) -> bool:
        """Tell whether the client may go on sending after the end of writing: with TLS 1.3."""
        return self._end is not None and self._end.version() == "TLSv1.3"

    def close(self) -> None:
        """End writing, and close the connection once all is sent."""
        self._end_writing()
        self._socket.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._can_write = False
        self._socket.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of TLS (ssl_object, sslcontext) or of the socket."""
        if self._end and name == "ssl_object":
            return self._end
        if self._end and name == "sslcontext":
            return self._end.context
        return self._socket.get_extra_info(name, default)
