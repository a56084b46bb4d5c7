"""Serve the files of the table with aserve, and ask rows of it over sockets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aserve
from aserve.http1.limits import Limits
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve import programs
from tests.conformance.check_rows import Ask
from tests.conformance.client import Address, ask, tags_of
from tests.conformance.table import TUNNEL, Row

TIMEOUT = 10.0
"""Seconds without a byte after which no response is expected. aserve never takes that long."""

SHORT_TIMEOUTS = Limits(keepalive_timeout=1, header_timeout=1, transfer_timeout=1)
"""For the rows that wait for a timeout of the server."""


def address_of(server: aserve.Server) -> Address:
    url = urlsplit(server.url)
    return Address(str(url.hostname), int(url.port or 0))


@contextmanager
def running(root: Path, **settings: Any) -> Iterator[Address]:
    """Run a server until the block ends, as a program if its model needs several processes."""
    if MODELS[settings.get("model", DEFAULT)].needs_processes:
        with _program(root, **settings) as address:
            yield address
        return
    with aserve.Server(root, **settings) as server:
        yield address_of(server)


# Without a grace period that could be over on a slow machine.
_PROGRAM = """
from functools import partial
from aserve.__main__ import main
from aserve.cli import serve

serve.Settings = partial(serve.Settings, grace=3600)
main()
"""


@contextmanager
def _program(root: Path, model: str, limits: Limits | None = None, **_: Any) -> Iterator[Address]:
    """Run the program, with two workers if they share a socket."""
    options = [
        f"--limit={field.name.replace('_', '-')}={value}"
        for field in fields(Limits)
        if limits and (value := getattr(limits, field.name)) != field.default
    ]
    if MODELS[model].shares_listeners:
        options += ["--workers=2"]
    process = programs.start_code(_PROGRAM, root, "--port=0", f"--model={model}", *options)
    try:
        banner = [process.stderr.readline() for _ in range(4)]
        yield Address("127.0.0.1", int(banner[1].rstrip("/\n").rpartition(":")[2]))
        process.terminate()
        process.communicate(60)
        assert process.returncode == 0
    finally:
        process.close()


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
