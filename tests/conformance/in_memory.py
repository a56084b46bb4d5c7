"""aserve without sockets: the handlers alone, and a connection of bytes in and bytes out."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import MappingProxyType

from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date
from aserve.http.messages import BodyPart, Request, Response
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.response_framing import frame_response
from aserve.http1.states import State
from aserve.policies.site import Site
from aserve.server.site_factory import build_site
from tests.conformance.checks import PROBE, find_errors, find_response_errors, observe
from tests.conformance.reader import Reader, Silent
from tests.conformance.reader import Response as WireResponse
from tests.conformance.table import NOW, TUNNEL, Row, fill_tags

_DATE = format_date(NOW)
_CLOSED_STATES = {State.LINGERING, State.CLOSED}
_CONNECTION_HEADERS = {"date", "server", "connection", "version"}
"""What the handlers leave to the connection."""


class InMemorySite:
    """The site of the table, asked without sockets."""

    def __init__(self, root: Path) -> None:
        mounts = Mounts()
        self._default = build_site(Settings(root), mounts)
        self._all_methods = build_site(
            Settings(root, allow_trace=True, allow_connect=(TUNNEL,)), mounts
        )
        self.tag_of = cache(self._tag_of)

    def _tag_of(self, target: str, coding: str) -> str:
        headers = {"host": "test", "accept-encoding": coding}
        request = Request("GET", target, headers=headers)
        response = self._default.handle(request, RequestContext(NOW))
        return dict(response.headers)["ETag"]

    def fill(self, data: bytes) -> bytes:
        return fill_tags(data, self.tag_of)

    def site_for(self, row: Row) -> Site:
        return self._all_methods if row.all_methods else self._default

    def ask_handlers(self, row: Row) -> list[str]:
        """Ask a row that is pure; return a description of each error."""
        assert row.messages[0].pure
        method, target, minor, headers = row.messages[0].pure
        filled = {
            name: self.fill(value.encode("latin-1")).decode("latin-1")
            for name, value in headers.items()
        }
        text = row.data.decode("latin-1")
        request = Request(method, target, minor, MappingProxyType(filled), head=text)
        made = self.site_for(row).handle(request, RequestContext(NOW))
        response = _as_sent(frame_response(request, made)[0])
        (expected,) = row.aserve.responses
        return find_response_errors(expected, response, self.tag_of, ignored=_CONNECTION_HEADERS)

    def ask_connection(self, row: Row) -> list[str]:
        """Ask a row that needs no clock; return a description of each error."""
        connection = InMemoryConnection(self.site_for(row))
        connection.send(self.fill(row.data))
        if row.half_closes:
            connection.send_eof()
        methods = [message.method for message in row.messages][: len(row.aserve.responses)]
        probe = None if row.half_closes else lambda: connection.send(PROBE)
        observed = observe(
            Reader(connection.source), methods, probe, lambda: connection.send(row.continue_body)
        )
        return find_errors(row.aserve, observed, self.tag_of)

    def exchange(self, row: Row, reads: Iterable[bytes]) -> bytes:
        """Return the output when a row's bytes arrive in these reads, and whether it closed."""
        connection = InMemoryConnection(self.site_for(row))
        for data in reads:
            connection.send(data)
        if row.half_closes:
            connection.send_eof()
        return connection.read() + (b"closed" if connection.is_closed else b"")


class InMemoryConnection:
    """A connection to a site, without I/O."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._connection = H1Connection(Limits())
        self._out: list[bytes] = []

    @property
    def is_closed(self) -> bool:
        return self._connection.state in _CLOSED_STATES

    def send(self, data: bytes) -> None:
        self._connection.receive(data)
        self._answer()

    def send_eof(self) -> None:
        self._connection.receive_eof()
        self._answer()

    def read(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out

    def source(self) -> bytes:
        """Return the output, as the source of a Reader."""
        data = self.read()
        if not data and not self.is_closed:
            raise Silent
        return data

    def _answer(self) -> None:
        while (request := self._connection.next_request()) or self._connection.is_paused:
            if not request:  # paused: it reads only so much in one turn
                continue
            response = self._site.handle(request, RequestContext(NOW))
            self._out += map(_read, self._connection.start_response(response, _DATE))
            self._connection.response_sent()


def _read(part: BodyPart) -> bytes:
    return part if isinstance(part, bytes) else part.source.read(part.start, part.stop)


def _as_sent(response: Response) -> WireResponse:
    length = () if response.length is None else (("content-length", str(response.length)),)
    headers = tuple((name.lower(), value) for name, value in response.headers)
    return WireResponse(
        "HTTP/1.1", response.status, headers + length, b"".join(map(_read, response.body))
    )
