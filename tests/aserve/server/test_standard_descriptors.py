"""The program with closed standard descriptors, as some service managers start it."""

import os
import re
import signal
import socket
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from tests.aserve.test_cli import _port_of, aserve, get
from tests.marks import slow, slow_except

CLOSED = [numbers for size in (1, 2, 3) for numbers in combinations(range(3), size)]
LISTENING = ("--port", "0")


def start(directory, closed, *options):
    """Run aserve with some of its standard descriptors closed by a shell, as it does with >&-."""
    redirections = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    command = (sys.executable, "-m", "aserve", str(directory), *options)
    return subprocess.Popen(
        ("sh", "-c", f'exec "$@" {redirections}', "sh", *command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "options", slow_except([(), ("--workers", "2"), ("--model", "epoll")], ()), ids=str
)
@pytest.mark.parametrize("closed", slow_except(CLOSED, (0, 1, 2)), ids=str)
def test_dev_null_replaces_each_closed_descriptor(directory, closed, options):
    with start(directory, closed, *LISTENING, *options) as process:
        port = _port_of(process)
        for number in closed:
            assert os.readlink(f"/proc/{process.pid}/fd/{number}") == "/dev/null"
        assert get(f"http://127.0.0.1:{port}/a.txt") == (200, b"alpha")
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=60)
        assert (process.returncode, stdout) == (0, "")


@pytest.mark.parametrize("target", [slow("-"), "/dev/stdout"])
def test_a_log_on_a_closed_standard_output(directory, target):
    with aserve(directory, *LISTENING, "--access-log", target, closed=[1]) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    reason = f"'{target}' is standard output, which is closed"
    assert stderr == f"aserve: error: --access-log: {reason}\n"


@pytest.mark.parametrize("options", [(), ("--svg", "-")], ids=str)
def test_explain_on_a_closed_standard_output(directory, options):
    with aserve("explain", directory, "/a.txt", *options, closed=[1]) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    reason = "writes to standard output, which is closed"
    assert stderr == f"aserve: error: explain: {reason}\n"


def test_a_log_on_a_read_only_standard_output(directory):
    options = (*LISTENING, "--access-log", "-")
    with (
        open(os.devnull, "rb") as read_only,
        aserve(directory, *options, stdout=read_only.fileno()) as process,
    ):
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert stderr.startswith("aserve: error: --access-log: ")


def test_an_error_is_not_printed_to_standard_output(tmp_path):
    with aserve(tmp_path / "missing", closed=[2]) as process:
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 2


@pytest.mark.parametrize("target", ["/dev/stdout", slow("/dev/stderr")])
def test_a_log_on_an_output_that_cannot_be_opened_by_name(directory, target):
    """A socket cannot be opened by name, nor can the pipe of another user."""
    log, process_side = socket.socketpair()
    options = (*LISTENING, "--quiet", "--access-log", target)
    outputs = {target.removeprefix("/dev/"): process_side.fileno()}
    with aserve(directory, *options, **outputs) as process, log, process_side:
        get(f"http://127.0.0.1:{_port_of(process)}/a.txt")
        assert b'"GET /a.txt HTTP/1.1" 200 5 ' in log.recv(1_000)
        process.terminate()
        assert process.wait(60) == 0


HEALTHCHECK = re.compile(r'^HEALTHCHECK .*\\\n *CMD \["python3", "-c", "(.*)"\]$', re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("has_index", [True, False])
def test_the_image_is_healthy_whatever_the_response(directory, has_index):
    if not has_index:
        (directory / "index.html").unlink()
    dockerfile = Path(__file__).parents[3] / "Dockerfile"
    program = HEALTHCHECK.search(dockerfile.read_text())[1]
    with start(directory, [], *LISTENING, "--quiet") as process:
        check = program.replace("8000", str(_port_of(process)))
        assert (
            subprocess.run([sys.executable, "-c", check], timeout=30, check=False).returncode == 0
        )
        process.terminate()
        process.communicate()
    completed = subprocess.run(
        [sys.executable, "-c", check], timeout=30, check=False, capture_output=True
    )
    assert completed.returncode != 0
