"""The program abench as shells start it: in the background, and without standard descriptors."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.marks import slow_except


@pytest.fixture
def silent():
    """A listener that never responds: a run lasts until it is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def accept_request(listener):
    """Return the first connection with a request: before it there is a probe without one."""
    connection, _ = listener.accept()
    while not connection.recv(100):
        connection.close()
        connection, _ = listener.accept()
    return connection


def start(listener, *options, prefix=(), **others):
    port = listener.getsockname()[1]
    command = (sys.executable, "-m", "abench", "-c1", "-w1", *options, f"http://127.0.0.1:{port}/")
    return subprocess.Popen((*prefix, *command), **others)


def test_ctrl_c_does_not_stop_a_run_in_the_background(silent, abench_server):
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    program = {
        "module": "abench",
        "arguments": ["-c1", "-w1", "-t60", url],
        "ignored_signals": [signal.SIGINT],  # as sh does for a script's `abench ... &`
    }
    with closing(abench_server.start_blocking(program)) as process:
        connection = accept_request(silent)
        process.send_signal(signal.SIGINT)
        mask = Path(f"/proc/{process.pid}/status").read_text().partition("SigIgn:")[2].split()[0]
        assert int(mask, 16) >> (signal.SIGINT - 1) & 1
        process.terminate()
        connection.close()
        assert process.wait(30) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    "closed", slow_except(["<&-", "<&- >&-", "<&- >&- 2>&-", "2>&-"], "<&- >&- 2>&-")
)
def test_no_connection_becomes_a_closed_standard_descriptor(silent, closed):
    prefix = ("sh", "-c", f'exec "$@" {closed}', "sh")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with start(silent, "-t60", prefix=prefix, **quiet) as process:
        connection = accept_request(silent)
        for number in range(3):
            assert not os.readlink(f"/proc/{process.pid}/fd/{number}").startswith("socket:")
        process.kill()
        connection.close()


def test_a_run_imports_no_form_of_report_but_the_text(silent):
    """ADR 50. Counted in modules: what a start costs depends on the machine."""
    port = silent.getsockname()[1]
    program = (sys.executable, "-X", "importtime", "-m", "abench")
    command = (*program, "-n1", "-c1", "-w1", f"http://127.0.0.1:{port}/")
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process,
        accept_request(silent) as connection,
    ):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        printed, told = process.communicate(timeout=60)
    imported = set(re.findall(r"([\w.]+)$", told, re.MULTILINE))
    assert process.returncode == 0
    assert "1 succeeded" in printed
    assert {"abench.report.text", "abench.runner.coordinator"} <= imported
    forms = ("document", "html", "live", "plots", "svg", "tables")
    forms += ("annotations", "history", "junit", "markdown", "metrics", "otlp", "prometheus")
    unused = {f"abench.report.{name}" for name in forms} | {"abench.runner.dask_cluster"}
    unused |= {"abench.runner.environment", "abench.stats.comparison", "abench.stats.thresholds"}
    unused |= {"opentelemetry", "prometheus_client"}
    unused |= {"importlib.metadata", "argparse", "secrets"}
    unused |= {"matplotlib", "distributed", "pydantic", "rich.progress", "rich._emoji_codes"}
    assert imported & unused == set()
