"""The processor clock of other processes, and the end of a whole family."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import processes
from benchmarks.processes import end, family, processor_seconds, resident

PARENT = """
import subprocess, sys
code = "import time; print('up', flush=True); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", code]).wait()
"""

BUSY_CHILD = """
import os, time
if not (pid := os.fork()):
    while time.process_time() < 0.1:
        pass
    os._exit(0)
os.waitpid(pid, 0)
print(time.process_time(), flush=True)
input()
"""


def test_the_clock_of_a_process_counts_what_it_has_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "family", lambda pid: [pid])  # those of other tests may end
    began = time.process_time()
    before = processor_seconds(os.getpid())
    own = time.process_time()
    while time.process_time() < own + 0.02:
        pass
    used = processor_seconds(os.getpid()) - before
    assert 0.02 <= used <= time.process_time() - began


def test_children_that_have_ended_are_counted() -> None:
    words = [sys.executable, "-c", BUSY_CHILD]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        own = float(parent.stdout.readline())
        assert processor_seconds(parent.pid) >= own + 0.1 - 0.01  # steps of 10 ms
        parent.stdin.write(b"\n")


def test_a_family_is_counted_and_ended_as_a_whole() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"up\n"
    pids = family(parent.pid)
    try:
        assert len(pids) == 2
        assert min(map(resident, pids)) > 0
    finally:
        end(parent)
        parent.stdout.close()
    assert not Path(f"/proc/{parent.pid}").exists()
    wait_for_end(pids[1])


def wait_for_end(pid: int) -> None:
    """An orphan's entry stays until the process that has adopted it has waited for it."""
    status = Path(f"/proc/{pid}/status")
    for _ in range(6000):
        try:
            if "\nState:\tZ" in status.read_text():
                return
        except OSError:
            return
        time.sleep(0.01)
    raise AssertionError(f"{pid} still runs")
