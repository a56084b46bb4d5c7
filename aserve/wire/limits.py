"""How much a peer may ask for. Every limit has a safe default and one answer when it is passed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one connection may send, in octets, and how long it may take, in seconds."""

    request_line: int = 8_192
    """Longer: 414. RFC 9112 section 3 asks for at least 8,000."""
    head: int = 32_768
    """A longer header section: 431."""
    fields: int = 100
    """More field lines: 431."""
    body: int = 1_048_576
    """More content than this: 413. Nothing stores it yet; it is read so that it is no request."""
    idle: int = 60
    """Seconds that a connection may stay without a request."""
    head_time: int = 15
    """Seconds for a head to arrive, from its first octet: 408."""
    body_time: int = 60
    """Seconds for content to arrive: 408."""
    linger: int = 5
    """Seconds that a connection stays half open, so that its last response is not lost."""
    backlog: int = 4_096
    """Connections that may wait to be accepted. With 100, opening 10,000 took 22 s and more."""
