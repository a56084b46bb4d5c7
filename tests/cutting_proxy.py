"""A proxy that ends connections in the middle, for clients that are to go on afterwards."""

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit


class CuttingProxy(ABC):
    """Passes connections on to a server, from its making to close, and ends some of them."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    @abstractmethod
    def _cutter(self) -> Callable[[bytes], bool]:
        """Return a function for one direction of a connection.

        It gets what was passed on, and tells whether to end the connection now.
        """

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is shut down
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for pair in ((client, server, True), (server, client, False)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=pair))
                    self._threads[-1].start()

    def _pass_on(self, one: socket.socket, other: socket.socket, is_client: bool) -> None:
        cuts = self._cutter()
        with suppress(OSError):  # either side has gone
            while data := one.recv(1 << 18):
                other.sendall(data)
                if cuts(data):
                    if is_client:
                        self._end_while_it_sends(one, other)
                    break
        self._shut_down(one, other)

    def _end_while_it_sends(self, client: socket.socket, server: socket.socket) -> None:
        """End a connection, and take what the client sends meanwhile.

        A browser looks for a response when it has sent everything: it would wait forever once the
        buffers of both sockets are full.
        """
        self._shut_down(server)
        client.shutdown(socket.SHUT_WR)
        while client.recv(1 << 18):
            pass

    @staticmethod
    def _shut_down(*sockets: socket.socket) -> None:
        for each in sockets:
            with suppress(OSError):  # it is shut down already
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._shut_down(self._listener)
        self._threads[0].join()
        self._shut_down(*self._sockets)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()
