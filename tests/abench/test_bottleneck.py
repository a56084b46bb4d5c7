"""The verdict: each rule by numbers, and runs with a known bottleneck."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from dataclasses import replace
from html import escape

import pytest

from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.report import document, html
from abench.report.text import format_plain
from abench.runner import preflight
from abench.runner.measure import measure
from abench.stats import units
from abench.stats.bottleneck import LIMITERS, find_bottleneck
from abench.stats.coverage import Coverage
from abench.stats.derivation import server_result
from abench.stats.finding import server_cores
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.parts import Warmup
from abench.stats.phases import Phases
from abench.stats.results import build_results
from abench.stats.server_limits import find_waiting_client
from abench.stats.summary import ResourceUsage, Summary
from abench.stats.time_series import TimeSeries
from abench.system import procfs, server_monitor
from abench.system import threads as threads_module
from abench.system.procfs import TcpCounters
from abench.system.server_monitor import ServerMonitor, ServerUsage
from abench.system.threads import ThreadMonitor, ThreadUsage

SECOND = 1_000_000_000


def run(plan=None, *, busy=0.3, waited=0.0, lag_us=100, kernel=None, server=None, **more):
    """Return the report of ten seconds of one worker: 10,000 successes of 1 ms."""
    lag = Histogram.of([lag_us] * 1000)
    counted = {
        "service": Histogram.of([1_000] * 10_000),
        "response": Histogram.of([1_000] * 10_000),
        "costs": [
            ResourceUsage(
                round(busy * 10 * SECOND), 10 * SECOND, 0, lag, round(waited * 10 * SECOND)
            )
        ],
        "elapsed_ns": 10 * SECOND,
        "started": 10_000,
        **more,
    }
    plan = plan or Plan(url="http://h/", duration_s=10.0)
    summary = Summary(**counted)
    return replace(
        build_results(plan, summary), kernel=kernel, server=server_result(server, summary)
    )


SCHEDULED = Plan(url="http://h/", duration_s=10.0, rate=1000.0)
ONE_SHOT = Plan(url="http://h/", duration_s=10.0, keep_alive=False)
LOSSY = TcpCounters(100_000, 5_000, 0, 0, 0)
UNANSWERED = TcpCounters(100_000, 5_000, 0, 0, 0, syn_retransmitted=4_900)
IDLE_SERVER = ServerUsage(1.0, 0, ended=False)
FIRST = [1_000 * place for place in range(1, 11)]
QUEUE = {
    "service": Histogram.of(FIRST + [10_000] * 9_990),
    "series": TimeSeries(intervals=PackedIntervals({0: Interval(service=Histogram.of(FIRST))})),
    "server": IDLE_SERVER,
}
"""A server that works on one request at a time for 1 ms: the first ten find a shorter queue."""


def spread(deviation):
    """Return 10,000 latencies of 10 ms that differ by chance, 1,000 of them in the first second."""
    chance = random.Random(1)
    times = [max(1, round(chance.gauss(10_000, 10_000 * deviation))) for _ in range(10_000)]
    first = Interval(service=Histogram.of(times[:1_000]))
    return {
        "service": Histogram.of(times),
        "series": TimeSeries(intervals=PackedIntervals({0: first})),
        "server": IDLE_SERVER,
    }


def seconds(*medians_us):
    """Return a time series of these medians."""
    series = TimeSeries()
    for at_s, us in enumerate(medians_us):
        series.add(at_s, Interval(99, 0, 0, Histogram.of([us] * 99)))
    return series


def opened(number):
    """Return the phases of a run that opened so many connections."""
    return Phases(connect=Histogram.of([500] * number))


def threads(busiest_s, without_core_s=0.0, in_storage=0.0):
    return ThreadUsage(busiest_s, without_core_s, in_storage)


CASES = {
    "an idle client": (run(), "server"),
    "a busy client": (run(busy=0.99), "client"),
    "a busy client over TLS": (run(Plan(url="https://h/", duration_s=10.0), busy=0.99), "client"),
    "a client in between": (run(busy=0.75), "unclear"),
    "a busy server": (run(server=ServerUsage(9.8, 0, ended=False)), "server"),
    "an idle server": (run(server=ServerUsage(2.0, 0, ended=False)), "latency"),
    "a delayed client": (run(lag_us=20_000), "loop-lag"),
    "a server that stopped responding": (
        run(answering=Coverage(spans=[(0, 1_700)]), failures=Counter({"connect": 80})),
        "silence",
    ),
    "an outage": (run(answering=Coverage(spans=[(0, 2_000), (4_000, 10_000)])), "silence"),
    "a short outage": (run(answering=Coverage(spans=[(0, 9_000), (9_300, 10_000)])), "server"),
    "connections that cannot be opened": (
        run(failures=Counter({"connect": 80}), paused_ns=60 * SECOND),
        "errors",
    ),
    "failures": (run(failures=Counter({"reset": 1_000})), "errors"),
    "a few failures": (run(failures=Counter({"reset": 10})), "server"),
    "no success": (run(service=Histogram(), failures=Counter({"connect": 10})), "errors"),
    "no ports": (
        run(failures=Counter({"connect": 9_000}), reasons=Counter({"EADDRNOTAVAIL": 9_000})),
        "ports",
    ),
    "no files": (run(reasons=Counter({"EMFILE": 1})), "open-files"),
    "lost segments": (run(kernel=LOSSY), "network"),
    "connections that a server elsewhere does not answer": (run(kernel=UNANSWERED), "backlog"),
    "a full queue of others": (run(kernel=replace(LOSSY, listen_overflows=9)), "network"),
    "lost segments of others, on one machine": (
        replace(run(SCHEDULED, kernel=LOSSY), is_local=True),
        "schedule",
    ),
    "a full queue on one machine": (
        replace(run(kernel=replace(LOSSY, listen_overflows=9)), is_local=True),
        "backlog",
    ),
    "a few lost segments": (run(SCHEDULED, kernel=TcpCounters(500, 9, 0, 0, 0)), "schedule"),
    "a rate that was met": (run(SCHEDULED), "schedule"),
    "a rate too high for the server": (
        run(SCHEDULED, skipped=5_000, service=Histogram.of([10_000] * 10_000)),
        "server",
    ),
    "a rate that was not met for an unknown reason": (run(SCHEDULED, skipped=5_000), "unclear"),
    "a client that got half of a core": (run(busy=0.5, waited=0.45), "client"),
    "a client that had no core for half of the run": (run(busy=0.1, waited=0.55), "loop-lag"),
    "a client that had no core for a while": (run(busy=0.1, waited=0.4), "server"),
    "a client that was late once in a hundred times": (
        run(costs=[ResourceUsage(SECOND, 10 * SECOND, 0, Histogram.of([20_000] * 5 + [9] * 95))]),
        "server",
    ),
    "a server that got half of a core": (
        run(server=ServerUsage(5.0, 0, ended=False, threads=threads(9.5, 4.6))),
        "server",
    ),
    "threads that wait for storage": (
        run(server=IDLE_SERVER._replace(threads=threads(0.5, in_storage=3.0))),
        "disk",
    ),
    "a thread that writes while others serve": (
        run(server=ServerUsage(9.8, 0, ended=False, threads=threads(9.5, in_storage=1.0))),
        "server",
    ),
    "a queue in the server": (run(**QUEUE), "concurrency"),
    "a queue in a server that is not watched": (run(**{**QUEUE, "server": None}), "server"),
    "a queue for the CPU": (
        run(**{**QUEUE, "server": ServerUsage(9.8, 0, ended=False)}),
        "server",
    ),
    "latencies that differ by a tenth": (run(**spread(0.1)), "latency"),
    "latencies that differ by a sixth": (run(**spread(0.17)), "latency"),
    "latencies that differ by a fifth": (run(**spread(0.2)), "latency"),
    "latencies that differ by a third": (run(**spread(0.33)), "latency"),
    "a few fast requests now and then": (
        run(**{**QUEUE, "series": TimeSeries()}),
        "latency",
    ),
    "fast and slow requests without a queue": (
        run(service=Histogram.of([1_000, 19_000] * 5_000), server=IDLE_SERVER),
        "latency",
    ),
    "requests that are all slow": (
        run(service=Histogram.of([10_000] * 10_000), server=IDLE_SERVER),
        "latency",
    ),
    "a latency that grows": (run(series=seconds(1, 1, 2, 3, 4, 5)), "growth"),
    "a latency that grows by a half": (run(series=seconds(20, 22, 24, 26, 28, 30)), "server"),
    "a latency that jumps": (run(series=seconds(1, 9, 1, 9, 1, 9)), "server"),
    "a latency that grows, of few seconds": (run(series=seconds(1, 2, 3, 4)), "server"),
    "a latency that grows because the rate is too high": (
        run(SCHEDULED, skipped=5_000, series=seconds(1, 1, 2, 3, 4, 5)),
        "unclear",
    ),
    "connections that the server closes": (run(phases=opened(10_000)), "keep-alive"),
    "connections that are closed now and then": (run(phases=opened(100)), "server"),
    "connections that are to be closed": (
        run(ONE_SHOT, phases=opened(10_000)),
        "server",
    ),
    "a limited rate": (
        run(failures=Counter({"status": 3_000}), status=Counter({200: 10_000, 429: 3_000})),
        "rate-limit",
    ),
    "few rejected requests": (
        run(failures=Counter({"status": 30}), status=Counter({200: 10_000, 429: 30})),
        "server",
    ),
    "other errors than a limited rate": (
        run(failures=Counter({"status": 3_000}), status=Counter({503: 2_990, 429: 10})),
        "errors",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_limiter_of_each_case(name):
    report, limiter = CASES[name]
    found = find_bottleneck(report)
    assert found.limiter == limiter
    assert found.sentence.endswith(".")
    assert 1 <= len(found.advice) <= 2
    assert all(line[0].isupper() or line.startswith("abench ") for line in found.advice)
    assert any(line.startswith("Little's law: ") for line in found.evidence)


def test_every_limiter_has_a_case() -> None:
    assert {limiter for _, limiter in CASES.values()} == set(LIMITERS)


def test_the_queue_is_described_by_its_figures() -> None:
    """Little's law: 1,000 requests/s of 1 ms each are one at a time."""
    found = find_bottleneck(run(**QUEUE))
    assert "about 1 at a time, each takes 1.00 ms" in found.sentence
    assert found.advice[0].startswith("To be sure: -c 5. ")


def test_every_form_of_report_has_the_advice(without_plots) -> None:
    report = run(failures=Counter({"status": 3_000}), status=Counter({200: 10_000, 429: 3_000}))
    first, second = find_bottleneck(report).advice
    text = " ".join(format_plain(report).split())
    assert f"try {first} {second}" in text
    assert document.to_document(report)["verdict"]["advice"] == [first, second]
    page = html.format_fragment(report)
    assert f"<li>{escape(first)}</li><li>{escape(second)}</li>" in page


@pytest.mark.parametrize(
    ("url", "quoted"),
    [("http://h/a", "http://h/a"), ("http://h/?a=1&b=$(c)", "'http://h/?a=1&b=$(c)'")],
)
def test_a_url_in_a_command_is_one_word(url, quoted):
    plan = Plan(url=url, duration_s=10.0)
    advice = find_bottleneck(run(plan, phases=opened(10_000))).advice
    assert advice[0].startswith(f"What does it say? curl -sv -o /dev/null {quoted} 2>&1 |")


def test_a_starved_client_is_told_from_a_busy_one() -> None:
    found = find_bottleneck(run(busy=0.5, waited=0.45))
    assert found.sentence.endswith("it needed a whole core, and got 50 % of one.")
    assert "50 % of a core per worker, 45 % waiting for one" in found.evidence[0]
    assert find_bottleneck(run(busy=0.99)).confidence == "sure"


def test_the_most_frequent_failure_is_named() -> None:
    failures = Counter({"reset": 1_000, "timeout": 9_000})
    assert find_bottleneck(run(failures=failures)).sentence.startswith(
        "50 % of requests failed, most of them with timeout: "
    )


def test_evidence_is_listed():
    evidence = find_bottleneck(replace(run(kernel=LOSSY), is_local=True)).evidence
    assert "client: 30 % of a core per worker" in evidence[0]
    assert "1 of 10 connections busy" in evidence[1]  # 1,000/s x 1 ms
    assert "5,000 of 100,000 TCP segments retransmitted" in evidence[2]
    assert "share this machine" in evidence[3]


@pytest.mark.parametrize(
    ("is_local", "shares", "competitor", "place"),
    [
        (
            True,
            True,
            "The server runs on the same cores",
            "share the cores of this machine and compete",
        ),
        (True, None, "on this machine too, and may", "share this machine and compete"),
        (True, False, "Something else", "share this machine, each on its own cores"),
        (False, None, "Something else", None),
        (None, None, "Something else", "behind a proxy: it is not known whether"),
    ],
)
def test_competitor_for_the_cpu_is_named_as_far_as_known(is_local, shares, competitor, place):
    found = find_bottleneck(replace(run(lag_us=20_000), is_local=is_local, shares_cores=shares))
    assert competitor in found.sentence
    if place:
        assert place in found.evidence[-1]
    else:
        assert "machine" not in " ".join(found.evidence)


def test_numbers_have_no_exponents():
    plan = Plan(url="http://h/", duration_s=10.0, connections=2_000)
    busy = run(plan, service=Histogram.of([1_000_000] * 10_000))
    assert "Little's law: 1,000 of 2,000 connections" in find_bottleneck(busy).evidence[1]
    for number, written in [
        (0, "0"), (0.000012345, "0.0000123"), (0.125, "0.125"), (12.34, "12.3"), (99.96, "100"),
        (1000, "1,000"), (123456, "123,456"), (1e9, "1,000,000,000"), (-1234.5, "-1,234"),
    ]:  # fmt: skip
        assert units.significant(number) == written
    assert (units.signed(1500.0), units.signed(-0.5)) == ("+1,500", "-0.5")
    assert [units.decimal(one) for one in (0, 0.001, 0.0123, 0.1, 99.999, 1e4)] == [
        "0.00", "0.001", "0.012", "0.10", "100", "10,000",
    ]  # fmt: skip


def test_only_the_sockets_that_listen_are_read(tmp_path, monkeypatch):
    """The kernel's table has them first (proc_net_tcp.rst); after a run 70,000 others follow."""
    head = (
        "sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode"
    )
    row = "   {}: 0100007F:{:04X} 00000000:0000 {} 00000000:00000000 00:00000000 00000000 0 0 {} 1"
    rows = [row.format(0, 80, "0A", 11), row.format(1, 81, "0A", 12), row.format(2, 80, "06", 0)]
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text("\n".join((head, *rows, "and a row that nobody reads")))
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    assert list(procfs._listening_inodes(80)) == ["11"]


def test_a_server_that_is_watched_in_the_warm_up_is_no_busier_for_it():
    """12 s of processor time in ten seconds after ten of warm-up are six tenths of a core."""
    warmed = replace(run(server=ServerUsage(12.0, 0, ended=False)), warmup=Warmup(10.0, 0, None))
    assert server_cores(warmed) == pytest.approx(0.6)
    assert "is the limit: it used" not in find_bottleneck(warmed).sentence


def test_a_schedule_is_not_advised_to_open_more_connections():
    """They would add no load."""
    closed, scheduled = run(server=IDLE_SERVER), run(SCHEDULED, server=IDLE_SERVER)
    assert (
        find_waiting_client(closed).limiter == find_waiting_client(scheduled).limiter == "latency"
    )
    assert "-c 20" in find_waiting_client(closed).advice[0]
    assert not any("-c" in line for line in find_waiting_client(scheduled).advice)


@pytest.mark.parametrize(
    ("planned", "more"),
    [({"rate": 1000.0}, "-R 1500"), ({"stages": "10s@1000"}, "stages with higher rates")],
)
def test_more_is_asked_for_in_the_same_way(planned, more):
    found = find_bottleneck(run(Plan(url="http://h/", **planned)))
    assert found.advice == (f"Ask for more: {more}, until the latencies leave what you allow.",)


async def test_listening_process_and_its_cores_are_found(serve, abench):
    server = await serve()
    assert procfs.listening_pids(server.port) == {os.getpid()}
    assert procfs.shares_cores([os.getpid()]) is True
    assert procfs.shares_cores([]) is None
    report = (await abench("-n", "5", "--json", "-", server.url)).json
    assert (report["same_host"], report["same_cores"]) == (True, True)
    elsewhere = f"http://192.0.2.1:{server.port}/"
    proxied = await abench(
        "-n", "5", "--json", "-", "--proxy", f"127.0.0.1:{server.port}", elsewhere
    )
    assert proxied.json["same_host"] is None
    assert "not known" in proxied.json["verdict"]["evidence"][-1]
    here = await abench("-n", "5", "--json", "-", "--proxy", f"127.0.0.1:{server.port}", server.url)
    assert here.json["same_host"] is True


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
async def test_server_on_its_own_cores_shares_none(serve):
    first, *others = sorted(os.sched_getaffinity(0))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=-1)
    try:
        os.sched_setaffinity(process.pid, {first})
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, others)
        try:
            assert procfs.shares_cores([process.pid]) is False
        finally:
            os.sched_setaffinity(0, own)
    finally:
        await process.communicate(b"\n")


@pytest.mark.virtual_time
async def test_waiting_server_is_the_limit(serve, run_plan):
    def script(peer):
        asyncio.get_running_loop().call_later(0.02, peer.send, ok)

    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    server = await serve(script)
    plan = {"url": server.url, "connections": 2, "duration_s": 1.0}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert find_bottleneck(report).limiter == "server"


def _cpu_s():
    return sum(os.times()[:4])


async def test_server_pid_is_measured(serve):
    server = await serve()
    words = ("--server-pid", str(os.getpid()), "-n", "300", "--json", "-", server.url)
    began = _cpu_s()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "abench", *words), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    measured = json.loads(out)["server"]
    # This process is the server, and abench one of its children.
    assert 0 < measured["cpu_s"] <= _cpu_s() - began + 0.02  # in ticks of 10 ms
    assert measured["cpu_us_per_request"] == pytest.approx(measured["cpu_s"] * 1e6 / 300)
    assert measured["peak_rss_bytes"] > 10_000_000
    assert not measured["ended"]


async def test_children_of_the_server_are_measured():
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{code}; input()"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    monitor = ServerMonitor([process.pid])
    await process.stdout.readline()
    assert monitor.result().cpu_s >= 0.2  # it is the sum of four numbers of ticks of 10 ms
    await process.communicate(b"\n")
    assert monitor.result().ended


def test_a_process_whose_name_is_no_utf_8_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    (tmp_path / "7").mkdir()
    # Linux cuts names after 15 bytes, in the middle of a character if need be (proc(5)).
    name = "a)нагрузки".encode()[:15]
    columns = b" ".join(b"%d" % number for number in range(4, 53))
    (tmp_path / "7/stat").write_bytes(b"7 (" + name + b") T " + columns)
    (tmp_path / "7/statm").write_text("1 2 3")
    assert procfs.is_stopped(7)
    assert ServerMonitor([7]).result() == ServerUsage(
        0.0, 2 * server_monitor.PAGE_SIZE, ended=False
    )


def test_the_server_is_sampled_five_times_a_second_once_the_run_has_begun(monkeypatch):
    """However many workers report: what a server does before the start is not of the run."""
    samples, times = [], (0.0, 0.0, 0.1, 0.2, 0.25, 0.39, 0.41, 0.5)

    def carry_out(plan, watch):
        for elapsed_s in times:
            watch(Summary(), elapsed_s)
            samples.append(sampled.count(1))
        return Summary()

    sampled = []
    monkeypatch.setattr(ServerMonitor, "sample", lambda _: sampled.append(1))
    measure(SCHEDULED, server_pids=[os.getpid()], runner=carry_out, with_environment=False)
    assert samples == [0, 0, 0, 1, 1, 1, 2, 2]


def thread(root, path, state, ran_ns, waited_ns):
    directory = root / path
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "stat").write_text(f"7 (name) {state} 1 2 3")
    (directory / "schedstat").write_text(f"{ran_ns} {waited_ns} 9\n")


def test_threads_are_sampled(tmp_path, monkeypatch):
    """sched-stats.rst: ns on the CPU, ns ready without one, time slices. State D: proc(5)."""
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    monitor = ThreadMonitor()
    assert monitor.result() is None
    thread(tmp_path, "7/task/7", "S", SECOND, SECOND)
    monitor.begin([7])
    thread(tmp_path, "7/task/7", "D", 2 * SECOND, 4 * SECOND)  # + 1 s, + 3 s
    thread(tmp_path, "7/task/8", "D", 3 * SECOND, 0)  # began during the run
    monitor.sample([7, 9])
    thread(tmp_path, "7/task/7", "R", 2 * SECOND, 4 * SECOND)
    monitor.sample([7])
    assert monitor.result() == ThreadUsage(4.0, 3.0, 1.5)


def test_a_bounded_number_of_threads_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    monkeypatch.setattr(threads_module, "MAX_THREADS", 3)
    for number in range(5):
        thread(tmp_path, f"7/task/{number}", "D", 0, 0)
    monitor = ThreadMonitor()
    monitor.sample([7])
    assert monitor.result().in_storage == 3


def test_invalid_server_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"^--server-pid: there is no process"):
        ServerMonitor([2**22 + 1])
    with pytest.raises(ParameterError, match=r"^--server-cgroup: "):
        ServerMonitor(cgroup=str(tmp_path))


def test_control_group_is_measured(tmp_path):
    (tmp_path / "cpu.stat").write_text("usage_usec 1000000\nuser_usec 1\n")
    (tmp_path / "memory.current").write_text("4096\n")
    monitor = ServerMonitor(cgroup=str(tmp_path))
    (tmp_path / "cpu.stat").write_text("usage_usec 3500000\nuser_usec 1\n")
    assert monitor.result() == ServerUsage(2.5, 4096, ended=False)


def test_a_control_group_that_ends_during_the_run_costs_no_report(tmp_path):
    (tmp_path / "cpu.stat").write_text("usage_usec 1000000\nuser_usec 1\n")
    (tmp_path / "memory.current").write_text("4096\n")
    monitor = ServerMonitor(cgroup=str(tmp_path))
    (tmp_path / "cpu.stat").write_text("usage_usec 3500000\nuser_usec 1\n")
    monitor.sample()
    for name in ("cpu.stat", "memory.current"):
        (tmp_path / name).unlink()
    assert monitor.result() == ServerUsage(2.5, 4096, ended=True)


def test_local_addresses_are_recognized():
    assert procfs.is_local_address("127.0.0.1")
    assert procfs.is_local_address("127.1.2.3")
    assert not procfs.is_local_address("192.0.2.1")  # RFC 5737: reserved for documentation
    assert not procfs.is_local_address("does-not-exist.invalid")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"requests": 100}, False),
        ({"rate": 10.0}, False),
        ({"keep_alive": True}, False),
    ],
)
def test_preflight_warns_of_exhausted_ports(more, expected, monkeypatch):
    monkeypatch.setattr(
        procfs, "read_ephemeral_ports", lambda **_: procfs.EphemeralPorts(28_232, 60.0)
    )
    plan = Plan(url="http://192.0.2.1/", **{"keep_alive": False, **more})
    advice = preflight.advice(plan)
    assert bool(advice) == expected
    assert not expected or "471 connections a second" in advice[0]
