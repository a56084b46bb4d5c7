"""Which signals stop the server, which reopen its access log, and which stay ignored."""

import os
import signal
import threading
from collections.abc import Callable
from typing import NamedTuple

from aserve.config.settings import SettingsError
from aserve.linux.signalfd import block_signals, thread_that_accepts
from aserve.transport.processes import RETIRE

STOP_WORKER, REOPEN_LOG, RETIRE_WORKER = signal.SIGUSR2, signal.SIGUSR1, RETIRE
"""The signals from a supervisor to its workers. A second STOP_WORKER stops at once.

RETIRE_WORKER: accept no more, and end with the last connection. It is a signal that neither the
kernel nor a terminal ever sends: SIGWINCH, which others use, is sent whenever a window is resized.
"""


class Signals(NamedTuple):
    """The signals that a process handles.

    stop: those that stop it; reopen: those that reopen its log; reload: those that also have it
    read its settings anew; upgrade: those that start its program anew, in place; on_terminal:
    whether it had a terminal at the start, so that SIGHUP may mean that the terminal was closed.
    """

    stop: frozenset[signal.Signals]
    reopen: frozenset[signal.Signals]
    reload: frozenset[signal.Signals] = frozenset()
    upgrade: frozenset[signal.Signals] = frozenset()
    on_terminal: bool = False

    @property
    def handled(self) -> frozenset[signal.Signals]:
        """All of them. They must stay blocked until they have their handlers."""
        return self.stop | self.reopen | self.reload | self.upgrade

    def stops(self, number: int) -> bool:
        """Tell whether a signal that has arrived stops the process."""
        hung_up = number == signal.SIGHUP and self.on_terminal and not has_terminal()
        return hung_up or number in self.stop


WORKER_SIGNALS = Signals(frozenset({STOP_WORKER}), frozenset({REOPEN_LOG}))
"""The signals of a worker under a supervisor."""


def program_signals() -> Signals:
    """Return the signals of the program itself, which depend on how it was started.

    A signal that was ignored at the start stays ignored: nohup does that to SIGHUP, and a shell to
    SIGINT for the background commands of a script (POSIX XCU 2.11). SIGHUP stops a server whose
    terminal was closed; otherwise it reloads and reopens the log, as for other daemons.
    """
    stop = ({signal.SIGINT} - ignored_signals()) | {signal.SIGTERM}
    reload = {signal.SIGHUP} - ignored_signals()
    return Signals(
        frozenset(stop),
        frozenset({REOPEN_LOG}),
        frozenset(reload),
        frozenset({signal.SIGUSR2}),
        on_terminal=has_terminal(),
    )


def has_terminal() -> bool:
    """Tell whether this process has a controlling terminal. It loses it when that is closed.

    The standard descriptors cannot tell: `aserve www >log 2>&1 </dev/null &` has a terminal.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def ignored_signals() -> set[signal.Signals]:
    """Return which of SIGINT and SIGHUP were ignored when this process was started."""
    return {
        number
        for number in (signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    }


def block_in_all_threads(signals: frozenset[int], model: str) -> None:
    """Block the signals that a model reads, in this thread; raises SettingsError for another one.

    A thread that has not blocked such a signal would take it from the server, and by default it
    ends the process. No thread can block it for another one: only for those that it starts.
    """
    block_signals(signals)
    for number in signals:
        if thread := thread_that_accepts(number):
            raise SettingsError(
                "model",
                f"{model} needs signal {number} blocked in each thread, and thread {thread} of "
                "this program has not blocked it; block it before the first thread starts",
            )


def call_on_signal(numbers: frozenset[signal.Signals], callback: Callable[[int], None]) -> None:
    """Call `callback` in a separate thread with each of these blocked signals that arrives.

    It is no signal handler, because the models without asyncio stop on every handled signal:
    signal.set_wakeup_fd reports all of them.
    """

    def wait() -> None:
        while True:
            callback(signal.sigwait(numbers))

    threading.Thread(target=wait, name="signals", daemon=True).start()
