"""A run over the nodes of a real scheduler of dask.distributed, on this machine."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.cli import bench
from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.run import remote_worker, worker
from abench.stats.histogram import Histogram
from abench.stats.summary import Summary

pytest.importorskip("distributed", reason="needs the extra: pip install '.[fleet]'")

PATIENCE = 60.0
# What waits for a word of the other side waits 6 s here, and not 15.
HASTY = (
    "from abench import fleet; fleet.SILENCE_S = 6; import runpy; "
    "runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Engine:
    """A scheduler and what it has for nodes, each a process."""

    scheduler: subprocess.Popen[bytes]
    address: str = ""
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)


def start(module: str, *words: str) -> subprocess.Popen[bytes]:
    program = HASTY.format(f"distributed.cli.{module}")
    command = [sys.executable, "-c", program, "--no-dashboard", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def started(folder: Path) -> Iterator[Engine]:
    """Start a scheduler and two nodes, and wait for them to be there."""
    import distributed  # noqa: PLC0415 - a second and more

    file = folder / "scheduler.json"
    with ExitStack() as stack:
        words = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        scheduler = start("dask_scheduler", *words)
        stack.callback(end, scheduler)
        engine = Engine(scheduler)
        for _ in range(2):
            words = ("--scheduler-file", str(file), "--nthreads", "4", "--no-nanny")
            node = start("dask_worker", *words, "--host", "127.0.0.1")
            stack.callback(end, node)
            engine.nodes.append(node)
        # Clients and nodes wait for the file themselves, and for each other.
        with distributed.Client(scheduler_file=str(file), timeout=PATIENCE) as client:
            client.wait_for_workers(2, timeout=PATIENCE)
        engine.address = json.loads(Path(file).read_text())["address"].removeprefix("tcp://")
        yield engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A scheduler with two nodes that are there."""
    with started(tmp_path_factory.mktemp("dask")) as engine:
        yield engine


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Engine]:
    """The same, for one test alone."""
    with started(tmp_path) as engine:
        yield engine


async def busy_server(serve, number):
    """Start a server; return it, and what is set once it was asked for more than `number`."""
    reached = asyncio.Event()

    def script(peer):
        peer.send(OK)
        if len(server.requests) > number:
            reached.set()

    server = await serve(script)
    return server, reached


async def test_the_nodes_shares_are_the_whole(engine, serve, abench):
    server = await serve()
    ran = await abench("--dask", engine.address, "-n", "1001", "-c", "7", "--json", "-", server.url)
    assert ran.code == 0, ran.err
    document = ran.json
    assert document["workers"] == 2
    assert document["requests"] == {
        "total": 1001,
        "succeeded": 1001,
        "failed": 0,
        "unfinished": 0,
        "retried": 0,
        "error_share": 0.0,
    }
    assert len(server.requests) == 1001
    # Without loss: the merged distribution has every one of them.
    merged = Histogram.decode(document["histograms"]["service"])
    assert merged.count == 1001
    assert sum(second["succeeded"] for second in document["series"]) == 1001
    assert len(document["client"]["cpu_per_worker"]) == 2
    assert document["kernel"] is None  # this machine's would say nothing of the nodes'
    assert 0 < document["start_within_s"] < document["duration_s"] + PATIENCE


async def test_conditions_are_judged_on_the_whole(engine, serve, abench):
    server = await serve()
    words = ("-t", "0.5", "-c", "4", "--fail-if", "pages>1", "--quiet")
    ran = await abench("--dask", engine.address, *words, server.url)
    assert ran.code == 4
    assert "pages>1" in ran.out


async def test_what_failed_first_is_told_wherever_it_was(engine, serve, abench):
    server = await serve(b"HTTP/1.1 301 X\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
    words = ("-n", "20", "-c", "4", "--json", "-", "--expect", "2xx")
    document = (await abench("--dask", engine.address, *words, server.url)).json
    (one,) = document["failure_samples"]
    assert (one["kind"], one["detail"], one["message"]) == ("status", "301", "HTTP/1.1 301 X to /x")
    assert document["redirect"] == {"count": 20, "status": 301, "location": "/x"}


async def test_a_server_that_no_node_reaches_is_told(engine, abench, unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    ran = await abench("--dask", engine.address, "-t", "1", url)
    assert (ran.code, ran.out) == (1, "")
    assert (
        ran.err == f"abench: error: cannot reach 127.0.0.1:{unused_tcp_port}: connection refused\n"
    )


@pytest.mark.parametrize(
    "scheduler", ["", "x", ":1", "a..b:1", "h:0", "h:99999", "http://h:1", "[::1]", "h:1/x"]
)
def test_a_scheduler_that_is_none_is_refused(scheduler, refused):
    ran = refused("--dask", scheduler, "http://127.0.0.1/")
    assert ran.code == 2
    assert ran.err.startswith("abench: error: --dask: ")
    assert ran.err.count("\n") == 1


async def test_a_signal_ends_it_with_its_report(engine, serve, start_abench):
    server, enough = await busy_server(serve, 100)
    loader = await start_abench("--dask", engine.address, "-t", "60", "-c", "4", server.url)
    await enough.wait()
    loader.send_signal(signal.SIGINT)
    out, _ = await loader.communicate()
    assert loader.returncode == 130
    assert b"Stopped by a signal" in out


async def test_a_node_that_is_lost_is_said_and_the_other_is_counted(engine, serve, start_abench):
    server, both = await busy_server(serve, 100)
    words = ("-t", "3", "-c", "4", "--json", "-", server.url)
    loader = await start_abench("--dask", engine.address, *words)
    await both.wait()
    end(engine.nodes[0])
    out, _ = await loader.communicate()
    document = json.loads(out)
    assert loader.returncode == 3
    assert document["workers_lost"] == 1
    assert document["requests"]["succeeded"] > 100


async def test_a_scheduler_that_dies_leaves_the_samples_there_were(mortal, serve):
    server, enough = await busy_server(serve, 2_000)
    words = ("-t", "60", "-R", "1000", "-c", "4", "--json", "-", server.url)
    loader = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HASTY.format("abench"), "--dask", mortal.address, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await enough.wait()
    end(mortal.scheduler)
    out, err = await loader.communicate()
    assert loader.returncode == 3
    assert "Traceback" not in err.decode()
    document = json.loads(out)
    assert document["workers_lost"] == 2
    # What a share sent in its last fifths of a second may have been on its way.
    assert document["requests"]["succeeded"] >= 1_000
    assert document["duration_s"] < 60


async def test_nodes_give_up_a_share_whose_owner_has_died(mortal, serve, start_abench):
    async def deserted(reached):
        """Kill a loader in the middle of its run as soon as `reached` holds for its server."""
        due = asyncio.Event()

        def look(_peer):
            if reached(server):
                due.set()

        server = await serve(lambda peer: (peer.send(OK), look(peer)), look)
        words = ("-t", "600", "-c", "4", server.url)
        loader = await start_abench("--dask", mortal.address, *words)
        await due.wait()
        loader.kill()
        await loader.communicate()
        await server.deserted.wait()

    # The first connection is the loader's own look; the second is a node's, which is not ready yet.
    await asyncio.read_environment(
        deserted(lambda server: server.connections == 2),
        deserted(lambda server: len(server.requests) > 100),
    )
    assert [node.poll() for node in mortal.nodes] == [None, None]


async def test_what_is_no_scheduler_is_one_line(abench):
    ran = await abench("--dask", "here", "http://127.0.0.1:1/")
    assert ran.code == 2
    assert ran.err == "abench: error: --dask: 'here' is not like host:port\n"


def test_more_than_there_are_nodes_is_said(engine, monkeypatch):
    from abench.run import dask_cluster  # noqa: PLC0415 - it needs the extra

    monkeypatch.setattr(dask_cluster, "_CONNECT_TIMEOUT_S", 2)
    monkeypatch.setattr(
        dask_cluster, "_silence_loggers", bool
    )  # which would last for all tests of this process
    with pytest.raises(ParameterError, match=r"^--workers: 9 wanted, and \d nodes are there"):
        dask_cluster.Cluster(engine.address, 9)


def test_without_the_extra_it_is_said_how_to_have_it(monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda _name: None)
    with pytest.raises(ParameterError, match=r"^--dask: .*pip install distributed"):
        bench._plan_on_cluster("127.0.0.1:8786", Plan(url="http://h/"))


def test_a_plan_goes_whole_and_what_is_behind_it_is_left():
    plan = Plan(url="http://h/{n}", rate=3.0, body=b"x")
    reading, writing = os.pipe()
    os.write(writing, remote_worker.pack_plan(plan) + b"gc")
    assert remote_worker.read_plan(reading) == plan
    assert os.read(reading, 2) == b"gc"
    os.close(writing)
    with pytest.raises(EOFError):
        remote_worker.read_plan(reading)
    os.close(reading)


@given(st.lists(st.integers(0, 10**9)), st.integers(0, 100))
def test_messages_survive_their_way(values, number):
    summary = Summary(service=Histogram.of(values), unfinished=number)
    for message in (
        summary,
        worker.WarmupUpdate(summary),
        worker.Finished(summary),
        worker.Ready(number),
        worker.Started(),
        worker.WorkerError("why"),
    ):
        line = remote_worker.encode(message)
        assert "\n" not in line
        assert remote_worker.decode(line) == message
