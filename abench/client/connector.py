"""How a connection to the server is opened: by transports of our own, plain or with TLS."""

import asyncio
import socket
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any, NamedTuple, Protocol

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


def probe(plan: Plan) -> Reached:
    """Connect to the server once; return the address that accepted.

    Raises OSError when none accepts.
    """
    if plan.route.unix is not None:
        _connect_once(plan, socket.AF_UNIX, _path(plan.route.unix))
        return Reached(plan.route.unix, None)
    host, port = plan.route.endpoint(plan.target)
    began_us = _clock() // 1000
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    lookup_us = None if _is_address(host) else _clock() // 1000 - began_us
    for family, _, _, _, sockaddr in found:
        try:
            _connect_once(plan, family, sockaddr)
        except OSError as error:
            failure = error
        else:
            address = socket.getnameinfo(sockaddr, socket.NI_NUMERICHOST)[0]
            return Reached(address, lookup_us)
    raise failure


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
            host, port = plan.route.endpoint(plan.target)
            found = socket.getaddrinfo(plan.address or host, port, type=socket.SOCK_STREAM)
            self._family, self._address = found[0][0], found[0][4]
        self._poller = SocketPoller(asyncio.get_running_loop())
        self._transport_class = (
            partial(TlsTransport, settings=TlsSettings.of(plan))
            if plan.target.tls
            else SocketTransport
        )

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
