"""Which sockets each worker accepts on, also when their number changes while the server runs."""

import socket
from collections.abc import Iterable, Sequence

from aserve.config.settings import Settings
from aserve.server.listeners import listen_beside

Group = Sequence[socket.socket]
"""A socket for each address."""


class ListenerGroups:
    """The listening sockets of a server. None is ever closed while it runs: clients wait in each.

    groups: one for each worker, or the same one for all.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = list({id(group): group for group in groups}.values())

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
        return int(self.sockets[0].getsockname()[1]) if self.sockets else 0

    def assign(self, settings: Settings) -> list[Group]:
        """Return the sockets of each worker; open those that are missing. Raises ListenError.

        Those of workers that there are no more are accepted by all that remain: a client that waits
        in one is not lost, and the others share what the kernel puts there.
        """
        if settings.model_info.shares_listeners:
            return [self.sockets] * settings.workers
        while len(self._groups) < settings.workers:
            self._groups.append(listen_beside(self._groups[0], settings.limits.backlog))
        spare = [listener for group in self._groups[settings.workers :] for listener in group]
        return [[*group, *spare] for group in self._groups[: settings.workers]]
