"""Ask a row of a server over a real socket."""

import socket
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tests.conformance.judge import PROBE, Happened, faults, listen
from tests.conformance.reader import Reader, Silent
from tests.conformance.table import NoStrongTag, Outcome, Row, TagOf, fill, get


class Address(NamedTuple):
    host: str
    port: int


def tags_of(address: Address, patience: float) -> TagOf:
    """Return what asks the server for its entity tags, once for each."""

    @cache
    def tag_of(target: str, coding: str) -> str:
        with socket.create_connection(address, patience) as sock:
            message = get(target, accept_encoding=coding, connection="close")
            sock.sendall(message.octets)
            found = Reader(_source(sock)).read_reply("GET")
        etag = found.get("etag") if found else None
        if not etag or etag.startswith("W/"):
            raise NoStrongTag(f"the entity tag of {target} is {etag}")
        return etag

    return tag_of


def ask(row: Row, outcome: Outcome, address: Address, patience: float, tag_of: TagOf) -> list[str]:
    """Return what is wrong with the server's part of a row's conversation."""
    try:
        return faults(outcome, converse(row, outcome, address, patience, tag_of), tag_of)
    except NoStrongTag as error:
        return [str(error)]


def converse(
    row: Row, outcome: Outcome, address: Address, patience: float, tag_of: TagOf
) -> Happened:
    """Send what the row says and read what comes. patience: seconds without an octet."""
    octets = fill(row.octets, tag_of)
    with socket.create_connection(address, patience) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in _pieces(octets) if row.slowly else [octets]:
            _send(sock, piece)
        if row.ended:
            sock.shutdown(socket.SHUT_WR)
        invited: list[int] = []

        def on_continue() -> None:
            invited.append(100)
            _send(sock, row.held)

        def probe() -> None:
            # Content that was announced and not invited comes all the same (RFC 9110 10.1.1).
            _send(sock, PROBE if invited else row.held + PROBE)

        methods = [message.method for message in row.messages][: len(outcome.replies)]
        silent = row.ended or row.waits
        return listen(Reader(_source(sock)), methods, None if silent else probe, on_continue)


def _pieces(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


def _send(sock: socket.socket, octets: bytes) -> None:
    try:
        sock.sendall(octets)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server has heard enough; what it said is still to be read
    except TimeoutError:
        raise Silent from None


def _source(sock: socket.socket) -> Callable[[], bytes]:
    def more() -> bytes:
        try:
            return sock.recv(65_536)
        except ConnectionResetError:
            return b""
        except TimeoutError:
            raise Silent from None

    return more
