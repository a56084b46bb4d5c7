"""The program started anew, in place, by one that serves: what the new one gets from the old one.

The listening sockets pass through exec, so that no client is refused, and so do the processes that
still have connections: they are told to end with the last one. The new program reads its code, its
configuration and the environment as they are now.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from socket import socket
from typing import NamedTuple, NoReturn

from aserve.config.settings import Settings
from aserve.server.orders import OrderReceiver, ReloadError, WorkerLink

_VARIABLE = "_ASERVE_INHERITED"
_CHECK_TIMEOUT_S = 60.0


class Inherited(NamedTuple):
    """What one program has left to another. Sockets and pipes are descriptors.

    workers: processes that are to end with their last connection, and the link to each. lifeline:
    the two ends of the pipe that those processes watch; or, with orders, the one that this process
    watches. orders: those to this process, which is a worker of the program that has started it.
    control: the socket of `aserve reload`. auto_stop: what another program ends itself by. check:
    the host and the port that the program must have; then it only is to tell whether it can start.
    is_activated: whether a service manager has opened the listeners.
    """

    listeners: Sequence[Sequence[int]] = ()
    workers: Sequence[tuple[int, int]] = ()
    lifeline: Sequence[int] = ()
    orders: int = -1
    control: int = -1
    auto_stop: Sequence[int] = ()
    check: tuple[str, int | None] | None = None
    is_activated: bool = False

    @property
    def is_worker(self) -> bool:
        """Whether this process serves as a worker of the program that has started it."""
        return self.orders >= 0

    def open_listeners(self) -> list[list[socket]]:
        """Return the listening sockets."""
        return [[socket(fileno=one) for one in group] for group in self.listeners]

    def open_links(self) -> dict[int, WorkerLink]:
        """Return the link to each process that is to end."""
        return {pid: WorkerLink(socket(fileno=one), has_started=True) for pid, one in self.workers}

    def open_orders(self) -> OrderReceiver:
        """Return what receives the orders to this process."""
        return OrderReceiver(socket(fileno=self.orders))


def take_inherited(environment: MutableMapping[str, str] = os.environ) -> Inherited | None:
    """Return what was inherited, None for a program that was started by a user."""
    text = environment.pop(_VARIABLE, None)
    if text is None:
        return None
    inherited = Inherited(**json.loads(text))
    for descriptor in _descriptors(inherited):
        os.set_inheritable(descriptor, False)
    return inherited


def check_program(settings: Settings) -> None:
    """Have the program tell whether it could start now; raises ReloadError if not.

    settings: those whose address the program must have as well.
    """
    checking = _environment(Inherited(check=(settings.host, settings.port)))
    try:
        checked = subprocess.run(  # noqa: S603 - the command by which this program was started
            _command(),
            env=checking,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CHECK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReloadError(f"the program cannot be started: {error}") from error
    if checked.returncode:
        *_, last = checked.stderr.strip().splitlines() or [f"exit code {checked.returncode}"]
        raise ReloadError(last.removeprefix("aserve: ").removeprefix("error: "))


def spawn_program(inherited: Inherited) -> "subprocess.Popen[bytes]":
    """Start the program in a process of its own."""
    return subprocess.Popen(  # noqa: S603 - as above
        _command(),
        env=_environment(inherited),
        pass_fds=tuple(_descriptors(inherited)),
    )


def exec_program(inherited: Inherited) -> NoReturn:
    """Start the program in place of this one, in the same process."""
    for descriptor in _descriptors(inherited):
        os.set_inheritable(descriptor, True)
    os.execve(sys.executable, _command(), _environment(inherited))  # noqa: S606 - as above


def descriptors_of(groups: Iterable[Sequence[socket]]) -> list[list[int]]:
    """Return the descriptors of listening sockets, as they are inherited."""
    return [[listener.fileno() for listener in group] for group in groups]


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]


def _environment(inherited: Inherited) -> Mapping[str, str]:
    return {**os.environ, _VARIABLE: json.dumps(inherited._asdict())}


def _descriptors(inherited: Inherited) -> list[int]:
    listeners = [one for group in inherited.listeners for one in group]
    links = [descriptor for _, descriptor in inherited.workers]
    others = [one for one in (inherited.orders, inherited.control) if one >= 0]
    return [*listeners, *links, *inherited.lifeline, *others, *inherited.auto_stop]
