"""A run over the nodes of a real dask.distributed scheduler, on this machine."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.cli import bench
from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.runner import remote_worker, worker
from abench.stats.histogram import Histogram
from abench.stats.summary import Summary

# Found and not imported: each process that collects tests would take a second for it.
pytestmark = pytest.mark.skipif(
    find_spec("distributed") is None, reason="needs the extra: pip install '.[fleet]'"
)

START_TIMEOUT_S = 60.0
# Each side waits for reports and orders of the other for 6 s here, and not 15.
SHORT_REPORT_TIMEOUT = (
    "from abench.runner import coordinator; coordinator.REPORT_TIMEOUT_S = 6; import runpy; "
    "runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class DaskCluster:
    """A scheduler and its nodes, each a process."""

    scheduler: subprocess.Popen[bytes]
    address: str = ""
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    program = SHORT_REPORT_TIMEOUT.format(f"distributed.cli.{module}")
    command = [sys.executable, "-c", program, "--no-dashboard", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def start_cluster(directory: Path) -> Iterator[DaskCluster]:
    """Start a scheduler and two nodes, and wait until they are ready."""
    import distributed  # noqa: PLC0415 - a second and more

    file = directory / "scheduler.json"
    with ExitStack() as stack:
        arguments = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        scheduler = start("dask_scheduler", *arguments)
        stack.callback(kill, scheduler)
        cluster = DaskCluster(scheduler)
        for _ in range(2):
            arguments = ("--scheduler-file", str(file), "--nthreads", "4", "--no-nanny")
            node = start("dask_worker", *arguments, "--host", "127.0.0.1")
            stack.callback(kill, node)
            cluster.nodes.append(node)
        # Clients and nodes wait for the file themselves, and for each other.
        with distributed.Client(scheduler_file=str(file), timeout=START_TIMEOUT_S) as client:
            client.wait_for_workers(2, timeout=START_TIMEOUT_S)
        cluster.address = json.loads(Path(file).read_text())["address"].removeprefix("tcp://")
        yield cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler with two nodes that are ready."""
    with start_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """The same for one test alone, which may kill it."""
    with start_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def cluster_in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a scheduler with two nodes, none of them a process."""
    import distributed  # noqa: PLC0415 - a second and more

    from abench.runner import dask_cluster  # noqa: PLC0415 - it needs the extra

    # It would affect all later tests of this process.
    monkeypatch.setattr(dask_cluster, "_silence_loggers", bool)
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=4,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
    ) as cluster:
        yield cluster.scheduler_address.removeprefix("tcp://")


async def busy_server(serve, number):
    """Start a server; return it, and an event that more than `number` requests set."""
    reached = asyncio.Event()

    def script(peer):
        peer.send(OK)
        if len(server.requests) > number:
            reached.set()

    server = await serve(script)
    return server, reached


async def test_a_run_over_nodes(cluster_in_this_process, serve, monkeypatch):
    from abench.runner import dask_cluster  # noqa: PLC0415 - it needs the extra

    server = await serve()
    cluster = await asyncio.to_thread(dask_cluster.Cluster, cluster_in_this_process, None)
    plan = Plan(url=server.url, requests=101, connections=7)
    summary = await asyncio.to_thread(cluster.run, plan)
    assert summary.service.count == len(server.requests) == 101
    assert summary.open_connections == 7
    assert summary.lost == 0
    # Nodes that do not exist are not waited for.
    monkeypatch.setattr(dask_cluster.distributed.Client, "wait_for_workers", raise_timeout)
    with pytest.raises(ParameterError, match=r"^--workers: 9 wanted, but there are 2 nodes"):
        await asyncio.to_thread(dask_cluster.Cluster, cluster_in_this_process, 9)


def raise_timeout(*_args, **_options):
    raise TimeoutError


@pytest.mark.slow
async def test_the_shares_of_the_nodes_are_the_whole(cluster, serve, abench):
    server = await serve()
    ran = await abench(
        "--dask", cluster.address, "-n", "1001", "-c", "7", "--json", "-", server.url
    )
    assert ran.code == 0, ran.err
    document = ran.json
    assert document["workers"] == 2
    assert document["requests"] == {
        "total": 1001,
        "succeeded": 1001,
        "failed": 0,
        "unfinished": 0,
        "retried": 0,
        "redirects_followed": 0,
        "error_share": 0.0,
    }
    assert len(server.requests) == 1001
    # Without loss: the merged distribution has every request.
    merged = Histogram.decode(document["histograms"]["service"])
    assert merged.count == 1001
    assert sum(second["succeeded"] for second in document["series"]) == 1001
    assert len(document["client"]["cpu_per_worker"]) == 2
    assert (
        document["kernel"] is None
    )  # the counters of this machine would tell nothing about the nodes
    assert 0 < document["start_within_s"] < document["duration_s"] + START_TIMEOUT_S


@pytest.mark.slow
async def test_thresholds_apply_to_the_whole(cluster, serve, abench):
    server = await serve()
    arguments = ("-t", "0.5", "-c", "4", "--fail-if", "pages>1", "--quiet")
    ran = await abench("--dask", cluster.address, *arguments, server.url)
    assert ran.code == 4
    assert "pages>1" in ran.out


@pytest.mark.slow
async def test_the_first_failure_is_reported_from_any_node(cluster, serve, abench):
    server = await serve(b"HTTP/1.1 301 X\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
    arguments = ("-n", "20", "-c", "4", "--json", "-", "--expect", "2xx")
    document = (await abench("--dask", cluster.address, *arguments, server.url)).json
    (sample,) = document["failure_samples"]
    assert (sample["kind"], sample["detail"], sample["message"]) == (
        "status",
        "301",
        "HTTP/1.1 301 X to /x",
    )
    assert document["redirect"] == {"count": 20, "status": 301, "location": "/x"}


@pytest.mark.slow
async def test_a_server_that_no_node_reaches_is_reported(cluster, abench, closed_port):
    url = f"http://127.0.0.1:{closed_port}/"
    ran = await abench("--dask", cluster.address, "-t", "1", url)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"abench: error: cannot reach 127.0.0.1:{closed_port}: connection refused\n"


@pytest.mark.parametrize(
    "scheduler", ["", "x", ":1", "a..b:1", "h:0", "h:99999", "http://h:1", "[::1]", "h:1/x"]
)
def test_an_invalid_scheduler_is_refused(scheduler, refused):
    ran = refused("--dask", scheduler, "http://127.0.0.1/")
    assert ran.code == 2
    assert ran.err.startswith("abench: error: --dask: ")
    assert ran.err.count("\n") == 1


@pytest.mark.slow
async def test_a_signal_ends_a_run_with_its_report(cluster, serve, start_abench):
    server, enough = await busy_server(serve, 100)
    loader = await start_abench("--dask", cluster.address, "-t", "60", "-c", "4", server.url)
    await enough.wait()
    loader.send_signal(signal.SIGINT)
    out, _ = await loader.communicate()
    assert loader.returncode == 130
    assert b"Stopped by a signal" in out


@pytest.mark.slow
async def test_a_lost_node_is_reported_and_the_other_is_counted(cluster, serve, start_abench):
    server, both = await busy_server(serve, 100)
    arguments = ("-t", "3", "-c", "4", "--json", "-", server.url)
    loader = await start_abench("--dask", cluster.address, *arguments)
    await both.wait()
    kill(cluster.nodes[0])
    out, _ = await loader.communicate()
    document = json.loads(out)
    assert loader.returncode == 3
    assert document["workers_lost"] == 1
    assert document["requests"]["succeeded"] > 100


@pytest.mark.slow
async def test_a_scheduler_that_dies_leaves_the_samples_before(own_cluster, serve):
    server, enough = await busy_server(serve, 2_000)
    arguments = ("-t", "60", "-R", "1000", "-c", "4", "--json", "-", server.url)
    loader = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-c",
            SHORT_REPORT_TIMEOUT.format("abench"),
            "--dask",
            own_cluster.address,
            *arguments,
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await enough.wait()
    kill(own_cluster.scheduler)
    out, err = await loader.communicate()
    assert loader.returncode == 3
    assert "Traceback" not in err.decode()
    document = json.loads(out)
    assert document["workers_lost"] == 2
    # The reports of the last fifths of a second may have been on their way.
    assert document["requests"]["succeeded"] >= 1_000
    assert document["duration_s"] < 60


@pytest.mark.slow
async def test_nodes_stop_a_share_whose_coordinator_has_died(own_cluster, serve, start_abench):
    async def kill_loader_when(reached):
        """Kill a loader in its run as soon as `reached` holds for its server."""
        is_due = asyncio.Event()

        def check(_peer):
            if reached(server):
                is_due.set()

        server = await serve(lambda peer: (peer.send(OK), check(peer)), check)
        arguments = ("-t", "600", "-c", "4", server.url)
        loader = await start_abench("--dask", own_cluster.address, *arguments)
        await is_due.wait()
        loader.kill()
        await loader.communicate()
        await server.all_closed.wait()

    # The first connection is the probe of the loader, the second is of a node that is not ready.
    await asyncio.gather(
        kill_loader_when(lambda server: server.connections == 2),
        kill_loader_when(lambda server: len(server.requests) > 100),
    )
    assert [node.poll() for node in own_cluster.nodes] == [None, None]


async def test_an_invalid_scheduler_is_reported_in_one_line(abench):
    ran = await abench("--dask", "here", "http://127.0.0.1:1/")
    assert ran.code == 2
    assert ran.err == "abench: error: --dask: 'here' is not like host:port\n"


def test_without_the_extra_the_error_tells_how_to_install_it(monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda _name: None)
    with pytest.raises(ParameterError, match=r"^--dask: .*pip install distributed"):
        bench.plan_on_cluster("127.0.0.1:8786", Plan(url="http://h/"))


@pytest.mark.parametrize(
    ("status", "version", "problem"),
    [
        ("finished", "1.2", ""),
        ("finished", "1.1", "has abench 1.1, and this is 1.2"),
        ("error", None, "has no abench: install it on every node"),
        ("pending", None, "did not answer for 10 s: it is busy, or hangs"),
    ],
)
def test_what_is_wrong_with_a_node_is_said_by_its_answer(status, version, problem):
    from abench.runner import dask_cluster  # noqa: PLC0415 - it needs the extra

    answer = SimpleNamespace(status=status, result=lambda: version)
    assert dask_cluster._problem(answer, "1.2") == problem


def test_a_plan_is_read_and_not_a_byte_more():
    plan = Plan(url="http://h/{n}", rate=3.0, body=b"x")
    read_end, write_end = os.pipe()
    os.write(write_end, remote_worker.pack_plan(plan) + b"gc")
    assert remote_worker.read_plan(read_end) == plan
    assert os.read(read_end, 2) == b"gc"
    os.close(write_end)
    with pytest.raises(EOFError):
        remote_worker.read_plan(read_end)
    os.close(read_end)


@given(st.lists(st.integers(0, 10**9)), st.integers(0, 100))
def test_messages_survive_encoding(values, number):
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


@pytest.mark.slow
async def test_a_scenario_travels_to_the_nodes(cluster, serve, abench, tmp_path):
    server = await serve(OK)
    (tmp_path / "names.csv").write_text("name\none\ntwo\nthree\nfour\n")
    (tmp_path / "shop.py").write_text(
        "from abench import Rows, User\n"
        "names = Rows('names.csv')\n"
        "async def visit(user: User) -> None:\n"
        "    await user.get('/' + user.take(names)['name'])\n"
    )
    arguments = ("run", str(tmp_path / "shop.py"), server.url, "--dask", cluster.address)
    completed = await abench(*arguments, "-n", "8", "-c", "4", "--json", "-")
    assert completed.json["scenario"]["completed"] == 8, completed.err
    # Each of the two nodes deals out every second row.
    steps = {one["name"]: one["succeeded"] for one in completed.json["scenario"]["steps"]}
    assert steps == {f"GET /{name}": 2 for name in ("one", "two", "three", "four")}


@pytest.mark.slow
async def test_nodes_search_for_the_capacity_of_a_server(cluster, serve, abench):
    """Which rate they find is not asked: that is the machine's."""
    server = await serve()
    ran = await abench(
        *("capacity", "--dask", cluster.address, "--slo", "errors<50%"),
        *("--max", "40", "--step", "0.3", "-t", "600", "--json", "-", server.url),
    )
    document = ran.json
    assert document["steps"], ran.err
    assert document["client_per_sec"] is None
    assert all(step["connections"] >= 2 for step in document["steps"])
