"""How much a peer may ask for. Every limit has a safe default and one answer when it is passed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients may send and hold, in octets, and how long it may take, in seconds.

    0 for connections stands for what the process's open files allow, 0 for connections_per_client
    for three quarters of that: no one client can lock out the others.
    """

    request_line: int = 8_192
    """Longer: 414. RFC 9112 section 3 asks for at least 8,000."""
    head: int = 32_768
    """A longer header section: 431. So much for chunk extensions and trailers, too."""
    fields: int = 100
    """More field lines: 431."""
    body: int = 1_048_576
    """More content than this: 413. Nothing stores it yet; it is read so that it is no request."""
    head_time: int = 15
    """For a head to arrive, from its first octet: 408."""
    idle_time: int = 60
    """For a connection to stay without a request."""
    stall_time: int = 20
    """How long the octets of content, or of a reply, may flow slower than least_rate."""
    least_rate: int = 256
    """Octets in a second: 408 for content that arrives slower, the end for a reply read slower."""
    linger_time: int = 5
    """For a connection to stay half open, so that its last response is not lost."""
    tunnel_time: int = 120
    """For a tunnel to stay without an octet either way."""
    connections: int = 0
    """More at once: 503."""
    connections_per_client: int = 0
    """More at once from one address: 503."""
    backlog: int = 4_096
    """Connections that may wait to be accepted. With 100, opening 10,000 took 22 s and more."""
