"""Run a row against a server over a real socket."""

import socket
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tests.conformance.checks import PROBE, Observed, find_errors, observe
from tests.conformance.reader import Reader, Silent
from tests.conformance.table import NoStrongTag, Outcome, Row, TagOf, fill_tags, get


class Address(NamedTuple):
    host: str
    port: int


def tags_of(address: Address, timeout: float) -> TagOf:
    """Return a function that fetches entity tags from the server, each once. timeout: seconds."""

    @cache
    def tag_of(target: str, coding: str) -> str:
        with socket.create_connection(address, timeout) as sock:
            message = get(target, accept_encoding=coding, connection="close")
            sock.sendall(message.data)
            response = Reader(_source(sock)).read_response("GET")
        etag = response.get("etag") if response else None
        if not etag or etag.startswith("W/"):
            raise NoStrongTag(f"the entity tag of {target} is {etag}")
        return etag

    return tag_of


def ask(row: Row, outcome: Outcome, address: Address, timeout: float, tag_of: TagOf) -> list[str]:
    """Run a row; return a description of each error in the server's responses."""
    try:
        return find_errors(outcome, run_row(row, outcome, address, timeout, tag_of), tag_of)
    except NoStrongTag as error:
        return [str(error)]


def run_row(
    row: Row, outcome: Outcome, address: Address, timeout: float, tag_of: TagOf
) -> Observed:
    """Send the requests of a row and read the responses. timeout: seconds without a byte."""
    data = fill_tags(row.data, tag_of)
    with socket.create_connection(address, timeout) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in _single_bytes(data) if row.byte_by_byte else [data]:
            _send(sock, part)
        if row.half_closes:
            sock.shutdown(socket.SHUT_WR)
        continued: list[int] = []

        def on_continue() -> None:
            continued.append(100)
            _send(sock, row.continue_body)

        def probe() -> None:
            # Without 100 (Continue), the client sends the body anyway (RFC 9110 10.1.1).
            _send(sock, PROBE if continued else row.continue_body + PROBE)

        methods = [message.method for message in row.messages][: len(outcome.responses)]
        is_last = row.half_closes or row.awaits_timeout
        return observe(Reader(_source(sock)), methods, None if is_last else probe, on_continue)


def _single_bytes(data: bytes) -> list[bytes]:
    return [data[start : start + 1] for start in range(len(data))]


def _send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server has closed its side; its responses can still be read
    except TimeoutError:
        raise Silent from None


def _source(sock: socket.socket) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return sock.recv(65_536)
        except ConnectionResetError:
            return b""
        except TimeoutError:
            raise Silent from None

    return read
