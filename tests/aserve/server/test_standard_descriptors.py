"""The program where its standard descriptors are closed, as some service managers start it."""

import os
import re
import signal
import socket
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from tests.aserve.test_cli import _port_of, get

CLOSED = [numbers for size in (1, 2, 3) for numbers in combinations(range(3), size)]
LISTENING = ("--port", "0")


def start(folder, closed, *options):
    """Run aserve with some of its descriptors closed, as a shell does with >&-."""
    redirections = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    command = (sys.executable, "-m", "aserve", str(folder), *options)
    return subprocess.Popen(
        ("sh", "-c", f'exec "$@" {redirections}', "sh", *command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("way", [(), ("--workers", "2"), ("--model", "epoll")], ids=str)
@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_dev_null_takes_the_place_of_what_is_closed(folder, closed, way):
    with start(folder, closed, *LISTENING, *way) as process:
        port = _port_of(process)
        for number in closed:
            assert os.readlink(f"/proc/{process.pid}/fd/{number}") == "/dev/null"
        assert get(f"http://127.0.0.1:{port}/a.txt") == (200, b"alpha")
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=30)
        assert (process.returncode, stdout) == (0, "")


@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
def test_a_log_on_a_standard_output_that_is_closed(folder, target):
    with start(folder, [1], *LISTENING, "--access-log", target) as process:
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 2
    why = f"'{target}' is standard output, which is closed"
    assert stderr == f"aserve: error: --access-log: {why}\n"


@pytest.mark.parametrize("options", [(), ("--svg", "-")], ids=str)
def test_an_explanation_on_a_standard_output_that_is_closed(folder, options):
    command = (sys.executable, "-m", "aserve", "explain", str(folder), "/a.txt", *options)
    done = subprocess.run(
        ("sh", "-c", 'exec "$@" >&-', "sh", *command),
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    why = "writes to standard output, which is closed"
    assert done.stderr == f"aserve: error: explain: {why}\n"


def test_a_log_on_a_standard_output_that_can_only_be_read(folder):
    done = subprocess.run(
        [sys.executable, "-m", "aserve", folder, *LISTENING, "--access-log", "-"],
        stdout=os.open("/dev/null", os.O_RDONLY),
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("aserve: error: --access-log: ")


def test_an_error_is_not_told_to_standard_output(tmp_path):
    with start(tmp_path / "missing", [2]) as process:
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 2


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/stderr"])
def test_a_log_on_an_output_that_may_not_be_opened_by_name(folder, target):
    """A socket cannot be, nor can the pipe of another user."""
    ours, its = socket.socketpair()
    command = [sys.executable, "-m", "aserve", folder, *LISTENING, "--quiet"]
    outputs = {target.removeprefix("/dev/"): its}
    with subprocess.Popen([*command, "--access-log", target], **outputs) as process, ours, its:
        get(f"http://127.0.0.1:{_port_of(process)}/a.txt")
        assert b'"GET /a.txt HTTP/1.1" 200 5 ' in ours.recv(1_000)
        process.terminate()
        assert process.wait(30) == 0


HEALTHCHECK = re.compile(r'^HEALTHCHECK .*\\\n *CMD \["python3", "-c", "(.*)"\]$', re.MULTILINE)


@pytest.mark.parametrize("home", [True, False])
def test_the_image_is_healthy_whatever_is_answered(folder, home):
    if not home:
        (folder / "index.html").unlink()
    dockerfile = Path(__file__).parents[3] / "Dockerfile"
    program = HEALTHCHECK.search(dockerfile.read_text())[1]
    with start(folder, [], *LISTENING, "--quiet") as process:
        check = program.replace("8000", str(_port_of(process)))
        assert (
            subprocess.run([sys.executable, "-c", check], timeout=30, check=False).returncode == 0
        )
        process.terminate()
        process.communicate()
    done = subprocess.run(
        [sys.executable, "-c", check], timeout=30, check=False, capture_output=True
    )
    assert done.returncode != 0
