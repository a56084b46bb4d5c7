"""What a server is asked while it runs: by signals, by `aserve reload`, by its changed files."""

import logging
import select
import signal
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from aserve.linux.signalfd import SignalFd
from aserve.server.control_socket import ControlClient, ControlSocket, open_control_socket

_LOOK_INTERVAL_S = 0.5
_MAX_CLIENTS = 64  # that have connected and have not been answered; the first one makes room

STOPPING = "the server is stopping"
"""The reason of a reload that a stop has made needless: a client that asked for it is told so."""

_logger = logging.getLogger("aserve")

FileState = tuple[int, int, int, int]
Call = Callable[[], object]


class WatchedFiles:
    """Files whose change is a reason to reload.

    They are looked at twice a second: shared folders of containers and networks have no events. A
    change counts when the file is the same at the next look, so that none is read half-written.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._known = self._seen = self._states()

    def __bool__(self) -> bool:
        return bool(self._paths)

    def have_changed(self) -> bool:
        """Tell whether there is a change that was not told before, and that has settled."""
        states = self._states()
        is_settled, self._seen = states == self._seen, states
        if not is_settled or states == self._known:
            return False
        self._known = states
        return True

    def _states(self) -> list[FileState | None]:
        return [_state(path) for path in self._paths]


def _state(path: Path) -> FileState | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Control:
    """Waits for all that a server is asked. The thread that makes it must be the one that waits.

    on_signal: called with each signal. reload: returns why nothing has changed, "" if it has. lock:
    held while anything is done. control_socket: what `aserve reload` connects to.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each is a way to be asked
        self,
        signals: AbstractSet[int],
        on_signal: Callable[[int], object],
        reload: Callable[[], str],
        watched: WatchedFiles,
        lock: AbstractContextManager[object] | None = None,
        control_socket: ControlSocket | None = None,
    ) -> None:
        self._lock = lock or nullcontext()
        self._signals = SignalFd(signals)
        self._on_signal = on_signal
        self._reload = reload
        self._watches: dict[str, tuple[WatchedFiles, Call]] = {"": (watched, self.reload)}
        self._socket = control_socket
        self._clients: dict[int, ControlClient] = {}  # by descriptor, as they have come
        self._readers: dict[int, Call] = {}  # by descriptor
        self._due: list[tuple[float, Call]] = []  # with the times of the monotonic clock
        self._poll = select.poll()
        self._poll.register(self._signals, select.POLLIN)
        if control_socket:
            self._poll.register(control_socket, select.POLLIN)

    def wait(self) -> None:
        """Wait until something is asked or due, or for a moment, and do it."""
        ready = {descriptor for descriptor, _ in self._poll.poll(self._timeout_ms())}
        with self._lock:
            self._handle(ready)
            self._call_due()

    def _timeout_ms(self) -> float | None:
        now = time.monotonic()
        seconds = [max(0.0, at - now) for at, _ in self._due]
        if any(watched for watched, _ in self._watches.values()):
            seconds.append(_LOOK_INTERVAL_S)
        return min(seconds) * 1_000 if seconds else None

    def _handle(self, ready: AbstractSet[int]) -> None:
        if self._socket and self._socket.fileno() in ready:
            self._accept(self._socket)
        for descriptor in list(self._clients.keys() & ready):
            self._answer(descriptor)
        if self._signals.fileno() in ready:
            numbers = [record.number for record in self._signals.read(0)]
            # An upgrade is last: with this program ends what it has read and not yet done.
            for number in sorted(numbers, key=signal.SIGUSR2.__eq__):
                self._on_signal(number)
        for descriptor in list(self._readers.keys() & ready):
            self._readers[descriptor]()
        for watched, call in list(self._watches.values()):
            if watched and watched.have_changed():
                call()

    def _accept(self, control_socket: ControlSocket) -> None:
        """Accept clients. One that says nothing is waited for in poll, and delays no other."""
        for client in control_socket.accept():
            self._clients[client.fileno()] = client
            self._poll.register(client, select.POLLIN)
            if len(self._clients) > _MAX_CLIENTS:
                self._close_client(next(iter(self._clients)))

    def _answer(self, descriptor: int) -> None:
        client = self._clients[descriptor]
        if client.has_asked():
            client.answer(self._reload())
        self._close_client(descriptor)

    def _close_client(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        self._clients.pop(descriptor).close()

    def watch(self, name: str, watched: WatchedFiles, call: Call) -> None:
        """Have a function called after a change of files, in place of the former ones so named."""
        self._watches[name] = watched, call

    def call_when_readable(self, descriptor: int, call: Call) -> None:
        """Have a function called by wait each time that a descriptor is readable."""
        self._readers[descriptor] = call
        self._poll.register(descriptor, select.POLLIN)

    def call_later(self, seconds: float, call: Call) -> None:
        """Have a function called by wait, at that time or after it."""
        self._due.append((time.monotonic() + seconds, call))

    def _call_due(self) -> None:
        now = time.monotonic()
        due = [one for one in self._due if one[0] <= now]
        self._due = [one for one in self._due if one[0] > now]
        for _, call in due:
            call()

    def change_port(self, port: int) -> None:
        """Be found by another port. What was asked by the former name is answered all the same."""
        former = self._socket
        if former and former.port != port and (renamed := open_control_socket(port)):
            self._poll.register(renamed, select.POLLIN)
            self._socket = renamed
            self._accept(former)
            self._poll.unregister(former)
            former.close()

    def reload(self) -> None:
        """Reload, and log why nothing has changed if so."""
        if (reason := self._reload()) not in {"", STOPPING}:
            _logger.error("reload: %s; serving on as before", reason)

    @property
    def descriptor(self) -> int:
        """The descriptor of the socket of `aserve reload`, -1 if there is none."""
        return self._socket.fileno() if self._socket else -1

    def close(self) -> None:
        """Be asked no more, as in a process that was forked."""
        for one in (self._socket, *self._clients.values()):
            if one:
                one.close()
