import asyncio
import json
import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from abench.errors import ParameterError, UnreachableError
from abench.plan.plan import Plan
from abench.runner import coordinator, preflight
from abench.runner.worker_handle import WorkerHandle


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


@pytest.mark.slow
async def test_a_run_that_starts_has_all_its_connections(serve, limited):
    server = await serve()
    arguments = ("-c", "20", "-w", "20", "-n", "200", "--json", "-", server.url)
    code, out, err = await limited(104, *arguments)  # 64 and two for each worker
    assert code == 0, err
    assert json.loads(out)["connections_standing"] == 20


@pytest.mark.slow
async def test_calibrate_leaves_out_what_needs_too_many_files(limited):
    code, out, err = await limited(256, "calibrate", "-t", "100ms", "--json")
    note, *error = err.splitlines()
    assert note.startswith("abench: note: skipped '1,000 connections': ")
    if code:  # a machine that did not run the server in time
        assert error == ["abench: error: -t: no response in this time; use a longer one"]
    else:
        assert list(json.loads(out)) == ["1 connections", "64 connections", "64, one a request"]
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


def test_an_unreachable_server_is_reported_with_host_and_port(closed_port):
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{closed_port}: connection refused"):
        preflight.resolve(Plan(url=f"http://127.0.0.1:{closed_port}/"))


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


class SilentWorker(WorkerHandle):
    """A worker that never reports."""

    def __init__(self):
        super().__init__()
        self.reports, self._reports_in = multiprocessing.Pipe(duplex=False)
        self.orders = -1
        self.is_suspended = self.is_killed = False

    def is_stopped(self):
        return self.is_suspended

    def kill(self):
        self.is_killed = True

    def end(self):
        """End as a worker does that has reported everything."""
        self.is_finished = True
        self._reports_in.close()


class Clock:
    """The clock of a coordinator, and its wait: time passes as the test says."""

    def __init__(self, monkeypatch):
        self.now = 1_000.0
        monkeypatch.setattr(coordinator, "time", SimpleNamespace(monotonic=lambda: self.now))

    def watch(self, group, seconds, step=coordinator.WATCH_INTERVAL_S):
        """Let time pass in steps; after each, the coordinator looks for silent workers."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            group._excuse_own_stall(self.now)
            group._kill_silent(self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def running(clock):
    """A run of 60 s with two silent workers, which has just started."""
    plan = Plan(url="http://h/", duration_s=60, workers=2, connections=2)
    with coordinator.WorkerGroup(plan, lambda _share, _others: SilentWorker()) as group:
        group._started_at = group._counting_since = group._last_wakeup = clock.now
        for handle in group._workers:
            handle.note_report(clock.now)
        yield group
        for handle in group._workers:
            handle.end()


LIMIT_S = coordinator.REPORT_TIMEOUT_S


def killed(group):
    return [handle.is_killed for handle in group._workers]


def test_a_worker_is_killed_when_it_has_been_silent_for_too_long(running, clock):
    clock.watch(running, LIMIT_S - 1)
    assert killed(running) == [False, False]
    running._workers[0].note_report(clock.now)
    clock.watch(running, 2)
    assert killed(running) == [False, True]


def test_a_suspended_worker_has_the_full_time_again_when_it_is_resumed(running, clock):
    suspended = running._workers[0]
    suspended.is_suspended = True
    clock.watch(running, 2 * LIMIT_S)
    suspended.is_suspended = False
    clock.watch(running, LIMIT_S - 1)
    assert killed(running) == [False, True]
    clock.watch(running, 2)
    assert killed(running) == [True, True]


def test_a_worker_that_is_resumed_just_before_its_time_is_up_has_it_again(running, clock):
    suspended = running._workers[0]
    suspended.is_suspended = True
    clock.watch(running, LIMIT_S - 1)
    suspended.is_suspended = False
    clock.watch(running, 2)
    assert killed(running) == [False, True]


def test_the_time_in_which_a_worker_was_suspended_is_not_one_in_which_it_reported(running, clock):
    suspended = running._workers[0]
    suspended.is_suspended = True
    clock.watch(running, 30)
    running._on_lost(suspended)
    assert running._summary.elapsed_ns == 0


def test_a_suspended_worker_is_not_waited_for_after_the_run(running, clock):
    for handle in running._workers:
        handle.is_suspended = True
    clock.watch(running, 60 + LIMIT_S)
    assert killed(running) == [False, False]
    clock.watch(running, LIMIT_S + 1)
    assert killed(running) == [True, True]


def test_a_stall_of_the_coordinator_is_no_silence_of_its_workers(running, clock):
    clock.watch(running, LIMIT_S - 1)
    clock.watch(running, 100, step=100)
    clock.watch(running, LIMIT_S - 1)
    assert killed(running) == [False, False]
    clock.watch(running, 2)
    assert killed(running) == [True, True]


def test_a_stall_just_before_the_look_for_silent_workers_is_one_too(running, clock, monkeypatch):
    """The time that is looked at is that of the wakeup, and the next one notices the stall."""
    stalls, look = [100.0], coordinator.WorkerGroup._kill_silent

    def wait(reports, seconds):
        clock.now += seconds
        if clock.now > 1_000 + 100 + LIMIT_S - 1:
            for handle in running._workers:
                handle.end()
            return reports
        return []

    def look_late(self, now):
        if stalls:
            clock.now += stalls.pop()
        look(self, now)

    monkeypatch.setattr(coordinator, "wait", wait)
    monkeypatch.setattr(coordinator.WorkerGroup, "_kill_silent", look_late)
    assert running.run(lambda _summary, _elapsed: None).lost == 0
    assert killed(running) == [False, False]


def children(pid):
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


SHORT_REPORT_TIMEOUT = """
import sys
from abench import cli
from abench.runner import coordinator
coordinator.REPORT_TIMEOUT_S = 2.5
cli.main(["-t", "5", "-w", "2", "-c", "4", sys.argv[1]])
"""


@pytest.mark.slow
@pytest.mark.parametrize("suspended", ["all", "workers", "parent"])
async def test_a_run_that_is_suspended_for_a_while_goes_on(
    serve, start_program, ok_response, suspended
):
    """Workers are silent for longer than the report timeout. The tests above do it without time."""
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
    assert suspended == "parent" or b"abench itself stalled for " in out, out


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
