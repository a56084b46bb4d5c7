"""The queue of signals of a thread."""

import subprocess
import sys

READS_AT_THE_END = """
import atexit, signal
from aserve.linux.signalfd import SignalFd

made = []
atexit.register(lambda: list(made[0].read(0)))  # after what is registered later
made.append(SignalFd({signal.SIGUSR1}))
"""


def test_a_thread_may_read_until_the_program_has_ended() -> None:
    command = (sys.executable, "-c", READS_AT_THE_END)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
