"""Which signals stop the server, which reopen its access log, and which are left alone."""

import os
import signal
import threading
from collections.abc import Callable
from typing import NamedTuple

STOP_WORKER, REOPEN_LOG = signal.SIGUSR2, signal.SIGUSR1
"""What a supervisor tells its workers; STOP_WORKER twice for at once."""


class Signals(NamedTuple):
    """What a process does on which signals.

    on_terminal: whether a terminal was there at the start, so that SIGHUP may tell of its end.
    """

    stop: frozenset[signal.Signals]
    reopen: frozenset[signal.Signals]
    on_terminal: bool = False

    @property
    def handled(self) -> frozenset[signal.Signals]:
        """Those that must be blocked until somebody handles them."""
        return self.stop | self.reopen

    def stops(self, number: int) -> bool:
        """Tell whether a signal that has arrived stops; else it reopens the log."""
        hung_up = number == signal.SIGHUP and self.on_terminal and not has_terminal()
        return hung_up or number in self.stop


WORKER_SIGNALS = Signals(frozenset({STOP_WORKER}), frozenset({REOPEN_LOG}))
"""Those of a worker that has a supervisor."""


def program_signals(*, has_log_file: bool) -> Signals:
    """Return the signals of the program itself, by the state in which it was started.

    A signal that was ignored then stays ignored: nohup asks for that with SIGHUP, and a shell with
    SIGINT for the background commands of a script (POSIX XCU 2.11). SIGHUP stops a server whose
    terminal is closed; otherwise it is, as for daemons, an order to reopen. On a terminal without
    a log file there is nothing to reopen: then it stops in any case.
    """
    on_terminal = has_terminal()
    hang_up = {signal.SIGHUP} - ignored_signals()
    stop = ({signal.SIGINT} - ignored_signals()) | {signal.SIGTERM}
    reopen = {REOPEN_LOG}
    (stop if on_terminal and not has_log_file else reopen).update(hang_up)
    return Signals(frozenset(stop), frozenset(reopen), on_terminal)


def has_terminal() -> bool:
    """Tell whether this process has a controlling terminal, which it loses when that is closed.

    Standard descriptors do not tell: `aserve www >log 2>&1 </dev/null &` belongs to a terminal.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def ignored_signals() -> set[signal.Signals]:
    """Return those of SIGINT and SIGHUP that whoever started us has us ignore."""
    return {
        number
        for number in (signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    }


def call_on_signal(numbers: frozenset[signal.Signals], work: Callable[[int], None]) -> None:
    """Call work in a thread of its own with each of the blocked signals that arrives.

    Not by a handler: the models that wait by themselves take each handled signal for their order
    to stop (signal.set_wakeup_fd knows no exceptions).
    """

    def wait() -> None:
        while True:
            work(signal.sigwait(numbers))

    threading.Thread(target=wait, name="signals", daemon=True).start()
