"""The fixture aserve_server of pytest, which finds it once aserve is installed.

Each call serves a directory, in a thread, until the end of the test::

    def test_the_home_page(aserve_server):
        server = aserve_server("site/")
        assert urlopen(server.url).status == 200

The server is imported by the first call: other tests do not wait for it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Unpack

import pytest

import aserve

if TYPE_CHECKING:
    from aserve.config.root import RootArgument
    from aserve.config.server_settings import ServerSettings
    from aserve.server.embedded import Server


class ServerFactory:
    """Starts servers, and stops them all at the end of a test."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._logs: list[tuple[Server, list[str]]] = []

    def __call__(
        self,
        root: "RootArgument",
        *,
        port: int | None = 0,
        access_log: Callable[[str], object] | None = None,
        **settings: "Unpack[ServerSettings]",
    ) -> "Server":
        """Serve a directory; return the server, which runs already.

        The arguments are those of aserve.Server, but grace is 0: at the end of a test no client
        waits for a response any more. Raises what aserve.Server raises.
        """
        settings.setdefault("grace", 0)
        lines: list[str] = []

        def log(line: str) -> None:
            lines.append(line)
            if access_log:
                access_log(line)

        server = self._stack.enter_context(
            aserve.Server(root, port=port, access_log=log, **settings)
        )
        self._logs.append((server, lines))
        return server

    def stop(self) -> None:
        """Stop all servers, the last one first."""
        self._stack.close()

    def report(self) -> str:
        """Return what each server was asked for: its address and its access log."""
        return "\n".join(
            "\n".join([f"{server.url} served {server.served}", *lines])
            for server, lines in self._logs
        )


@pytest.fixture
def aserve_server(request: pytest.FixtureRequest) -> Iterator[ServerFactory]:
    """Return a function that serves a directory until the end of the test: see ServerFactory.

    Its arguments are those of aserve.Server. If the test fails, its report shows the access log.
    """
    factory = ServerFactory()
    try:
        yield factory
    finally:
        factory.stop()
        # Only now is the log complete. pytest shows the sections of a teardown if the test failed.
        if report := factory.report():
            request.node.add_report_section("teardown", "aserve", report)
