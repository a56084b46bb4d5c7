"""The program abench, which is also `python -m abench`."""

import gc
import os
import signal
import sys
from importlib import import_module

_STANDARD_DESCRIPTORS = (0, 1, 2)  # standard input, output, error


def main() -> None:
    """Run the program. Ctrl-C while it is being imported shows no traceback."""
    _open_standard_descriptors()
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:  # SIGINT is not ignored, as it is with nohup or &
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What modules make stays: without looks for garbage, the imports take a tenth less time.
    gc.disable()
    run_cli = import_module("abench.cli").main
    signal.signal(signal.SIGINT, previous)
    run_cli()


def _open_standard_descriptors() -> None:
    """Open /dev/null for each standard descriptor that is closed, before anything else is opened.

    The kernel assigns the lowest free number: a connection would become standard output, and a
    report would be sent to the server. sys.stdout stays None, which tells that there is none.
    """
    for descriptor in _STANDARD_DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:  # print would use standard output instead
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main()
