"""What a server is given so that it can get other settings while it runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aserve.config.settings import Settings
from aserve.server.control import WatchedFiles
from aserve.server.control_socket import ControlSocket
from aserve.server.inheritance import Inherited

if TYPE_CHECKING:
    from aserve.server.auto_stop import AutoStop
    from aserve.server.service_manager import ServiceManager


class ConfigurationSource(Protocol):
    """Where settings are read anew, and what of them only a new process follows.

    That is what the source has for the processes that are started: the access log. After read they
    get what it has read, until discard.
    """

    def read(self) -> Settings:
        """Return the settings as they are now; raise SettingsError if they cannot work."""

    @property
    def needs_processes(self) -> bool:
        """Whether what was read last differs in more than the settings."""

    def commit(self) -> None:
        """Note that the server follows what was read."""

    def discard(self) -> None:
        """Release what was read: the server does not follow it."""


class Reloading(NamedTuple):
    """How a server gets other settings while it runs.

    source: None for one that keeps its settings. watched: files whose change is a reason to
    read them. control_socket: what `aserve reload` connects to. inherited: from the program before.
    service_manager: what is told of it. on_move: called with the port after a reload has changed
    it. auto_stop: what ends the server by itself. Both managers: None for nothing.
    """

    source: ConfigurationSource | None = None
    watched: WatchedFiles = WatchedFiles(())
    control_socket: ControlSocket | None = None
    inherited: Inherited = Inherited()
    service_manager: "ServiceManager | None" = None
    on_move: Callable[[int], object] = lambda _port: None
    auto_stop: "AutoStop | None" = None
