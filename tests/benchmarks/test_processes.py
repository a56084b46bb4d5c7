"""The processor clock of other processes, and the end of a whole family."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.processes import end, family, processor_seconds, resident

PARENT = """
import subprocess, sys
code = "import time; print('up', flush=True); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", code]).wait()
"""


def test_the_clock_of_a_process_counts_what_it_has_used() -> None:
    before, own = processor_seconds(os.getpid()), time.process_time()
    while time.process_time() < own + 0.02:
        pass
    assert 0.02 <= processor_seconds(os.getpid()) - before < 1


def test_a_family_is_counted_and_ended_as_a_whole() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"up\n"
    pids = family(parent.pid)
    try:
        assert len(pids) == 2
        assert resident(parent.pid) > resident(pids[1]) > 0
    finally:
        end(parent)
        parent.stdout.close()
    assert not Path(f"/proc/{parent.pid}").exists()
    wait_for_end(pids[1])


def wait_for_end(pid: int) -> None:
    """An orphan's entry stays until the process that has adopted it has waited for it."""
    status = Path(f"/proc/{pid}/status")
    for _ in range(200):
        try:
            if "\nState:\tZ" in status.read_text():
                return
        except OSError:
            return
        time.sleep(0.01)
    raise AssertionError(f"{pid} still runs")
