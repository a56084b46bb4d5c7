"""Clients that speak TLS with a server in this process, without sockets."""

import asyncio
import ssl
from contextlib import suppress

from aserve.transport.eventloop.tls_connection import TlsConnection
from aserve.transport.eventloop.tls_transport import TlsTransport


class FakeSocket(asyncio.Transport):
    """The transport of a socket that takes all data, and sends nothing."""

    def __init__(self):
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.has_ended = self.is_closed = False
        self.reads = True

    def write(self, data):
        assert not self.is_closed
        self.writes += 1
        self.written += data

    def take(self):
        """Return what was written since the last call."""
        data = bytes(self.written)
        self.written.clear()
        return data

    def write_eof(self):
        self.has_ended = True

    def can_write_eof(self):
        return True

    def close(self):
        if not self.is_closed:
            self.is_closed = True
            self.protocol.connection_lost(None)

    abort = close

    def is_closing(self):
        return self.is_closed

    def set_protocol(self, protocol):
        self.protocol = protocol

    def is_reading(self):
        return self.reads

    def pause_reading(self):
        self.reads = False

    def resume_reading(self):
        self.reads = True

    def get_write_buffer_size(self):
        return 0

    def get_extra_info(self, name, default=None):
        return ("127.0.0.1", 1) if name == "peername" else default


class MemoryClient:
    """A client of a server, and the server's transport, whose methods the loop would call."""

    def __init__(self, server, layer, context, host="localhost", session=None):
        self.socket = FakeSocket()
        self.transport = TlsTransport(layer, TlsConnection(server, None, "127.0.0.1"))
        self.socket.protocol = self.transport
        self.transport.connection_made(self.socket)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.end = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=host, session=session
        )

    def deliver(self, data):
        """Have the server read data, as a loop does."""
        self.fill(data)
        self.transport.buffer_updated(len(data))

    def fill(self, data):
        """Put data where the server reads it."""
        self.transport.get_buffer(-1)[: len(data)] = data

    def begin(self):
        """Return the first bytes of the handshake."""
        with suppress(ssl.SSLWantReadError):
            self.end.do_handshake()
        return self._outgoing.read()

    def shake_hands(self):
        """Do the whole handshake, in one turn of the loop."""
        self.deliver(self.begin())
        return self.finish()

    def finish(self):
        """Do the client's last part of a handshake that the server has answered."""
        self._incoming.write(self.socket.take())
        try:
            self.end.do_handshake()
        finally:
            if sent := self._outgoing.read():
                self.deliver(sent)
        return self

    def encrypted(self, data):
        """Return data as it is on the wire."""
        self.end.write(data)
        return self._outgoing.read()

    def close_notify(self):
        """Return the announcement that no more comes."""
        with suppress(ssl.SSLWantReadError):
            self.end.unwrap()
        return self._outgoing.read()

    def received(self):
        """Return what the server has sent, decrypted; b"" at its end, or if it has sent nothing."""
        self._incoming.write(self.socket.take())
        parts = []
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := self.end.read(65_536):
                parts.append(part)
        return b"".join(parts)
