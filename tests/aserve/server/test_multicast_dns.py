"""Whether something answers for a name, asked of answering machines that a test makes."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aserve.server.multicast_dns import is_announced

OWN = ("127.0.0.1", "192.0.2.7")
MESSAGE = struct.Struct("!HHHHHH")
WAITED = 60.0  # seconds, where an answer comes at once


@contextmanager
def answering(
    answer: Callable[[bytes], list[bytes]],
) -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """Answer queries; yield the address that is asked, and the queries."""
    queries: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def run() -> None:
            query, client = sock.recvfrom(9_000)
            queries.append(query)
            for one in answer(query):
                sock.sendto(one, client)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield sock.getsockname(), queries
        thread.join(WAITED)


def response(
    query: bytes, flags: int = 0x8400, answers: int = 1, number: int | None = None
) -> bytes:
    asked = MESSAGE.unpack_from(query)[0] if number is None else number
    return MESSAGE.pack(asked, flags, 0, answers, 0, 0) + b"the records"


def test_a_name_that_is_answered_for() -> None:
    with answering(lambda query: [response(query)]) as (address, queries):
        assert is_announced("box.local", OWN, address, WAITED)
    (query,) = queries
    assert MESSAGE.unpack_from(query)[1:] == (0, 1, 0, 0, 0)
    # RFC 1035 section 4.1.2: a name as labels with their lengths, type A, class IN.
    assert query[MESSAGE.size :] == b"\x03box\x05local\x00\x00\x01\x00\x01"


def test_other_answers_are_passed_over() -> None:
    def answer(query: bytes) -> list[bytes]:
        asked = MESSAGE.unpack_from(query)[0]
        others = [
            b"",
            b"short",
            response(query, number=asked ^ 1),
            response(query, flags=0x0000),  # a query
            response(query, flags=0x8403),  # there is no such name
            response(query, answers=0),
        ]
        return [*others, response(query)]

    with answering(answer) as (address, _):
        assert is_announced("box.local", OWN, address, WAITED)


def test_an_answer_of_another_machine_is_none() -> None:
    """It has this machine's name: who opens the URL would reach that one."""
    with answering(lambda query: [response(query)]) as (address, _):
        assert not is_announced("box.local", ("127.0.0.2",), address, 0.05)


def test_a_name_that_nobody_answers_for() -> None:
    with answering(lambda _query: []) as (address, _):
        assert not is_announced("box.local", OWN, address, 0.05)


def test_without_a_network_there_is_no_name() -> None:
    assert not is_announced("box.local", ("198.51.100.1",), timeout=0.05)  # of no interface
