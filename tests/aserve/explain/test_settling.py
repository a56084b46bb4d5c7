"""A traced server is waited for until it rests, which takes as long as the machine lets it."""

import subprocess
import sys
import time

import pytest

from aserve.explain.settling import Settling, thread_states

# Answers each line that it is sent: it writes "begun", works, and writes " done".
WORKER = """
import sys, threading, time
def work():
    print("begun", end="", file=output, flush=True)
    end = time.process_time() + float(sys.argv[2])
    while time.process_time() < end:
        pass
    print(" done", end="", file=output, flush=True)
with open(sys.argv[1], "w") as output:
    print("ready", flush=True)
    for line in sys.stdin:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
"""


@pytest.fixture
def worker(tmp_path):
    """Return a function that starts a worker which works for seconds of processor time."""
    processes = []

    def start(seconds):
        command = [sys.executable, "-c", WORKER, str(tmp_path / "output"), str(seconds)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_it_waits_for_all_that_a_process_does(worker, tmp_path):
    process = worker(0.4)
    settle = Settling(process.pid, tmp_path)
    process.stdin.write("work\n")
    process.stdin.flush()
    settle()
    assert (tmp_path / "output").read_text() == "begun done"


def test_it_does_not_wait_for_ever_for_one_that_never_rests(worker, tmp_path):
    process = worker(3_600)
    settle = Settling(process.pid, tmp_path, never_waits=True)
    process.stdin.write("work\n")
    process.stdin.flush()
    settle()
    assert (tmp_path / "output").read_text() == "begun"
    assert sum(thread.cpu_ticks for thread in thread_states(process.pid).values()) > 0


def test_the_threads_of_a_process_and_of_its_children():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30  # only if it fails
        while len(thread_states(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(thread_states(process.pid)) == 2
        process.communicate(b"\n")
    assert thread_states(process.pid) == {}
