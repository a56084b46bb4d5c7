"""The signals that stop a run."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


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


@contextlib.contextmanager
def exit_on_signal() -> Iterator[None]:
    """Make signals that end a program at once raise SystemExit, so that contexts are left.

    They are SIGTERM, SIGHUP (the terminal is closed) and SIGQUIT; one that is ignored stays
    ignored. The exit code is that of a shell, 128 and the number of the signal.
    """

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before: dict[int, Any] = {}
    try:
        with contextlib.suppress(ValueError):  # only the main thread may handle signals
            for number in _ENDING_SIGNALS:
                if not _is_ignored(number):
                    before[number] = signal.signal(number, leave)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
