"""The program abench, which is `python -m abench` too."""

import signal
from importlib import import_module


def main() -> None:
    """Be the program. Who interrupts it while it is being imported gets no traceback."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # and does not ignore it, as behind nohup or &
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    program = import_module("abench.cli").main
    signal.signal(signal.SIGINT, usual)
    program()


if __name__ == "__main__":
    main()
