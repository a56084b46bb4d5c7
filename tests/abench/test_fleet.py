"""Fleets of nodes in network namespaces: what they count, and what becomes of nodes with faults.

The server counts what it answers to each node, so it knows what the merged report has to say.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import namespaces

needs_fleet = pytest.mark.skipif(
    find_spec("distributed") is None, reason="needs the extra: pip install '.[fleet]'"
)
needs_namespaces = pytest.mark.skipif(bool(namespaces.why_not()), reason=namespaces.why_not())
pytestmark = [pytest.mark.slow, needs_fleet, needs_namespaces]

# The coordinator waits for reports for 6 s, and not for 15.
SHORT_REPORT_TIMEOUT = (
    "from abench.runner import coordinator; coordinator.REPORT_TIMEOUT_S = 6; import runpy; "
    "runpy.run_module('abench', run_name='__main__', alter_sys=True)"
)


@contextmanager
def start_fleet(nodes, *faults) -> Iterator:
    from benchmarks.fleet import simulated_fleet  # noqa: PLC0415 - distributed takes a second

    with simulated_fleet(nodes, *faults) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def fleet():
    """Four nodes: one whose clocks are wrong, one that is slow to start, one of another version."""
    with start_fleet(4, "clock=1", "slow=2", "version=3") as fleet:
        yield fleet


@pytest.fixture
def own_fleet():
    """Three nodes for one test alone, which may harm them."""
    with start_fleet(3) as fleet:
        yield fleet


async def start(fleet, *arguments):
    program = [sys.executable, "-c", SHORT_REPORT_TIMEOUT, "--dask", fleet.scheduler]
    return await asyncio.create_subprocess_exec(
        *fleet.inside(*program, *arguments, fleet.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(fleet, *arguments):
    process = await start(fleet, *arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def counted_since(fleet, before):
    return {
        client: number - before.get(client, 0)
        for client, number in fleet.counts().items()
        if number != before.get(client, 0)
    }


def by_address(document):
    return {node["name"].partition(":")[0]: node["succeeded"] for node in document["nodes"]}


async def check_counts(fleet, nodes, requests):
    """Run so many requests on so many nodes; every count has to be that of the server."""
    before = fleet.counts()
    arguments = ("-w", str(nodes), "-c", str(nodes), "-n", str(requests), "--json", "-")
    code, out, err = await run(fleet, *arguments)
    assert code == 0, err
    document = json.loads(out)
    counted = counted_since(fleet, before)
    assert by_address(document) == counted
    assert sum(counted.values()) == requests == document["requests"]["succeeded"]
    from abench.stats.histogram import Histogram  # noqa: PLC0415

    assert Histogram.decode(document["histograms"]["service"]).count == requests
    assert sum(second["succeeded"] for second in document["series"]) == requests
    assert len(document["nodes"]) == nodes
    assert [node["lost"] for node in document["nodes"]] == [None] * nodes
    starts = [node["start_within_s"] for node in document["nodes"]]
    assert 0 < min(starts) <= max(starts) == document["start_within_s"]
    return document


async def test_wrong_clocks_and_a_slow_start_change_no_count(fleet):
    document = await check_counts(fleet, nodes=3, requests=600)
    # All wait for the node that is slow to start, and the order to start does not.
    assert sum(node["connections"] for node in document["nodes"]) == 3
    assert document["duration_s"] < 3600


async def test_a_node_of_another_version_is_named_before_the_run(fleet):
    before = fleet.counts()
    code, out, err = await run(fleet, "-n", "10")
    assert (code, out) == (2, "")
    own = (Path(__file__).parents[2] / "aserve/version.py").read_text().split('"')[-2]
    name, _, rest = err.partition(" has abench ")
    assert name.startswith(f"abench: error: --dask: {namespaces.address(3)}:")
    assert rest == f"0.0.1, and this is {own}\n"
    assert fleet.counts() == before


async def spoil(fleet, harm):
    """Start a run, harm its second node; return the exit code, the output and the document."""
    process = await start(
        fleet, "-t", "8", "-R", "300", "-c", "6", "--json", "/dev/stderr", "--quiet"
    )
    while len(fleet.counts()) < 3 or min(fleet.counts().values()) < 20:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    harm()
    out, err = await process.communicate()
    return process.returncode, out.decode(), json.loads(err)


def check_partial(fleet, code, out, document, why):
    """The report says in one line what was lost, and has all else."""
    assert code == 3
    lost = [node for node in document["nodes"] if node["lost"]]
    assert [node["lost"] for node in lost] == [why]
    assert lost[0]["name"].startswith(f"{namespaces.address(1)}:")
    text = " ".join(out.split())
    assert text.count(f"{lost[0]['name']} {why}, last heard of after ") == 1
    assert "Traceback" not in out
    assert document["workers_lost"] == 1
    counted, reported = fleet.counts(), by_address(document)
    ends = {node["name"].partition(":")[0]: node for node in document["nodes"]}
    for number in (0, 2):  # all but what was under way at the end
        client = namespaces.address(number)
        assert 0 <= counted[client] - reported[client] <= 2
    # What the lost node did until its last report counts, and no more than it did.
    assert 0 < reported[namespaces.address(1)] <= counted[namespaces.address(1)]
    assert document["requests"]["succeeded"] == sum(reported.values())
    assert all(ends[client]["start_within_s"] > 0 for client in reported)


async def test_a_node_that_dies_is_named(own_fleet):
    code, out, document = await spoil(
        own_fleet, lambda: os.kill(own_fleet.nodes[1], signal.SIGKILL)
    )
    check_partial(own_fleet, code, out, document, "left the cluster")


async def test_a_node_that_hangs_is_named(own_fleet):
    from benchmarks.processes import family  # noqa: PLC0415

    def hang():
        for pid in family(own_fleet.nodes[1]):
            os.kill(pid, signal.SIGSTOP)

    code, out, document = await spoil(own_fleet, hang)
    check_partial(own_fleet, code, out, document, "did not report for 6 s")


async def test_a_node_that_is_cut_off_is_named_and_ends_its_load(own_fleet):
    from benchmarks.processes import family  # noqa: PLC0415

    code, out, document = await spoil(own_fleet, lambda: own_fleet.cut(1))
    check_partial(own_fleet, code, out, document, "did not report for 6 s")
    while len(family(own_fleet.nodes[1])) > 1:  # noqa: ASYNC110 - the process with the load
        await asyncio.sleep(0.05)


@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_fifty_nodes_are_counted_as_the_server_counts_them():
    with start_fleet(50) as fleet:
        await check_counts(fleet, nodes=50, requests=5_000)
