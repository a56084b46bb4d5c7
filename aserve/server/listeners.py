"""Listening sockets: each worker has one for each address."""

import errno
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from aserve.config.names import NamedSettingError
from aserve.config.processes import ALL_ADDRESSES, DEFAULT_PORT
from aserve.config.settings import Settings
from aserve.config.values import is_unix
from aserve.linux.pacing import limit_bandwidth

if TYPE_CHECKING:
    from aserve.config.unix_address import UnixAddress

_MAX_PORTS_TRIED = 100

T = TypeVar("T")

Address = tuple[int, Any]
"""An address family, and an address in that family."""


class ListenError(NamedSettingError):
    """The server cannot listen on an address.

    `setting` is the setting at fault, host or port; `reason` says what is wrong with it.
    """


def listen(settings: Settings) -> list[list[socket.socket]]:
    """Return the listening sockets of each worker, one for each address; raises ListenError.

    Without a port in the settings, the port is 8000 or the next free one after it. A Unix socket is
    one for all workers.
    """
    if address := settings.unix_address:
        return [[_open_unix(address, settings.limits.backlog)]] * settings.workers
    groups = on_free_port(settings.port, partial(_listen_all, settings))
    limit_bandwidth((one for group in groups for one in group), settings.bandwidth)
    return groups


def on_free_port(port: int | None, listen_on: Callable[[int], T]) -> T:
    """Return what listen_on does with a port, for None with 8000 or the next free one after it."""
    if port is not None:
        return listen_on(port)
    for tried in range(DEFAULT_PORT, DEFAULT_PORT + _MAX_PORTS_TRIED):
        try:
            return listen_on(tried)
        except ListenError as error:
            if not _is_taken(error):
                raise
    last = DEFAULT_PORT + _MAX_PORTS_TRIED - 1
    raise ListenError("port", f"no port from {DEFAULT_PORT} to {last} is free")


def _open_unix(address: "UnixAddress", backlog: int) -> socket.socket:
    from aserve.server.unix_sockets import open_unix_socket

    try:
        return open_unix_socket(address, backlog)
    except OSError as error:
        raise ListenError("host", f"cannot listen on {address.name}: {error.strerror}") from error


def listen_beside(listeners: Iterable[socket.socket], backlog: int) -> list[socket.socket]:
    """Open further sockets on the addresses of others; raises ListenError."""
    bound = [(int(listener.family), listener.getsockname()) for listener in listeners]
    _share(listeners)
    return _open_bound(bound, backlog)


def listen_also(
    settings: Settings, port: int, former: Iterable[socket.socket]
) -> tuple[list[list[socket.socket]], list[socket.socket]]:
    """Return those of former sockets that each address of a host has, and new ones for the others.

    Raises ListenError.
    """
    backlog = settings.limits.backlog
    if unix := settings.unix_address:
        bound = [one for one in former if is_at(one, unix)]
        return ([bound], []) if bound else ([], [_open_unix(unix, backlog)])
    former = [one for one in former if one.family != socket.AF_UNIX]
    kept, missing = [], []
    for address in _addresses(settings.host, port):
        bound = [one for one in former if _bound_to(one) == _comparable(*address)]
        if bound:
            kept.append(bound)
        else:
            missing.append(address)
    return kept, _open_missing(missing, backlog, former, can_do_without=bool(kept))


def _open_missing(
    addresses: Sequence[Address],
    backlog: int,
    former: Sequence[socket.socket],
    *,
    can_do_without: bool,
) -> list[socket.socket]:
    """Open addresses. can_do_without: where this machine does not have them, there are others."""
    try:
        return _listen_on_each(addresses, backlog)
    except ListenError as error:
        if can_do_without and _errno_of(error) in _UNAVAILABLE_ERRNOS:
            return []
        if not (_is_taken(error) and _overlap(addresses, former)):
            raise
    _share(former)
    return _open_each(addresses, backlog, shared=True)


def _share(listeners: Iterable[socket.socket]) -> None:
    """Let others listen on the same address, late, which Linux permits: they were alone so far."""
    for listener in listeners:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _overlap(addresses: Iterable[Address], former: Iterable[socket.socket]) -> bool:
    """Tell whether our own sockets take these addresses: one includes the other.

    Else another server does, whose port must not be shared unnoticed.
    """
    own = [_bound_to(listener) for listener in former]
    wanted = [_comparable(*one) for one in addresses]
    same_port = {key.port for key in own} & {key.port for key in wanted}
    return bool(same_port) and any(key.host in _LOOPBACKS for key in (*own, *wanted))


class _BoundTo(NamedTuple):
    """An address that can be compared: those of sockets and of resolvers have not one form."""

    family: int
    host: str
    port: int
    scope: int


def _bound_to(listener: socket.socket) -> _BoundTo:
    return _comparable(int(listener.family), listener.getsockname())


def _comparable(family: int, address: Any) -> _BoundTo:
    host, port, _, scope = (*address, 0, 0)[:4]
    return _BoundTo(int(family), host.partition("%")[0], port, scope)


def is_at(listener: socket.socket, address: "UnixAddress") -> bool:
    """Tell whether a listening socket is the Unix socket of an address."""
    name = listener.getsockname()
    return listener.family == socket.AF_UNIX and address.has_name(name)


def check_same_address(host: str, port: int | None, settings: Settings) -> None:
    """Raise ListenError if settings name another address than what a server listens on."""
    for name, value in (("host", host), ("port", port)):
        if getattr(settings, name) != value:
            raise ListenError(name, "has changed, which an upgrade does not follow; reload first")


def url(listener: socket.socket, scheme: str = "http") -> str:
    """Return the URL that opens the site on this machine; of a Unix socket unix:PATH."""
    if listener.family == socket.AF_UNIX:
        from aserve.config.unix_address import host_of

        return host_of(listener.getsockname())
    host, port = listener.getsockname()[:2]
    return format_url(scheme, _LOOPBACKS.get(host, host), port)


def port_of(listener: socket.socket) -> int:
    """Return the port of a listening socket, 0 for a Unix socket."""
    return 0 if listener.family == socket.AF_UNIX else int(listener.getsockname()[1])


def is_loopback(listener: socket.socket) -> bool:
    """Tell whether only this machine can reach a listening socket."""
    if listener.family == socket.AF_UNIX:
        return True
    return ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def is_for_this_machine(host: str) -> bool:
    """Tell whether only this machine can reach what listens on a host; raises ListenError."""
    if is_unix(host):
        return True
    addresses = [address[0].partition("%")[0] for _, address in _addresses(host, 0)]
    return all(ip_address(address).is_loopback for address in addresses)


def lan_url(listener: socket.socket, scheme: str = "http") -> str:
    """Return the URL that opens the site from the local network, "" for none."""
    if listener.family == socket.AF_UNIX:
        return ""
    host, port = listener.getsockname()[:2]
    if host not in _LOOPBACKS:
        return "" if host.startswith("127.") or host == "::1" else format_url(scheme, host, port)
    address = route_address()
    return format_url(scheme, address, port) if address else ""


def route_address() -> str:
    """Return the IPv4 address of this machine on its default route, "" for none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing: it only looks up the route, and with it
            # our own address on that route. 192.0.2.1 is reserved for documentation (RFC 5737).
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def usual_url(settings: Settings, port: int) -> str:
    """Return the URL by which others reach a server that listens on a port, as far as is known.

    By the first name that the settings give it, or else by the address that it listens on.
    """
    names = [one for one in settings.named_hosts if one != "localhost" and "*" not in one]
    if settings.unix_address:
        return f"{settings.scheme}://{next(iter(names), 'localhost')}/"
    host = next(iter(names), settings.host)
    if host in {ALL_ADDRESSES, *_LOOPBACKS}:
        host = route_address() or _LOOPBACKS.get(host, "127.0.0.1")
    return format_url(settings.scheme, host, port)


_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - included in each wildcard address


def format_url(scheme: str, host: str, port: int) -> str:
    """Return the URL of a site by the address or name of its host."""
    # RFC 6874 section 2: an interface follows a percent-encoded percent sign.
    authority = f"[{host.replace('%', '%25')}]" if ":" in host else host
    return f"{scheme}://{authority}:{port}/"


def duplicate(listeners: Iterable[socket.socket]) -> list[socket.socket]:
    """Return copies of sockets, which stay open when the others are closed."""
    copies: list[socket.socket] = []
    try:
        for listener in listeners:
            copies.append(listener.dup())  # noqa: PERF401 - those before an error are closed
    except OSError:
        close_all(copies)
        raise
    return copies


def close_all(listeners: Iterable[socket.socket]) -> None:
    """Close sockets; closing twice does no harm."""
    for listener in listeners:
        listener.close()


def _listen_all(settings: Settings, port: int) -> list[list[socket.socket]]:
    """Open sockets for each worker, so that the kernel balances connections among the workers.

    With one socket for all of them, every worker that polls it would wake up for each connection;
    only a model whose workers wait in accept shares it, since that wakes up one of them. The first
    sockets are opened without SO_REUSEPORT, which would let two servers share a port unnoticed.
    """
    first = _listen_on_each(_addresses(settings.host, port), settings.limits.backlog)
    if settings.http_redirect:
        try:
            others = _addresses(settings.host, settings.http_redirect)
            first += _listen_on_each(others, settings.limits.backlog)
        except ListenError as error:
            close_all(first)
            raise _of_redirect(error) from error
    if settings.workers == 1 or settings.model_info.shares_listeners:
        return [first] * settings.workers
    bound = [(listener.family, listener.getsockname()) for listener in first]
    close_all(first)
    return [_open_bound(bound, settings.limits.backlog) for _ in range(settings.workers)]


def _open_bound(bound: Sequence[Address], backlog: int) -> list[socket.socket]:
    """Open sockets beside others, on the same addresses and ports."""
    opened: list[socket.socket] = []
    try:
        for port in dict.fromkeys(address[1] for _, address in bound):
            of_port = [one for one in bound if one[1][1] == port]
            opened += _open_each(of_port, backlog, shared=True)
    except ListenError:
        close_all(opened)
        raise
    return opened


def _of_redirect(error: ListenError) -> ListenError:
    return ListenError("http_redirect" if error.setting == "port" else error.setting, error.reason)


def _addresses(host: str, port: int) -> list[Address]:
    """Return every address of a host name; raises ListenError.

    "*" is all addresses, each family with a socket of its own: so IPv4 clients have IPv4 addresses,
    and a machine without IPv6 has the other ones.
    localhost is both loopback addresses, whatever a resolver says (RFC 6761 section 6.3): in many
    containers /etc/hosts has only one of them, and browsers may try either first.
    """
    if host == ALL_ADDRESSES:
        return [(socket.AF_INET, ("0.0.0.0", port)), (socket.AF_INET6, ("::", port))]  # noqa: S104
    if host.rstrip(".").lower() == "localhost":
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        reason = _host_hint(host) or f"{host!r} has no address: {error.strerror}"
        raise ListenError("host", reason) from error
    except UnicodeError as error:
        raise ListenError("host", f"{host!r} is not a valid host name") from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _host_hint(host: str) -> str:
    """Return what is wrong with a name that looks like a URL or has a port, "" for other names."""
    authority = host.partition("://")[2] or host
    name, _, port = authority.strip("/").rpartition(":")
    if authority.startswith("["):
        return f"must be an address without brackets and without a port, not {host!r}"
    if authority != host or (name and ":" not in name and port.isdecimal()):
        return f"must be a name or an address alone, not {host!r}; the port belongs to --port"
    return ""


def _listen_on_each(addresses: Sequence[Address], backlog: int) -> list[socket.socket]:
    """Open a socket for each address; port 0 is a port that is free on all of them."""
    for _ in range(_MAX_PORTS_TRIED):
        try:
            return _open_each(addresses, backlog, shared=False)
        except ListenError as error:
            last = error
            if addresses[0][1][1] or not _is_taken(error):
                break
    raise last


def _open_each(addresses: Sequence[Address], backlog: int, *, shared: bool) -> list[socket.socket]:
    """Open a socket for each address of this machine, all with the port of the first one."""
    opened: list[socket.socket] = []
    unavailable: tuple[Any, OSError] | None = None
    for family, address in addresses:
        if opened:
            address = (address[0], opened[0].getsockname()[1], *address[2:])  # noqa: PLW2901
        try:
            is_only = len(addresses) == 1
            opened.append(_open(family, address, backlog, shared, is_only))
        except OSError as error:
            if error.errno not in _UNAVAILABLE_ERRNOS:
                close_all(opened)
                raise _listen_error(address, error) from error
            unavailable = unavailable or (address, error)
    if not opened and unavailable:
        raise _listen_error(*unavailable) from unavailable[1]
    return opened


_UNAVAILABLE_ERRNOS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""The errors for an address that this machine does not have, such as ::1 where IPv6 is off."""


def _open(family: int, address: Any, backlog: int, shared: bool, is_only: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and not is_only:  # the IPv4 address has its own socket
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_error(address: Any, error: OSError) -> ListenError:
    host, port = address[:2]
    if error.errno == errno.EADDRINUSE:
        return ListenError("port", f"{port} is taken on {host}")
    if error.errno in {errno.EACCES, errno.EPERM}:
        reason = "only root, or a program with CAP_NET_BIND_SERVICE, may use this port"
        return ListenError("port", f"{port}: {reason}; any program may use one above 1023")
    if error.errno == errno.EINVAL and ":" in host and "%" not in host:
        reason = f"a link-local address needs its interface, as in {host}%eth0"
        return ListenError("host", f"cannot listen on {host}: {reason}")
    setting = "host" if error.errno == errno.EADDRNOTAVAIL else "port"
    return ListenError(setting, f"cannot listen on {host}, port {port}: {error.strerror}")


def _is_taken(error: ListenError) -> bool:
    return _errno_of(error) == errno.EADDRINUSE


def _errno_of(error: ListenError) -> int | None:
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None
