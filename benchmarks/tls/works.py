"""The works that measure TLS: aserve with a certificate, beside others with the same one."""

from benchmarks.kinds import Anew, Timed
from benchmarks.loads import Ask
from benchmarks.tls.measure import BURST, IDLE, measure_burst, measure_idle
from benchmarks.work import Work

_PEER = "nginx tls"
_PEERS = (_PEER, "nginx tls sendfile", "nginx ktls", "h2o tls", "caddy tls")
EVERYBODY = ("aserve tls", *_PEERS)


def _kept(connections: int, target: str = "/1k.txt") -> Timed:
    return Timed(Ask(connections, target, scheme="https"))


ROWS = (
    Work("tls-1k", "TLS: 1 KB, 64 connections", _kept(64), EVERYBODY, peer=_PEER),
    Work("tls-100k", "TLS: 100 KB, 64 connections", _kept(64, "/100k.bin"), EVERYBODY, peer=_PEER),
    Work(
        "tls-100m",
        "TLS: 100 MB, 4 connections",
        _kept(4, "/100m.bin"),
        EVERYBODY,
        peer=_PEER,
        note="Responses are counted by their bytes.",
    ),
    Work(
        "tls-closing",
        "TLS: 1 KB, a connection with a full handshake for each request",
        Timed(Ask(64, closing=True, scheme="https"), tool="ab"),
        EVERYBODY,
        peer=_PEER,
        note="Loaded by ab without -k, whose percentiles are whole milliseconds. It takes more of "
        "its core than a server does, so rates say little.",
    ),
    Work(
        "tls-resumed",
        "TLS: 1 KB, a connection that resumes a session for each request",
        Timed(Ask(1, closing=True, scheme="https"), tool="resume"),
        EVERYBODY,
        peer=_PEER,
        note="One connection after the other, each with the session of the one before. A load with "
        "a single full handshake beyond the first one does not count.",
    ),
    Work(
        "tls-new",
        "TLS: 1 KB, full handshakes one after the other",
        Timed(Ask(1, closing=True, scheme="https"), tool="connect"),
        EVERYBODY,
        peer=_PEER,
        note="The same client, which resumes nothing.",
    ),
    Work(
        "tls-burst",
        f"TLS: a small file when {BURST} handshakes begin at once",
        Anew(measure_burst),
        EVERYBODY,
        peer=_PEER,
        note="A client on an open connection asks for 1 KB again and again while others, which "
        "have sent the first bytes of their handshakes all at once, wait for an answer: the "
        "longest of its times, and the usual one without them. Medians of some bursts.",
    ),
    Work(
        "tls-idle",
        f"TLS: {IDLE:,} idle connections",
        Anew(measure_idle),
        EVERYBODY,
        peer=_PEER,
        note="Resident memory per connection that has had 1 KB, and when it has had 100 KB as "
        "well.",
    ),
)
