"""How much a peer may ask for. Every limit has a safe default and one answer when it is passed."""

import sys
from dataclasses import dataclass, field, fields
from typing import Any

UNLIMITED = sys.maxsize
"""What a limit that is switched off is compared with."""


class LimitError(ValueError):
    """A limit that cannot be: which one, and what it may be."""


def _optional(default: int) -> Any:
    """Return a limit that 0 and UNLIMITED switch off."""
    return field(default=default, metadata={"is_optional": True})


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients may send and hold, in octets, and how long it may take, in seconds.

    0 switches a limit off, as UNLIMITED does, where it can be: what is kept in memory always has
    one, and so has the time for which a connection lingers. Raises LimitError for others.
    """

    max_request_line: int = 8_192
    """Longer: 414. RFC 9112 section 3 asks for at least 8,000."""
    max_header_size: int = 32_768
    """A longer header section: 431. So much for chunk extensions and trailers, too."""
    max_headers: int = 100
    """More field lines: 431."""
    max_body: int = _optional(1_048_576)
    """More content than this: 413. Nothing stores it yet; it is read so that it is no request."""
    header_timeout: int = _optional(15)
    """For a head to arrive, from its first octet: 408."""
    keepalive_timeout: int = _optional(60)
    """For a connection to stay without a request."""
    transfer_timeout: int = _optional(60)
    """How long the octets of content, or of a reply, may flow slower than least_rate.

    Whoever reads with a pager or pauses a film reads nothing at all for a while.
    """
    min_rate: int = _optional(256)
    """Octets in a second: 408 for content that arrives slower, the end for a reply read slower."""
    lingering_timeout: int = 5
    """For a connection to stay half open, so that its last response is not lost."""
    tunnel_timeout: int = _optional(120)
    """For a tunnel to stay without an octet either way."""
    max_connections: int = _optional(UNLIMITED)
    """More at once: 503. What the process may open bounds them in any case."""
    max_connections_per_ip: int | None = _optional(None)  # type: ignore[arg-type]
    """More at once from one address: 503. None: three quarters of all, so that no one client can
    lock out the others."""
    backlog: int = 4_096
    """Connections that may wait to be accepted. With 100, opening 10,000 took 22 s and more."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not one.metadata:
                _require(1 <= value < UNLIMITED, one.name, "at least 1, and cannot be unlimited")
            elif value is not None:
                _require(value >= 0, one.name, "at least 0, which stands for unlimited")
                object.__setattr__(self, one.name, value or UNLIMITED)
        if self.min_rate == UNLIMITED:  # of what is a least, none at all
            object.__setattr__(self, "min_rate", 0)


def _require(holds: bool, name: str, what: str) -> None:
    if not holds:
        raise LimitError(f"{name} must be {what}")
