"""Level two: bytes in, bytes out, without I/O. How the bytes are split must not matter."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aserve.filesystem.directory import Directory
from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date
from aserve.http.messages import Request
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.policies.site import Site
from tests.conformance.instant import NOW
from tests.conformance.judge import PROBE, find_errors, observe
from tests.conformance.pending import SPLIT_DEPENDENT
from tests.conformance.reader import Reader, Silent
from tests.conformance.rows import PARTS
from tests.conformance.table import TUNNEL, Row, TagOf, fill_tags

DATE = format_date(NOW)
_EDGE_SIZE, _STEP = 2_048, 4_093
_CLOSED_STATES = {State.LINGERING, State.CLOSED}


def applies_to(row: Row) -> bool:
    return not row.waits  # there is no clock here


class InMemoryConnection:
    """A connection to a site, without I/O."""

    def __init__(self, site: Site, limits: Limits | None = None) -> None:
        self._site = site
        self._connection = H1Connection(limits or Limits())
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
            for part in self._connection.start_response(response, DATE):
                self._out.append(
                    part if isinstance(part, bytes) else part.source.read(part.start, part.stop)
                )
            self._connection.response_sent()


Sites = Mapping[bool, Site]
"""A site with the default methods (False), and one with all of them enabled (True)."""


@pytest.fixture(scope="module")
def sites(root: Path) -> Sites:
    files = Directory(root)
    enabled = Site.of_files(files, allow_trace=True, allow_connect=[TUNNEL])
    return {False: Site.of_files(files), True: enabled}


@pytest.fixture(scope="module")
def tag_of(sites: Sites) -> TagOf:
    @cache
    def lookup(target: str, coding: str) -> str:
        headers = {"host": "test", "accept-encoding": coding}
        response = sites[False].handle(Request("GET", target, headers=headers), RequestContext(NOW))
        return dict(response.headers)["ETag"]

    return lookup


def test_row(row: Row, sites: Sites, tag_of: TagOf) -> None:
    connection = InMemoryConnection(sites[row.switched])
    connection.send(fill_tags(row.data, tag_of))
    if row.half_closes:
        connection.send_eof()
    methods = [message.method for message in row.messages][: len(row.ours.responses)]
    probe = None if row.half_closes else lambda: connection.send(PROBE)
    observed = observe(
        Reader(connection.source), methods, probe, lambda: connection.send(row.continue_body)
    )
    assert find_errors(row.ours, observed, tag_of) == []


def run_exchange(row: Row, sites: Sites, reads: Iterable[bytes]) -> bytes:
    """Return the output when a row's bytes arrive in these reads, and whether it closed."""
    connection = InMemoryConnection(sites[row.switched])
    for data in reads:
        connection.send(data)
    if row.half_closes:
        connection.send_eof()
    return connection.read() + (b"closed" if connection.is_closed else b"")


def test_byte_by_byte(row: Row, sites: Sites, tag_of: TagOf) -> None:
    data = fill_tags(row.data, tag_of)
    assert run_exchange(row, sites, _small_reads(data)) == run_exchange(row, sites, [data])


def _small_reads(data: bytes) -> Iterator[bytes]:
    """Yield single bytes, but larger reads in the middle of long data."""
    start = 0
    while start < len(data):
        in_middle = _EDGE_SIZE <= start < len(data) - _EDGE_SIZE - _STEP
        stop = start + (_STEP if in_middle else 1)
        yield data[start:stop]
        start = stop


@pytest.mark.parametrize("part", PARTS)
@settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_split_anywhere(part: str, sites: Sites, tag_of: TagOf, data: st.DataObject) -> None:
    rows = [row for row in PARTS[part] if applies_to(row) and row.name not in SPLIT_DEPENDENT]
    row = data.draw(st.sampled_from(rows))
    sent = fill_tags(row.data, tag_of)
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=6))
    reads = [sent[start:stop] for start, stop in pairwise([0, *sorted(cuts), len(sent)])]
    assert run_exchange(row, sites, reads) == run_exchange(row, sites, [sent])
