"""The entry point of the command `aserve` and of `python -m aserve`."""

import gc
import os
import signal
import sys
from importlib import import_module

_STANDARD_DESCRIPTORS = (0, 1, 2)  # standard input, output, error


def main() -> None:
    """Run the program. Ctrl-C during the imports prints no traceback."""
    _open_standard_descriptors()
    # logrotate may send SIGUSR1 at any time, even before the log is open, and the default action
    # of both signals is to kill the process. Only workers use SIGUSR2.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    original_handler = signal.getsignal(signal.SIGINT)
    if original_handler is signal.default_int_handler:  # not SIG_IGN, as under nohup or &
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What modules make stays: without looks for garbage, the imports take a tenth less time.
    gc.disable()
    run = import_module("aserve.cli.main").main
    signal.signal(signal.SIGINT, original_handler)
    run()


def _open_standard_descriptors() -> None:
    """Open /dev/null on each standard descriptor that is closed, before anything else is opened.

    The kernel hands out the lowest free number: a listening socket would become standard output,
    and log lines would be written to it. sys.stdout stays None, so that the program can tell.
    """
    for descriptor in _STANDARD_DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:  # print() would fall back to standard output
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main()
