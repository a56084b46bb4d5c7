"""What a report says of the nodes of a run, without a cluster."""

import os
import threading
from collections import Counter

import pytest

from abench.plan.plan import Plan
from abench.runner import coordinator, remote_worker, worker
from abench.runner.remote_worker import KEEP_ALIVE
from abench.stats import nodes
from abench.stats.histogram import Histogram
from abench.stats.nodes import Node
from abench.stats.summary import Summary
from tests.abench.test_coordinator import Clock, SilentWorker


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def group(clock):
    """A run over two nodes that has been counted for as long as the clock says."""
    plan = Plan(url="http://h/", duration_s=60, workers=2, connections=2)
    with coordinator.WorkerGroup(plan, lambda _share, _others: SilentWorker()) as group:
        for number, handle in enumerate(group._workers):
            handle.node = Node(f"10.0.0.{number}:4000")
            handle.note_report(clock.now)
        group._started_at = group._counting_since = group._last_wakeup = clock.now
        yield group
        for handle in group._workers:
            handle._reports_in.close()


def take(group, clock, number, message):
    handle = group._workers[number]
    handle.note_report(clock.now)
    group._on_message(handle, message)


def end(group):
    """Let all messages end, and return the counts."""
    for handle in group._workers:
        handle._reports_in.close()
    return group.run(lambda _summary, _elapsed: None)


def test_a_node_has_its_own_counts_and_its_own_start(group, clock):
    clock.now += 0.25
    take(group, clock, 1, worker.Started())
    take(group, clock, 1, Summary(service=Histogram.of([1, 2]), failures=Counter({"reset": 3})))
    take(group, clock, 0, worker.Finished(Summary(service=Histogram.of([5]))))
    summary = end(group)
    finished, lost = summary.nodes
    assert (finished.succeeded, finished.failed, finished.start_within_s) == (1, 0, None)
    assert (lost.succeeded, lost.failed, lost.start_within_s) == (2, 3, 0.25)
    assert summary.start_within_ns == 250_000_000
    assert summary.succeeded == 3


def test_a_silent_node_is_lost_and_was_last_heard_of_when_it_reported(group, clock):
    clock.now += 2.5
    for number in (0, 1):
        take(group, clock, number, Summary())
    clock.watch(group, 2)
    take(group, clock, 0, worker.Finished(Summary()))
    clock.watch(group, coordinator.REPORT_TIMEOUT_S)
    finished, lost = end(group).nodes
    assert (finished.lost, finished.last_report_s) == (None, None)
    assert (lost.lost, lost.last_report_s) == ("did not report for 15 s", 2.5)


def test_the_nodes_of_two_parts_merge_in_any_order_and_survive_encoding():
    first, second = Node("a:1", 2, 3), Node("b:1", lost="died", last_report_s=0.5)
    one, other = Summary(nodes=[second]), Summary(nodes=[first])
    one.merge(other)
    other.merge(Summary(nodes=[second]))
    assert one.nodes == other.nodes == [first, second]
    assert Summary.decode(one.encode()).nodes == [first, second]


def test_the_node_that_started_last_is_named():
    found = [Node("a:1", start_within_s=0.1), Node("b:1", start_within_s=0.3), Node("c:1")]
    assert nodes.describe_nodes(found) == "2 started within 300 ms, b:1 last"
    assert nodes.describe_nodes(found[2:]) == "none started"


def test_nodes_that_were_lost_for_one_cause_are_one_line():
    died = [Node(f"10.0.0.{n}:1", lost="lost the scheduler", last_report_s=n) for n in range(4)]
    late = Node("b:1", lost="did not report for 150 s")
    many, one = nodes.describe_losses([*died, Node("c:1"), late])
    assert many == (
        "4 nodes lost the scheduler, last heard of after 3 s: only what had been reported is "
        "counted."
    )
    assert one == (
        "b:1 did not report for 150 s before the start: that part of the load is missing."
    )


@pytest.fixture
def orders():
    """Two pipes, and a thread that passes orders from one to the other for as long as they come."""
    source, given = os.pipe()
    taken, sink = os.pipe()
    threads = []

    def start(lease_s):
        threads.append(
            threading.Thread(target=remote_worker.pass_orders, args=(source, sink, lease_s))
        )
        threads[0].start()
        return given, taken

    yield start
    for descriptor in (given, taken):
        os.close(descriptor)
    threads[0].join()
    os.close(source)


def test_orders_are_passed_on_and_keep_alive_messages_are_not(orders):
    given, taken = orders(60)
    os.write(given, KEEP_ALIVE + worker.START + KEEP_ALIVE + worker.START_COUNTING)
    assert os.read(taken, 1) + os.read(taken, 1) == worker.START + worker.START_COUNTING


def test_without_orders_for_the_time_of_the_lease_they_end(orders):
    given, taken = orders(0.01)
    os.write(given, worker.START)
    assert os.read(taken, 1) == worker.START
    assert os.read(taken, 1) == b""
