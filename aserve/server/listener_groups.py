"""Which sockets each worker accepts on, also when their number changes while the server runs."""

import socket
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from aserve.config.settings import Settings
from aserve.config.values import UNIX_PREFIX
from aserve.linux.pacing import limit_bandwidth
from aserve.server.listeners import (
    ListenError,
    is_at,
    listen_also,
    listen_beside,
    on_free_port,
    port_of,
    url,
)

if TYPE_CHECKING:
    from aserve.server.unix_sockets import SocketFiles

Group = Sequence[socket.socket]
"""A socket for each address."""


class ListenerGroups:
    """The listening sockets of an address. None is closed while it is served: clients wait there.

    groups: one for each worker, or the same one for all. is_activated: whether a service manager
    has opened them, who has them as well.
    """

    def __init__(self, groups: Iterable[Group], *, is_activated: bool = False) -> None:
        self._groups = list({id(group): group for group in groups}.values())
        self.is_activated = is_activated
        """Whether a service manager has opened them."""
        self._files = None if is_activated else _files_of(self.sockets)

    @property
    def groups(self) -> Sequence[Group]:
        """The sockets as they were opened together."""
        return self._groups

    @property
    def sockets(self) -> list[socket.socket]:
        """All sockets."""
        return [listener for group in self._groups for listener in group]

    @property
    def port(self) -> int:
        """The port of the first one, 0 if there is none."""
        return port_of(self.sockets[0]) if self.sockets else 0

    @property
    def _are_shared(self) -> bool:
        """Whether all workers accept on the same sockets, since no other one can be beside them.

        SO_REUSEPORT is for addresses with ports, and for sockets of one user (socket(7)).
        """
        return self.is_activated or any(one.family == socket.AF_UNIX for one in self.sockets)

    @property
    def places(self) -> set[int | str]:
        """Where clients connect to: the ports of all sockets, and the names of Unix sockets."""
        return {port_of(one) or url(one).removeprefix(UNIX_PREFIX) for one in self.sockets}

    def assign(self, settings: Settings) -> list[Group]:
        """Return the sockets of each worker; open those that are missing. Raises ListenError.

        Those of workers that there are no more are accepted by all that remain: a client that waits
        in one is not lost, and the others share what the kernel puts there.
        """
        is_shared = settings.model_info.shares_listeners or self._are_shared
        while len(self._groups) < settings.workers and not is_shared:
            self._groups.append(listen_beside(self._groups[0], settings.limits.backlog))
        limit_bandwidth(self.sockets, settings.bandwidth)
        if is_shared:
            return [self.sockets] * settings.workers
        spare = [listener for group in self._groups[settings.workers :] for listener in group]
        return [[*group, *spare] for group in self._groups[: settings.workers]]

    def moved(
        self, before: Settings, after: Settings, leaving: Iterable[socket.socket] = ()
    ) -> "ListenerGroups":
        """Return the sockets of what may be another address; raises ListenError.

        leaving: those of former addresses, which are still open. None of an address is opened
        again, so that no client in its queue is lost. Where only the host changes, a port that was
        found at the start stays.
        """
        if before.http_redirect != after.http_redirect:
            raise ListenError("http_redirect", "cannot be changed while the server runs")
        if (before.host, before.port) == (after.host, after.port):
            return self
        if self.is_activated:
            raise ListenError("host", "and port: the sockets are those of the service manager")
        if (address := after.unix_address) and any(is_at(one, address) for one in self.sockets):
            raise ListenError("host", "mode and group stay for as long as the server listens there")
        if after.http_redirect:
            reason = "stay while the server runs with http_redirect"
            raise ListenError("host", f"and port {reason}")
        port = (before.port == after.port and self.port) or after.port
        open_now = [*self.sockets, *leaving]
        return on_free_port(port, lambda tried: self._moved_to(tried, after, open_now))

    def _moved_to(
        self, port: int, settings: Settings, open_now: Sequence[socket.socket]
    ) -> "ListenerGroups":
        backlog = settings.limits.backlog
        kept, opened = listen_also(settings, port, open_now)
        if not opened and {one for of_address in kept for one in of_address} == set(self.sockets):
            return self
        first, *others = zip_longest(*kept) if kept else [()]
        shared = [[*group, *listen_beside(opened, backlog)] for group in others]
        return ListenerGroups(
            [one for one in group if one] for group in ([*first, *opened], *shared)
        )

    def remove_files(self, in_use: Iterable[socket.socket] = ()) -> None:
        """Remove the files of Unix sockets, which no one is to connect to any more.

        in_use: sockets whose files stay. Those of a service manager are its own.
        """
        if self._files:
            self._files.remove(in_use)


def _files_of(listeners: Sequence[socket.socket]) -> "SocketFiles | None":
    if not any(one.family == socket.AF_UNIX for one in listeners):
        return None
    from aserve.server.unix_sockets import SocketFiles

    return SocketFiles(listeners)
