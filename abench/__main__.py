"""The program abench, which is `python -m abench` too."""

import os
import signal
import sys
from importlib import import_module

_STANDARD_DESCRIPTORS = (0, 1, 2)  # standard input, output, error


def main() -> None:
    """Be the program. Who interrupts it while it is being imported gets no traceback."""
    _open_standard_descriptors()
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # and does not ignore it, as behind nohup or &
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    program = import_module("abench.cli").main
    signal.signal(signal.SIGINT, usual)
    program()


def _open_standard_descriptors() -> None:
    """Put /dev/null in place of each standard descriptor that is closed, before anything is opened.

    The kernel gives the lowest free number: a connection would become standard output, and a
    report would be sent to the server. sys.stdout stays None, which tells that there is none.
    """
    for descriptor in _STANDARD_DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:  # print would take standard output in its place
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main()
