"""The signals that stop a run."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the signals that stop a run."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def stop_on_signal(stop: Callable[[int], None]) -> Iterator[None]:
    """Make the first SIGINT or SIGTERM call `stop`, and the second raise KeyboardInterrupt.

    A SIGINT that is ignored stays ignored: shells start the background commands of a script like
    this (POSIX XCU 2.11), and Ctrl-C is not meant for them.
    """
    handled = [n for n in STOP_SIGNALS if n == signal.SIGTERM or not _is_ignored(n)]

    def first(number: int, _frame: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, second)
        stop(number)

    def second(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    try:
        before = {n: signal.signal(n, first) for n in handled}
    except ValueError:  # only the main thread may handle signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
