import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from abench.errors import ParameterError, UnreachableError
from abench.plan.plan import Plan
from abench.runner import preflight


def test_too_few_open_files_are_reported_before_the_run(monkeypatch):
    monkeypatch.setattr(preflight.resource, "getrlimit", lambda _: (100, 100))
    with pytest.raises(ParameterError, match="1000 in 2 workers need 564 open files each"):
        preflight.raise_descriptor_limit(Plan(url="http://h/", connections=1000, workers=2))


@pytest.fixture
def limited():
    """Run abench with a limit of open files."""

    async def run(max_files, *arguments):
        process = await asyncio.create_subprocess_exec(
            *(
                "sh",
                "-c",
                f"ulimit -n {max_files}; exec {sys.executable} -m abench " + ' "$@"',
                "sh",
            ),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def test_workers_need_open_files_as_well(serve, limited):
    server = await serve()
    arguments = ("-c", "60", "-w", "60", "-n", "60", server.url)
    code, out, err = await limited(80, *arguments)
    assert (code, out) == (2, "")
    assert err == (
        "abench: error: --workers: 60 need 184 open files, the limit is 80 (ulimit -Hn)\n"
    )


async def test_a_run_that_starts_has_all_its_connections(serve, limited):
    server = await serve()
    arguments = ("-c", "20", "-w", "20", "-n", "200", "--json", "-", server.url)
    code, out, err = await limited(104, *arguments)  # 64 and two for each worker
    assert code == 0, err
    assert json.loads(out)["connections_standing"] == 20


async def test_calibrate_leaves_out_what_needs_too_many_files(limited):
    code, out, err = await limited(256, "calibrate", "-t", "100ms", "--json")
    assert code == 0
    assert list(json.loads(out)) == ["1 connections", "64 connections", "64, one a request"]
    assert err.startswith("abench: note: skipped '1,000 connections': ")
    assert err.count("\n") == 1
    code, out, err = await limited(50, "calibrate", "-t", "100ms", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_the_open_files_limit_is_raised_when_it_must_be(monkeypatch):
    raised = []
    monkeypatch.setattr(preflight.resource, "getrlimit", lambda _: (100, 4096))
    monkeypatch.setattr(preflight.resource, "setrlimit", lambda _, limits: raised.append(limits))
    preflight.raise_descriptor_limit(Plan(url="http://h/", connections=10, workers=1))
    assert raised == []
    preflight.raise_descriptor_limit(Plan(url="http://h/", connections=1000, workers=1))
    assert raised == [(4096, 4096)]


def test_the_address_that_accepts_is_the_one_loaded():
    with socket.create_server(("127.0.0.1", 0)) as server:
        plan = Plan(url=f"http://localhost:{server.getsockname()[1]}/")
        reached = preflight.resolve(plan)
    assert reached.address == "127.0.0.1"
    assert reached.target == plan.target


def test_an_unreachable_server_is_reported_with_host_and_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}: connection refused"):
        preflight.resolve(Plan(url=f"http://127.0.0.1:{port}/"))


@pytest.fixture
def python(start_program):
    """Run a program with warnings as errors; return its exit code and output."""

    async def run(program, *arguments):
        process = await start_program(code=program, arguments=arguments, warnings="error")
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


@pytest.fixture
def new_python():
    """Run a program in a new Python, which has imported nothing of abench."""

    async def run(program, *arguments):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", program, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def test_the_python_interface(serve, python):
    server = await serve()
    program = """
import abench, json, sys
report = abench.run(abench.Plan(url=sys.argv[1], connections=4, requests=20, workers=2))
json.dump([report.succeeded, report.failed, report.service.percentiles["p99"]], sys.stdout)
"""
    code, out, err = await python(program, server.url)
    assert (code, err) == (0, "")
    succeeded, failed, p99 = json.loads(out)
    assert (succeeded, failed) == (20, 0)
    assert p99 > 0


async def test_a_run_leaves_no_process_and_no_descriptor_behind(serve, python):
    server = await serve()
    program = """
import abench, os, sys
plan = abench.Plan(url=sys.argv[1], requests=5, workers=3)
abench.run(plan)
before = len(os.listdir("/proc/self/fd"))
abench.run(plan)
print(len(os.listdir("/proc/self/fd")) - before)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""
    assert await python(program, server.url) == (0, "0\nno child\n", "")


async def test_an_error_in_a_worker_is_reported_and_not_hidden(serve, python):
    server = await serve()
    program = """
import sys
from abench import cli
from abench.client.connection import Connection
def fail(self, data): raise KeyError("lost")
Connection._parse = fail
cli.main(["-t", "30", "-w", "1", sys.argv[1]])
"""
    code, out, err = await python(program, server.url)
    assert code == 3
    assert "abench failed: KeyError: 'lost'" in out
    assert "Traceback" not in err


async def test_a_worker_that_falls_silent_does_not_delay_the_end(serve, python):
    server = await serve()
    program = """
import sys, os, signal
from abench import cli
from abench.runner import coordinator, worker
coordinator.REPORT_TIMEOUT_S = 2.5
def stall(self): os.kill(os.getpid(), signal.SIGSTOP)
worker.WorkerRun._report = stall
cli.main(["-t", "0.4", "-w", "2", sys.argv[1]])
"""
    code, out, err = await python(program, server.url)
    assert (code, err) == (3, "")
    assert "2 workers of 2 died" in out


def children(pid):
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


SHORT_REPORT_TIMEOUT = """
import sys
from abench import cli
from abench.runner import coordinator
coordinator.REPORT_TIMEOUT_S = 2.5
cli.main(["-t", "5", "-w", "2", "-c", "4", sys.argv[1]])
"""


@pytest.mark.parametrize("suspended", ["all", "workers", "parent"])
async def test_a_run_that_is_suspended_for_a_while_goes_on(
    serve, start_program, ok_response, suspended
):
    """Workers are silent for longer than the report timeout."""
    received = asyncio.Event()

    def script(peer):
        received.set()
        peer.send(ok_response)

    server = await serve(script)
    process = await start_program(
        code=SHORT_REPORT_TIMEOUT, arguments=[server.url], warnings="error"
    )
    await received.wait()
    workers = children(process.pid)
    assert len(workers) == 2
    pids = {"all": [process.pid, *workers], "workers": workers, "parent": [process.pid]}[suspended]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(3)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b""), out
    assert b"died" not in out
    assert (b"abench itself stalled for " in out) == (suspended != "parent"), out


SUSPENDED_AT_THE_CHECK = """
import sys, time
from abench import cli
from abench.runner import coordinator
coordinator.REPORT_TIMEOUT_S = 2.5
check, stalls = coordinator.WorkerGroup._kill_silent, [3.0]
def check_late(self, now):
    if self._started_at and stalls:
        time.sleep(stalls.pop())
    check(self, now)
coordinator.WorkerGroup._kill_silent = check_late
cli.main(["-t", "5", "-w", "2", "-c", "4", sys.argv[1]])
assert not stalls
"""


async def test_a_parent_may_be_suspended_just_before_it_looks_for_silent_workers(serve, python):
    server = await serve()
    code, out, err = await python(SUSPENDED_AT_THE_CHECK, server.url)
    assert (code, err) == (0, ""), out
    assert "died" not in out


async def test_workers_end_with_their_parent(serve, python):
    server = await serve()
    program = """
import os, signal, sys
from abench.plan.plan import Plan
from abench.runner import coordinator
def die(summary, elapsed):
    if elapsed:
        os.kill(os.getpid(), signal.SIGKILL)
coordinator.run(Plan(url=sys.argv[1], duration_s=600, workers=2, connections=4), die)
"""
    code, _, err = await python(program, server.url)  # it ends when the last worker has ended
    assert (code, err) == (-9, "")


async def test_without_uvloop_there_is_one_clear_line_and_a_run(serve, new_python):
    server = await serve()
    program = """
import sys
sys.modules["uvloop"] = None
from abench import cli
cli.main(["-n", "10", sys.argv[1]])
"""
    code, out, err = await new_python(program, server.url)
    assert code == 0
    assert "10 succeeded" in out
    assert err.startswith("abench: uvloop is not installed")
    assert err.count("\n") == 1


async def test_to_import_abench_costs_nothing(new_python):
    program = "import sys, abench; print(sorted({'asyncio', 'rich', 'typer'} & set(sys.modules)))"
    assert await new_python(program) == (0, "[]\n", "")
