"""Serve the files of the table with aserve, and ask rows of it over sockets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from aserve.http1.limits import Limits
from tests.aserve import programs
from tests.conformance.check_rows import Ask
from tests.conformance.client import Address, ask, tags_of
from tests.conformance.table import TUNNEL, Row

TIMEOUT = 10.0
"""Seconds without a byte after which no response is expected. aserve never takes that long."""

SHORT_TIMEOUTS = Limits(keepalive_timeout=1, header_timeout=1, transfer_timeout=1)
"""For the rows that wait for a timeout of the server."""

ONE_AT_A_TIME = frozenset({"iterative", "prefork"})
"""The models in which a process accepts a client when it has served the one before."""


class HasUrl(Protocol):
    """A server that runs."""

    @property
    def url(self) -> str:
        """Return the URL of its site."""


def address_of(server: HasUrl) -> Address:
    url = urlsplit(server.url)
    return Address(str(url.hostname), int(url.port or 0))


@contextmanager
def running(root: Path, **settings: Any) -> Iterator[Address]:
    """Run a server until the block ends, as a program if its model needs that."""
    with programs.serve(root, **settings) as server:
        yield address_of(server)


@contextmanager
def serving(root: Path, **settings: Any) -> Iterator[Ask]:
    """Yield a function that asks a row of a server, which runs until the block ends."""
    with running(root, **settings) as address:
        tag_of = tags_of(address, TIMEOUT)

        def ask_row(row: Row) -> list[str]:
            return ask(row, row.aserve, address, TIMEOUT, tag_of)

        yield ask_row


@contextmanager
def serving_all_rows(root: Path) -> Iterator[Ask]:
    """Yield a function that asks a row of the server with the settings that it needs."""
    with (
        serving(root) as ask_default,
        serving(root, allow_trace=True, allow_connect=(TUNNEL,)) as ask_all_methods,
        serving(root, limits=SHORT_TIMEOUTS) as ask_timeouts,
    ):

        def ask_row(row: Row) -> list[str]:
            return (
                ask_timeouts
                if row.awaits_timeout
                else ask_all_methods
                if row.all_methods
                else ask_default
            )(row)

        yield ask_row
