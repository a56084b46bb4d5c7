"""The TLS of a server on plain connections, which a test can have misbehave."""

import asyncio
import ssl

import pytest


class TlsPeer(asyncio.Protocol):
    """The TLS of a server on a plain connection: it sends and closes as a test says."""

    def __init__(self, context, response, *, ends=""):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.response, self.ends = response, ends
        self.seen = []  # requests, close_notify as "", the end of the connection as None
        self.lost = asyncio.get_running_loop().create_future()
        self.has_shaken_hands = False
        self.reads = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.reads += 1
        self.incoming.write(data)
        try:
            self.proceed()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.seen.append(error.reason)
        self.transport.write(self.outgoing.read())

    def proceed(self):
        if not self.has_shaken_hands:
            self.tls.do_handshake()
            self.has_shaken_hands = True
        while True:
            request = self.tls.read(65_536).decode()
            self.seen.append(request)
            if not request:
                return
            for record in self.response:
                self.tls.write(record)
            self.end()

    def end(self):
        if not self.ends:
            return
        if self.ends == "orderly":
            with pytest.raises(ssl.SSLWantReadError):
                self.tls.unwrap()
        self.transport.write(self.outgoing.read())
        self.transport.close()
        raise ssl.SSLWantReadError

    def connection_lost(self, exc):
        self.seen.append(exc)
        self.lost.set_result(None)
