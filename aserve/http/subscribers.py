"""Who counts as one client where clients share something: connections, or room in a queue."""

import socket

NO_ADDRESS = "-"
"""The client of a Unix socket. It is no one client: each there may stand for many, as a
proxy does, so that no share of one client applies."""

_LOCAL = (0xFC, 0xFD, 0xFE)  # the first byte of fc00::/7 and fe80::/10 (RFC 4193, RFC 4291)


def subscriber_of(client: str) -> str | bytes:
    """Return what an address is counted by: for IPv6 its /64, since a subscriber has all of it.

    RFC 6177 section 2 has the sizes of networks that are given to a site. Local addresses, of which
    a whole office may share a /64, count one by one.
    """
    if ":" not in client or "." in client:  # IPv4, also as a dual-stack socket reports it
        return client
    try:
        address = socket.inet_pton(socket.AF_INET6, client.partition("%")[0])
    except OSError:
        return client
    return client if address[0] in _LOCAL else address[:8]
