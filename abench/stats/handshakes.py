"""The TLS handshakes of a run: what they agreed on, and how many resumed a session."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from abench.stats import counts
from abench.stats.counts import SUM, Rule


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
    """What the TLS handshakes agreed on that were made while requests were counted.

    `resumed` of them continued an earlier session. How long they took is one of the phases.
    """

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
    """The handshakes of one process since they were last taken.

    `session` is that of the first one, for good: most connections are opened before the counting
    begins.
    """

    __slots__ = ("resumed", "session")

    def __init__(self) -> None:
        self.session = NO_SESSION
        self.resumed = 0

    def take(self) -> Handshakes:
        """Return the counts since the last call, and reset them."""
        taken = Handshakes(self.resumed, self.session)
        self.resumed = 0
        return taken
