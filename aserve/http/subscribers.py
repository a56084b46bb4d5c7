"""Who counts as one client where clients share something: connections, or room in a queue."""

import socket


def subscriber_of(client: str) -> str | bytes:
    """Return what an address is counted by: for IPv6 its /64, since a subscriber has all of it.

    RFC 6177 section 2 has the sizes of networks that are given to a site.
    """
    if ":" not in client or "." in client:  # IPv4, also as a dual-stack socket reports it
        return client
    try:
        return socket.inet_pton(socket.AF_INET6, client.partition("%")[0])[:8]
    except OSError:
        return client
