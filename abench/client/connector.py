"""How a connection to the server is opened: by transports of our own, plain or with TLS."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from itertools import cycle
from typing import Any, NamedTuple, Protocol

from abench.client.paced_transport import PacedTlsTransport, PacedTransport
from abench.client.proxy_tunnel import BLANK_LINE, MAX_HEAD_SIZE, check_response
from abench.client.socket_transport import SocketPoller, SocketTransport, TransportClient
from abench.client.tls_transport import TlsSettings, TlsTransport
from abench.plan.plan import Plan

_clock = time.perf_counter_ns


class Connectable(TransportClient, Protocol):
    """A client that waits for a connection. `cancel_connect` cancels the attempt in progress."""

    cancel_connect: Callable[[], object] | None


class Reached(NamedTuple):
    """The address that accepted, or the socket's path, and how long its lookup took, if any."""

    address: str
    lookup_us: int | None


def probe(plan: Plan) -> Iterator[Reached]:
    """Connect once to each address of the server, and yield those that accept.

    Raises OSError when none accepts.
    """
    if plan.route.unix is not None:
        _connect_once(plan, socket.AF_UNIX, _path(plan.route.unix))
        yield Reached(plan.route.unix, None)
        return
    began_us = _clock() // 1000
    found = _addresses(plan)
    took_us = _clock() // 1000 - began_us
    lookup_us = None if _is_address(plan.route.endpoint(plan.target)[0]) else took_us
    failure: OSError | None = None
    has_accepted = False
    for family, sockaddr in found:
        try:
            _connect_once(plan, family, sockaddr)
        except OSError as error:
            failure = error
        else:
            has_accepted = True
            yield Reached(_shown(sockaddr), lookup_us)
    if failure and not has_accepted:
        raise failure


def _addresses(plan: Plan, host: str | None = None) -> dict[tuple[int, Any], None]:
    """Return family and address of each address of the server, or of the `host` in its place."""
    endpoint, port = plan.route.endpoint(plan.target)
    found = socket.getaddrinfo(
        host or endpoint, port, family=plan.route.address_family, type=socket.SOCK_STREAM
    )
    return {(family, sockaddr): None for family, _, _, _, sockaddr in found}


def _shown(sockaddr: Any) -> str:
    return socket.getnameinfo(sockaddr, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])  # the zone of an IPv6 address may be a name
    except ValueError:
        return False
    return True


def _connect_once(plan: Plan, family: int, address: Any) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(plan.timeout_s)
        sock.connect(address)
        if tunnel_request := plan.route.tunnel_request(plan.target):
            sock.sendall(tunnel_request)
            check_response(_read_head(sock))
        if plan.target.tls:
            name = plan.tls.name or plan.target.host
            plan.tls.context().wrap_socket(sock, server_hostname=name).close()


def _read_head(sock: socket.socket) -> bytes:
    """Read up to the end of a head, and not a byte more: what follows belongs to TLS."""
    head = b""
    while not head.endswith(BLANK_LINE) and len(head) < MAX_HEAD_SIZE:
        byte = sock.recv(1)
        if not byte:
            break
        head += byte
    return head


def _path(unix: str) -> str:
    return f"\0{unix[1:]}" if unix.startswith("@") else unix


class Connector:
    """Opens connections: each attempt ends in connection_made or in connect_failed."""

    def __init__(self, plan: Plan) -> None:
        self._family: int
        self._address: Any
        if plan.route.unix is not None:
            self._family, self._address = socket.AF_UNIX, _path(plan.route.unix)
        else:
            self._family, self._address = next(
                iter(_addresses(plan, plan.address or next(iter(plan.addresses), None)))
            )
        self._poller = SocketPoller(asyncio.get_running_loop())
        self._transport_class = _transport_class(plan)

    def connect(self, client: Connectable) -> None:
        """Start to connect, and set `cancel_connect`; it may be connected when this returns."""
        try:
            transport = self._transport_class(self._poller, client, self._family, self._address)
        except OSError as error:  # no file descriptor is left
            client.connect_failed(error.errno or 0)
            return
        client.cancel_connect = transport.cancel_connect
        transport.connect()

    def close(self) -> None:
        """Close every connection."""
        self._poller.close()

    def attempts(self) -> Counter[str]:
        """Return how many connections were begun to each address, if to several."""
        return Counter()


class SpreadingConnector(Connector):
    """Opens connections to all addresses of the server, in turns.

    The shares of a run begin at different ones. An attempt that fails is followed by one at the
    next address.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        found = [each for address in plan.addresses for each in _addresses(plan, address)]
        first = plan.part % len(found)
        self._attempts = dict.fromkeys(found, 0)
        self._turns = cycle(found[first:] + found[:first])

    def connect(self, client: Connectable) -> None:
        """Start to connect, and set `cancel_connect`; it may be connected when this returns."""
        self._family, self._address = turn = next(self._turns)
        self._attempts[turn] += 1
        super().connect(client)

    def attempts(self) -> Counter[str]:
        """Return how many connections were begun to each address."""
        return Counter({_shown(address): count for (_, address), count in self._attempts.items()})


def connector_for(plan: Plan) -> Connector:
    """Return the connector for the connections of a plan."""
    return SpreadingConnector(plan) if plan.addresses else Connector(plan)


def _transport_class(plan: Plan) -> Callable[..., SocketTransport]:
    bandwidth = plan.behavior.bandwidth
    if plan.target.tls:
        settings = TlsSettings.of(plan)
        if bandwidth:
            return partial(PacedTlsTransport, settings=settings, bandwidth=bandwidth)
        return partial(TlsTransport, settings=settings)
    return partial(PacedTransport, bandwidth=bandwidth) if bandwidth else SocketTransport
