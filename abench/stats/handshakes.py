"""The TLS connections that were opened: how long that took, and what was agreed on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from abench.stats import counts
from abench.stats.counts import HISTOGRAM, SUM, Rule
from abench.stats.histogram import Histogram


@dataclass(frozen=True, slots=True, order=True)
class TlsSession:
    """What the first handshake agreed on; texts are empty if they are not known.

    `subject`, `issuer` and `expires_at` are of the server's certificate, which is only decoded if
    it was verified.
    """

    version: str = ""
    cipher: str = ""
    subject: str = ""
    issuer: str = ""
    expires_at: str = ""


NO_SESSION = TlsSession()
# Where servers differ, the greatest is shown: the same in any order of merging.
_SESSION = Rule(max, asdict, lambda plain: TlsSession(**plain))


@dataclass
class Handshakes:
    """The connections with TLS that were opened while requests were counted.

    `connect` is from opening a connection until TCP, or the proxy's tunnel, is open; `handshake`
    from then until TLS is. `request` is from sending a request to the end of its response, of
    successes with a connection of their own. `resumed` handshakes continued an earlier session.
    """

    connect: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    handshake: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    request: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    resumed: Annotated[int, SUM] = 0
    session: Annotated[TlsSession, _SESSION] = NO_SESSION

    def merge(self, other: "Handshakes") -> None:
        """Add another part of the same run."""
        counts.merge(self, other)

    def encode(self) -> dict[str, Any]:
        """Return JSON data."""
        return counts.encode(self)

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "Handshakes":
        """Decode the data of `encode`."""
        return counts.decode(cls, plain)


class HandshakeRecorder:
    """The handshakes of one process since they were last taken; times are in microseconds.

    `session` is that of the first one, for good: most connections are opened before the counting
    begins.
    """

    __slots__ = ("_connect", "_handshake", "_resumed", "request", "session")

    def __init__(self) -> None:
        self.request: list[int] = []
        self.session = NO_SESSION
        self._connect: list[int] = []
        self._handshake: list[int] = []
        self._resumed = 0

    def add(self, connect_us: int, handshake_us: int, *, resumed: bool) -> None:
        """Count a handshake that has succeeded."""
        self._connect.append(connect_us)
        self._handshake.append(handshake_us)
        self._resumed += resumed

    def take(self) -> Handshakes:
        """Return the counts since the last call, and reset them."""
        taken = Handshakes(
            connect=Histogram.of(self._connect),
            handshake=Histogram.of(self._handshake),
            request=Histogram.of(self.request),
            resumed=self._resumed,
            session=self.session,
        )
        for values in (self._connect, self._handshake, self.request):
            values.clear()  # in place: connections hold its `append`
        self._resumed = 0
        return taken
