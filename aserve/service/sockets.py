"""Listening sockets: one for each worker, on one address."""

import errno
import socket

from aserve.settings import DEFAULT_PORT, Settings

_MOST_PORTS_TRIED = 100


class CannotListen(Exception):
    """The address cannot be had: the option that asked for it, and why not."""

    def __init__(self, option: str, why: str) -> None:
        super().__init__(why)
        self.option = option


def listen(settings: Settings) -> list[socket.socket]:
    """Return a listening socket for each worker, all on one address; raises CannotListen.

    Without a port in the settings it is 8000 or the next free one after it.
    """
    if settings.port is not None:
        return _listen_all(settings, settings.port)
    for port in range(DEFAULT_PORT, DEFAULT_PORT + _MOST_PORTS_TRIED):
        try:
            return _listen_all(settings, port)
        except CannotListen as error:
            if not _is_taken(error):
                raise
    last = DEFAULT_PORT + _MOST_PORTS_TRIED - 1
    raise CannotListen("port", f"no port from {DEFAULT_PORT} to {last} is free")


def url(listener: socket.socket) -> str:
    """Return the URL that opens the site on this machine."""
    host, port = listener.getsockname()[:2]
    return _url(_LOOPBACKS.get(host, host), port)


def lan_url(listener: socket.socket) -> str:
    """Return the URL that opens the site from the local network; "" where none does."""
    host, port = listener.getsockname()[:2]
    if host not in _LOOPBACKS:
        return "" if host.startswith("127.") or host == "::1" else _url(host, port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing: it only asks for the route, and with it
            # for our own address on it. 192.0.2.1 is documentation's (RFC 5737).
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return _url(probe.getsockname()[0], port)


_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a wildcard includes


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _listen_all(settings: Settings, port: int) -> list[socket.socket]:
    """Open one socket for each worker, so that the kernel spreads connections without a herd.

    The first one is opened alone: SO_REUSEPORT would let two servers share a port unawares.
    """
    first = _listen(settings, port, shared=False)
    if settings.workers == 1:
        return [first]
    port = first.getsockname()[1]
    first.close()
    return [_listen(settings, port, shared=True) for _ in range(settings.workers)]


def _listen(settings: Settings, port: int, *, shared: bool) -> socket.socket:
    host = settings.host
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CannotListen("host", f"{host!r} has no address: {error.strerror}") from error
    except UnicodeError as error:
        raise CannotListen("host", f"{host!r} is no name of a host") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(settings.limits.backlog)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> CannotListen:
    if error.errno == errno.EADDRINUSE:
        return CannotListen("port", f"{port} is taken on {host}")
    if error.errno == errno.EACCES:
        why = "only root, or a program with CAP_NET_BIND_SERVICE, may have this port"
        return CannotListen("port", f"{port}: {why}; one above 1023 is free for all")
    if error.errno == errno.EINVAL and ":" in host and "%" not in host:
        why = f"a link-local address needs its interface, as in {host}%eth0"
        return CannotListen("host", f"cannot listen on {host}: {why}")
    option = "host" if error.errno == errno.EADDRNOTAVAIL else "port"
    return CannotListen(option, f"cannot listen on {host}, port {port}: {error.strerror}")


def _is_taken(error: CannotListen) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
