"""Progress as plain lines: when they are written, and what they are of."""

import re
import signal
from collections import Counter

from abench.plan.plan import Plan
from abench.report.progress_lines import ProgressLines
from abench.stats.histogram import Histogram
from abench.stats.summary import Summary

PLAN = Plan(url="http://127.0.0.1/", connections=100, duration_s=60.0)


def lines_of(plan, interval_s, *calls):
    """Return the lines that are written for calls with a Summary and the seconds so far."""
    written = []
    watch = ProgressLines(plan, interval_s, written.append)
    for summary, elapsed_s in calls:
        watch(summary, elapsed_s)
    return written


def took(*microseconds, **more):
    return Summary(service=Histogram.of(list(microseconds)), **more)


def test_a_line_is_of_the_time_since_the_one_before():
    lines = lines_of(
        PLAN,
        5.0,
        (took(*[1000] * 500), 4.9),
        (took(*[1000] * 500), 5.0),  # workers have not reported yet
        (took(*[1000] * 500), 5.1),
        (took(*[1000] * 500, *[2000] * 100), 5.2),
        (took(*[1000] * 500, *[2000] * 1000, failures=Counter(reset=3)), 10.1),
    )
    assert lines == [
        "5 s of 1 min, 100 pages/sec, p50 1.00 ms, p99 1.00 ms, 0 failed",
        "10 s of 1 min, 200 pages/sec, p50 2.00 ms, p99 2.00 ms, 3 failed",
    ]


def test_lines_keep_to_the_clock_and_none_is_made_up_for():
    seconds = [0.3, 1.12, 1.5, 2.14, 7.9, 8.11]
    lines = lines_of(PLAN, 1.0, *((took(1000), second) for second in seconds))
    assert [line.split(" of ")[0] for line in lines] == ["1 s", "2 s", "7 s", "8 s"]
    assert lines[2].startswith("7 s of 1 min, 0.00 pages/sec, p50 -, p99 -, ")


def test_each_phase_before_the_start_has_one_line():
    plan = Plan(url="http://127.0.0.1/", connections=2, duration_s=60.0, warmup_s=5.0)
    connecting, warming = Summary(open_connections=1), Summary(open_connections=2)
    lines = lines_of(plan, 1.0, *[(connecting, 0.0)] * 3, *[(warming, 0.0)] * 3)
    assert lines == ["connecting 2 connections", "warming up"]


def test_a_number_of_requests_is_how_far_a_run_has_come():
    plan = Plan(url="http://127.0.0.1/", requests=1000)
    lines = lines_of(plan, 1.0, (took(1000), 1.1))
    assert lines[0].startswith("1 of 1,000, 1.00 pages/sec")


def test_response_times_are_shown_on_a_schedule():
    plan = Plan(url="http://127.0.0.1/", rate=1.0, duration_s=60.0)
    summary = took(1000)
    summary.response = Histogram.of([5000])
    assert "p50 5.00 ms" in lines_of(plan, 1.0, (summary, 1.1))[0]


async def test_lines_are_written_where_there_is_no_terminal(start_abench, serve):
    server = await serve()
    process = await start_abench("-c2", "-w1", "-t60s", "--progress", "1s", server.url)
    line = ""
    while "failed" not in line:  # lines of phases may precede
        line = (await process.stderr.readline()).decode()
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert re.fullmatch(
        r"abench: \d+ s of 1 min, [\d,.]+ pages/sec, p50 [^ ]+ \w+, p99 [^ ]+ \w+, 0 failed\n",
        line,
    )
    assert b"pages/min" in out
    assert process.returncode == 128 + signal.SIGINT
