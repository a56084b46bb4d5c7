"""Limits on what a client may use. Each has a safe default and one response when exceeded."""

import sys
from dataclasses import dataclass, field, fields
from typing import Any

from aserve.arguments import checks_names, wrong_types

UNLIMITED = sys.maxsize
"""The value of a limit that is switched off."""


class LimitError(ValueError):
    """An invalid limit. The message says which one, and which values are allowed."""


def _optional(default: int) -> Any:
    """Return a field for a limit that 0 and UNLIMITED switch off."""
    return field(default=default, metadata={"is_optional": True})


@checks_names("limit")
@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what clients may send and hold. Sizes are in bytes, times in seconds.

    0 and UNLIMITED switch a limit off. Some cannot be switched off: those on what is held in
    memory, and the time that a connection lingers. Raises LimitError for an invalid value, and
    TypeError for a name that is no limit.
    """

    max_request_line: int = 8_192
    """A longer request line: 414. RFC 9112 section 3 recommends at least 8,000."""
    max_header_size: int = 32_768
    """A larger head: 431. The same limit applies to chunk extensions and trailers."""
    max_headers: int = 100
    """More header lines: 431."""
    max_body: int = _optional(1_048_576)
    """A larger request body that no handler takes: 413. It is read to find the next request."""
    max_response_memory: int = 134_217_728
    """For folder pages and other bodies of more than 64 KiB that are made in memory, together in
    each process, until their clients have read them; equal ones count once. More: 503."""
    header_timeout: int = _optional(15)
    """For a head to arrive, counted from its first byte: 408. For a PROXY header, counted from the
    connection."""
    keepalive_timeout: int = _optional(60)
    """For a connection to stay open without a request."""
    transfer_timeout: int = _optional(60)
    """How long a request body or a response may be transferred more slowly than min_rate.

    A client that pages through a file or pauses a film reads nothing at all for a while.
    """
    min_rate: int = _optional(256)
    """Bytes per second: 408 for a slower request body, close for a response read more slowly."""
    lingering_timeout: int = 5
    """For a connection to stay half-open, so that its last response is not lost."""
    tunnel_timeout: int = _optional(120)
    """For a tunnel to stay open without a byte in either direction."""
    max_connections: int = _optional(UNLIMITED)
    """More at once: 503. The process's limit of open files always applies as well."""
    max_connections_per_ip: int | None = _optional(None)  # type: ignore[arg-type]
    """More at once from one IP address, for IPv6 from one /64, all of which a subscriber has: 503.
    None: three quarters of all connections, so that no one client can lock out the others."""
    backlog: int = 4_096
    """Connections that may wait to be accepted. With 100, opening 10,000 took at least 22 s."""

    def __post_init__(self) -> None:
        for name, reason in wrong_types(self):
            raise LimitError(f"{name} {reason}")
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not limit.metadata:
                _require(1 <= value < UNLIMITED, limit.name, "at least 1, and cannot be unlimited")
            elif value is not None:
                _require(value >= 0, limit.name, "at least 0, which means unlimited")
                object.__setattr__(self, limit.name, value or UNLIMITED)
        if self.min_rate == UNLIMITED:  # a minimum that is switched off is 0
            object.__setattr__(self, "min_rate", 0)


def _require(is_valid: bool, name: str, allowed: str) -> None:
    if not is_valid:
        raise LimitError(f"{name} must be {allowed}")
