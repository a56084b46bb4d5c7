"""The works that measure aserve on several event loops and versions of Python."""

from benchmarks.kinds import Timed
from benchmarks.loads import Ask
from benchmarks.servers import LOOPS, VERSIONS
from benchmarks.work import Work

_SERVERS = (*LOOPS, *VERSIONS)
_PEER = "on uvloop"

ROWS = (
    Work("loop-1k-64", "1 KB, 64 connections", Timed(Ask(64)), _SERVERS, peer=_PEER),
    Work("loop-1k-1", "1 KB, 1 connection", Timed(Ask(1)), _SERVERS, peer=_PEER),
    Work(
        "loop-100k",
        "100 KB, 16 connections",
        Timed(Ask(16, "/100k.bin")),
        _SERVERS,
        peer=_PEER,
    ),
    Work(
        "loop-closing",
        "1 KB, a connection for each request",
        Timed(Ask(64, closing=True), tool="ab"),
        _SERVERS,
        peer=_PEER,
        note="Loaded by ab without -k, whose percentiles are whole milliseconds.",
    ),
)
