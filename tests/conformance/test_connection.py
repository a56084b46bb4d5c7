"""Level two: octets in, octets out, without I/O. How the octets are cut must not matter."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aserve.filesystem.directory import Directory
from aserve.handlers.methods import enabled_methods
from aserve.handlers.static_site import StaticSite
from aserve.http.dates import format_date
from aserve.http.messages import Request
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.states import State
from tests.conformance.instant import NOW
from tests.conformance.judge import PROBE, faults, listen
from tests.conformance.pending import CUTS
from tests.conformance.reader import Reader, Silent
from tests.conformance.rows import PARTS
from tests.conformance.table import TUNNEL, Row, TagOf, fill

DATE = format_date(NOW)
_EDGE, _STEP = 2_048, 4_093
_OVER = {State.LINGERING, State.CLOSED}


def concerns(row: Row) -> bool:
    return not row.waits  # there is no clock here


class Wire:
    """A connection to a site, with nothing between."""

    def __init__(self, site: StaticSite, limits: Limits | None = None) -> None:
        self._site = site
        self._exchange = H1Connection(limits or Limits())
        self._out: list[bytes] = []

    @property
    def over(self) -> bool:
        return self._exchange.state in _OVER

    def send(self, octets: bytes) -> None:
        self._exchange.receive(octets)
        self._answer()

    def send_end(self) -> None:
        self._exchange.receive_eof()
        self._answer()

    def take(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out

    def source(self) -> bytes:
        """Be the source of a Reader."""
        octets = self.take()
        if not octets and not self.over:
            raise Silent
        return octets

    def _answer(self) -> None:
        while (request := self._exchange.next_request()) or self._exchange.is_paused:
            if not request:  # it has read as much as it does in one turn
                continue
            response = self._site.handle(request, NOW)
            for piece in self._exchange.start_response(response, DATE):
                self._out.append(
                    piece
                    if isinstance(piece, bytes)
                    else piece.source.read(piece.start, piece.stop)
                )
            self._exchange.response_sent()


Sites = Mapping[bool, StaticSite]
"""A site as it is by itself, and one with everything switched on."""


@pytest.fixture(scope="module")
def sites(root: Path) -> Sites:
    methods = enabled_methods(traces=True, tunnels=[TUNNEL])
    return {False: StaticSite(Directory(root)), True: StaticSite(Directory(root), methods)}


@pytest.fixture(scope="module")
def tag_of(sites: Sites) -> TagOf:
    @cache
    def one(target: str, coding: str) -> str:
        fields = {"host": "test", "accept-encoding": coding}
        return dict(sites[False].handle(Request("GET", target, headers=fields), NOW).headers)[
            "ETag"
        ]

    return one


def test_row(row: Row, sites: Sites, tag_of: TagOf) -> None:
    wire = Wire(sites[row.switched])
    wire.send(fill(row.octets, tag_of))
    if row.ended:
        wire.send_end()
    methods = [message.method for message in row.messages][: len(row.ours.replies)]
    probe = None if row.ended else lambda: wire.send(PROBE)
    happened = listen(Reader(wire.source), methods, probe, lambda: wire.send(row.held))
    assert faults(row.ours, happened, tag_of) == []


def transcript(row: Row, sites: Sites, pieces: Iterable[bytes]) -> bytes:
    """Return what comes back when a row's octets arrive in these pieces."""
    wire = Wire(sites[row.switched])
    for piece in pieces:
        wire.send(piece)
    if row.ended:
        wire.send_end()
    return wire.take() + (b"over" if wire.over else b"")


def test_octet_by_octet(row: Row, sites: Sites, tag_of: TagOf) -> None:
    octets = fill(row.octets, tag_of)
    assert transcript(row, sites, _small_pieces(octets)) == transcript(row, sites, [octets])


def _small_pieces(octets: bytes) -> Iterator[bytes]:
    """Cut off single octets; what is long is long in its middle, where pieces may be larger."""
    start = 0
    while start < len(octets):
        in_middle = _EDGE <= start < len(octets) - _EDGE - _STEP
        stop = start + (_STEP if in_middle else 1)
        yield octets[start:stop]
        start = stop


@pytest.mark.parametrize("part", PARTS)
@settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_cut_anywhere(part: str, sites: Sites, tag_of: TagOf, data: st.DataObject) -> None:
    rows = [row for row in PARTS[part] if concerns(row) and row.name not in CUTS]
    row = data.write_svg(st.sampled_from(rows))
    octets = fill(row.octets, tag_of)
    cuts = data.write_svg(st.lists(st.integers(0, len(octets)), max_size=6))
    pieces = [octets[start:stop] for start, stop in pairwise([0, *sorted(cuts), len(octets)])]
    assert transcript(row, sites, pieces) == transcript(row, sites, [octets])
