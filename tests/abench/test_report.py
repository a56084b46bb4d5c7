import io
import json
import re
import signal
from collections import Counter

import pytest
from rich.console import Console

from abench.plan.plan import Plan
from abench.report import document, text
from abench.report.live import LiveView
from abench.stats import units
from abench.stats.histogram import Histogram
from abench.stats.results import build_results
from abench.stats.summary import Summary
from tests.marks import slow_except

PLAN = Plan(url="http://user:secret@127.0.0.1:8000/a", connections=100, workers=2)


def counted(**more):
    usual = {
        "service": Histogram.of([100] * 900 + [2_000] * 90 + [3_000_000] * 10),
        "status": Counter({200: 1000, 404: 5}),
        "failures": Counter({"status": 5, "reset": 2}),
        "bytes_received": 5_000_000,
        "open_connections": 100,
        "elapsed_ns": 10_000_000_000,
    }
    return Summary(**{**usual, **more})


def shown(summary, width=80, plan=PLAN):
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False)
    console.print(text.render(build_results(plan, summary)))
    return stream.getvalue()


def test_rates_count_successes_only():
    report = build_results(PLAN, counted())
    assert (report.succeeded, report.failed, report.total) == (1000, 7, 1007)
    assert (report.pages_per_sec, report.pages_per_min) == (100, 6000)
    assert report.bytes_per_sec == 500_000
    assert report.failures == {
        "connect": 0,
        "tls": 0,
        "timeout": 0,
        "reset": 2,
        "stale": 0,
        "protocol": 0,
        "status": 5,
        "body": 0,
    }


def test_run_that_never_started_has_rates_of_zero():
    report = build_results(PLAN, Summary())
    assert (report.pages_per_sec, report.bytes_per_sec) == (0, 0)
    for write in (text.write_text, document.write_json):
        write(report, io.StringIO())


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_text_keeps_every_value_at_any_width(width):
    page = shown(counted(unfinished=3), width)
    assert max(map(len, page.splitlines())) <= width
    words = " ".join(page.split())
    for figure in ("100 pages/sec", "6,000 pages/min", "500 kB/sec", "1,000 succeeded", "7 failed"):
        assert figure in words
    for figure in ("3 unfinished", "reset 2", "status 5", "404 x 5", "p99.9", "3.00 s"):
        assert figure in words
    assert "secret" not in page


def test_remarks_appear_only_where_needed():
    assert "died" not in shown(counted())
    page = shown(
        counted(lost=1, gave_up=1, stopped_by=signal.SIGINT, faults=["KeyError: 'x'"]), 120
    )
    assert "1 worker of 2 died" in page
    assert "no connection could be opened for 10 s" in page
    assert "Stopped by a signal" in page
    assert "KeyError" in page
    assert "started" not in shown(counted(start_within_ns=100_000_000))  # one percent of the run
    apart = shown(counted(start_within_ns=101_000_000))
    assert "The workers may have started up to 101 ms apart" in " ".join(apart.split())
    few = counted()
    few.open_connections = 98
    assert "Only 98 of 100 connections" in shown(few)


def test_document_has_no_password():
    stream = io.StringIO()
    document.write_json(build_results(PLAN, counted()), stream)
    assert json.loads(stream.getvalue())["url"] == "http://127.0.0.1:8000/a"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0 us", 0),
        ("999 us", 999.4),
        ("1.00 ms", 999.6),
        ("12.3 ms", 12_345),
        ("999 ms", 999_499),
        ("1.00 s", 999_600),
        ("61.0 s", 61_000_000),
        ("-", None),
    ],
)
def test_microseconds(written, value):
    assert units.microseconds(value) == written


@pytest.mark.parametrize(
    ("written", "value"), [("0 B", 0), ("999 B", 999), ("1.00 kB", 1000), ("12.3 GB", 12.345e9)]
)
def test_byte_size(written, value):
    assert units.byte_size(value) == written


@pytest.mark.parametrize(
    ("written", "value"), [("10 s", 10), ("2.5 s", 2.5), ("1 min 30 s", 90), ("2 min", 120)]
)
def test_duration(written, value):
    assert units.duration(value) == written


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


class LiveTerminal:
    """A live view on a terminal `width` columns wide, at times that a test sets."""

    def __init__(self, monkeypatch, width, plan=PLAN):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(width))
        self.stream, self.clock = Terminal(), Clock()
        self.view = LiveView(plan, self.stream, self.clock)

    def show(self, summary, elapsed_s):
        self.clock.now += 1
        with self.view:
            self.view(summary, elapsed_s)
            shown = self.stream.getvalue()
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).split("\r")[-1].rstrip()


def test_live_view_shows_progress_and_failures(monkeypatch):
    terminal = LiveTerminal(monkeypatch, 100)
    assert "100 connections" in terminal.show(Summary(), 0.0)
    line = terminal.show(counted(), 3.0)
    assert "3 s of 10 s" in line
    assert "1,000 pages/sec" in line
    assert "7 failed" in line


def test_live_view_limits_its_refresh_rate(monkeypatch):
    terminal = LiveTerminal(monkeypatch, 100)
    shown = terminal.show(counted(), 3.0)
    with terminal.view:
        terminal.clock.now += 0.19
        terminal.view(counted(failures=Counter(reset=99)), 3.19)
        assert "99 failed" not in terminal.stream.getvalue()
    assert "7 failed" in shown


@pytest.mark.parametrize(
    "width", slow_except([30, 39, 40, 41, 53, 59, 60, 61, 79, 80, 81, 120, 200], 30, 41, 60, 80)
)
@pytest.mark.parametrize("failed", slow_except([0, 7, 1_234_567], 0, 1_234_567))
def test_live_view_is_one_line_at_any_width(monkeypatch, width, failed):
    for rate in (0, 9, 1_200, 123_456, 98_765_432, 10**10):
        terminal = LiveTerminal(monkeypatch, width)
        summary = Summary(failures=Counter(reset=failed))
        for second in range(1, 8):
            took = {100 * second: rate * second} if rate else {}
            summary.service.merge(Histogram(Counter(took), max_us=100 * second))
            line = terminal.show(summary, second + 0.15)
        assert len(line) < width
        assert "…" not in line
        rate_text = f"{7 * rate:,}" if rate > 9 else f"{7 * rate:.2f}"
        assert re.search(rf"(^| ){rate_text}( pages)?/sec", line)
        assert not failed or f"  {failed:,} failed" in line or width < 40
        trends = re.findall("[▁▂▃▄▅▆▇█]+", line)
        assert not rate or all(trend.endswith("█") for trend in trends)  # it grew all the time
        if rate < 123_456:
            assert trends or width < 80 or failed > 7
            assert line.startswith("7 s of 10 s ") or width < 42


@pytest.mark.parametrize("plan", [PLAN, Plan(url="http://127.0.0.1/", stages="168h@1")])
def test_live_view_shows_the_last_seconds_of_a_long_run(monkeypatch, plan):
    """The time series of a long run has steps of minutes, but the live view shows seconds."""
    terminal = LiveTerminal(monkeypatch, 120, plan)
    summary = Summary()
    for second in range(1, 2000):
        took = Histogram.of([2_000_000] * 5 if second == 1990 else [100] * 500)
        part = Summary(service=took, response=took)
        part.series.add(second - 1, part.interval())
        summary.merge(part)
        if second > 1985:
            line = terminal.show(summary, second + 0.15)
            slow = "p99 2.00 s" in line
            assert slow == (second == 1990), line
    rates, p99s = re.findall("[▁▂▃▄▅▆▇█]+", line)
    assert p99s == 4 * "▁" + "█" + 9 * "▁"
    assert rates == 4 * "█" + "▁" + 9 * "█"


def test_live_view_shows_a_second_without_responses(monkeypatch):
    terminal = LiveTerminal(monkeypatch, 120)
    summary = counted()
    terminal.show(summary, 1.15)
    line = terminal.show(summary, 2.15)
    assert "p99 -" in line
    assert "█▁" in line
