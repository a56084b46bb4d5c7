"""The end of a process: the signal for it, and what is said afterwards."""

import signal

RETIRE = signal.SIGRTMAX
"""The signal that retires a server; its number is its byte on a control descriptor."""


def describe_exit(code: int) -> str:
    """Return an exit code in words: the name of a signal where it is negative."""
    if code >= 0:
        return f"exit code {code}"
    known = -code in {number.value for number in signal.Signals}
    return signal.Signals(-code).name if known else f"signal {-code}"
