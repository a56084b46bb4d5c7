"""Which signals stop the server, which reopen its access log, and which are left alone."""

import os
import signal
import threading
from collections.abc import Callable
from typing import NamedTuple

STOP_WORKER, REOPEN_LOG = signal.SIGUSR2, signal.SIGUSR1
"""What a supervisor tells its workers; STOP_WORKER twice for at once."""

_STANDARD_DESCRIPTORS = (0, 1, 2)


class Signals(NamedTuple):
    """What a process does on which signals."""

    stop: frozenset[signal.Signals]
    reopen: frozenset[signal.Signals]

    @property
    def handled(self) -> frozenset[signal.Signals]:
        """Those that must be blocked until somebody handles them."""
        return self.stop | self.reopen


WORKER_SIGNALS = Signals(frozenset({STOP_WORKER}), frozenset({REOPEN_LOG}))
"""Those of a worker that has a supervisor."""


def program_signals() -> Signals:
    """Return the signals of the program itself, by the state in which it was started.

    A signal that was ignored then stays ignored: nohup asks for that with SIGHUP, and a shell with
    SIGINT for the background commands of a script (POSIX XCU 2.11). SIGHUP stops a server whose
    terminal is closed; one without a terminal takes it, as daemons do, for an order to reopen.
    """
    on_terminal = any(map(os.isatty, _STANDARD_DESCRIPTORS))
    hang_up = {signal.SIGHUP} - ignored_signals()
    stop = ({signal.SIGINT} - ignored_signals()) | {signal.SIGTERM}
    reopen = {REOPEN_LOG}
    (stop if on_terminal else reopen).update(hang_up)
    return Signals(frozenset(stop), frozenset(reopen))


def ignored_signals() -> set[signal.Signals]:
    """Return those of SIGINT and SIGHUP that whoever started us has us ignore."""
    return {
        number
        for number in (signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    }


def call_on(numbers: frozenset[signal.Signals], work: Callable[[], None]) -> None:
    """Call work in a thread of its own whenever one of the blocked signals arrives.

    Not by a handler: the models that wait by themselves take each handled signal for their order
    to stop (signal.set_wakeup_fd knows no exceptions).
    """

    def wait() -> None:
        while True:
            signal.sigwait(numbers)
            work()

    threading.Thread(target=wait, name="signals", daemon=True).start()
