"""The full-screen view: its picture at any size, its keys, and the terminal after it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import termios
from collections import Counter
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.cli.views import View
from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.report.advance import advance
from abench.report.bars import bar_rows
from abench.report.recent_seconds import RecentSeconds
from abench.report.screen import HELD, KEYS, REFRESH_S, STOPPING, Screen
from abench.report.screen_frame import Picture, frame
from abench.stats.histogram import Histogram
from abench.stats.parts import Threshold
from abench.stats.results import build_results
from abench.stats.samples import Sample
from abench.stats.so_far import counts_so_far
from abench.stats.summary import Summary
from tests.abench.test_report import Clock
from tests.marks import slow_except

PLAN = Plan(url="http://user:secret@127.0.0.1:8000/a", connections=100, duration_s=60.0, workers=2)
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"  # xterm's alternate screen
CURSOR_SHOWN = b"\x1b[?25h"


def summary_at(second: int) -> Summary:
    """Return the counts of a server that gets slower each second and fails now and then."""
    took = [1000 * at for at in range(1, second + 1) for _ in range(100)]
    return Summary(
        service=Histogram.of(took),
        response=Histogram.of(took),
        status=Counter({200: 100 * second, 503: second}),
        failures=Counter(status=second),
        samples=[Sample(5_000, "status", "503", "HTTP/1.1 503 Service Unavailable" + 99 * "界")],
        bytes_received=1000 * second,
        open_connections=100,
        cpu_ns=second * 10**9,
    )


def picture(plan: Plan = PLAN, seconds: int = 10, **more: object) -> Picture:
    recent = RecentSeconds(plan, 600)
    for second in range(1, seconds + 1):
        recent.observe(summary_at(second), second + 0.15)
    summary = summary_at(seconds)
    report = build_results(plan, counts_so_far(plan, summary, seconds)) if seconds else None
    found = {
        "plan": plan, "advance": advance(plan, summary, seconds), "recent": recent,
        "latencies": summary.service, "report": report, "is_judged": True,
    }  # fmt: skip
    return Picture(**{**found, **more})


PICTURES = {
    "connecting": picture(seconds=0),
    "first second": picture(seconds=1, is_judged=False),
    "ten seconds": picture(),
    "in ASCII": picture(ascii_only=True),
    "on a schedule": picture(Plan(url="http://127.0.0.1/", rate=101.0, duration_s=60.0)),
    "by number": picture(Plan(url="http://127.0.0.1/" + 90 * "界", requests=5000, method="PUT")),
}


@given(st.sampled_from(sorted(PICTURES)), st.integers(1, 200), st.integers(1, 60))
def test_the_picture_fills_a_terminal_of_any_size_and_no_more(name, width, height):
    lines = frame(PICTURES[name], KEYS, width, height)
    assert len(lines) == height
    assert all(line.cell_len <= width for line in lines)
    if name == "in ASCII":
        assert "".join(line.plain for line in lines).replace("界", "").isascii()


def text_of(shown: Picture, width: int, height: int) -> str:
    return "\n".join(line.plain for line in frame(shown, KEYS, width, height))


def test_the_picture_shows_the_run_on_a_usual_terminal():
    page = text_of(picture(), 80, 24)
    for shown in (
        "http://127.0.0.1:8000/a", "10 s of 1 min", "100 pages/sec", "10 failed", "pages/sec",
        "p50", "p90", "p99.9 10.0 ms", "service time", "200 x 1,000", "503 x 10", "status 10",
        "status 503, first after 5.00 ms: HTTP/1.1 503", "so far", KEYS,
    ):  # fmt: skip
        assert shown in page
    assert "secret" not in page
    assert "response time" in text_of(PICTURES["on a schedule"], 80, 24)


def test_a_small_terminal_shows_what_matters_most():
    page = text_of(picture(), 40, 10)
    for shown in ("10 s of 1 min", "100 pages/sec", "10 failed", "p50", "so far", KEYS):
        assert shown in page
    assert "service time" not in page


def test_a_verdict_waits_until_there_is_something_to_judge():
    assert "too early for a verdict" in text_of(PICTURES["first second"], 80, 24)
    assert "too early" not in text_of(picture(), 80, 24)


def test_conditions_that_are_true_are_shown():
    gate = (Threshold("errors>0.5%", True, "0.99 %"), Threshold("p99>1h", False, "10 ms"))
    report = picture().report
    assert report
    page = text_of(picture(report=replace(report, thresholds=gate)), 80, 24)
    assert "FAILED   errors>0.5% is true: 0.99 %" in page
    assert "p99>1h" not in page


def test_bars_reach_their_full_height_at_the_highest_value():
    assert bar_rows([1, 2, 4, 0], 2) == ["  █ ", "▄██ "]
    assert bar_rows([1, 1000], 1) == ["▁█"]  # whatever is not 0 leaves a trace
    assert bar_rows([], 2) == ["", ""]


def test_counts_so_far_are_of_a_run_that_ended_before_the_last_reports():
    report = build_results(PLAN, counts_so_far(PLAN, summary_at(10), 10.0))
    assert report.duration_s == pytest.approx(9.6)
    assert report.client.cpu == (0.5, 0.5)  # 10 s of processor time by two workers
    assert report.succeeded == 1000


class Shown:
    """A Screen on a terminal of its own, at times that a test sets."""

    def __init__(self, monkeypatch, results_so_far=None, columns=80, lines=24):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))
        self.ours, theirs = os.openpty()
        self.stream = os.fdopen(theirs, "r+b", buffering=0)
        self.text = open(theirs, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        self.usual = termios.tcgetattr(theirs)
        self.clock, self.stopped = Clock(), []
        self.screen = Screen(
            PLAN,
            self.text,
            results_so_far or self.results_so_far,
            lambda: self.stopped.append(True),
            self.clock,
        )

    @staticmethod
    def results_so_far(summary, elapsed_s):
        return build_results(PLAN, counts_so_far(PLAN, summary, elapsed_s))

    def attributes(self):
        return termios.tcgetattr(self.stream)

    def show(self, second):
        """Show the counts of a second; return what was written to the terminal, without colors."""
        self.clock.now += REFRESH_S
        self.screen(summary_at(second), float(second))
        self.text.flush()
        os.set_blocking(self.ours, False)
        shown = b""
        with suppress(BlockingIOError):
            while True:
                shown += os.read(self.ours, 65536)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())

    def press(self, keys):
        os.write(self.ours, keys.encode())

    def close(self):
        self.text.close()
        self.stream.close()
        os.close(self.ours)


@pytest.fixture
def on_screen(monkeypatch):
    with closing(Shown(monkeypatch)) as shown:
        yield shown


def test_nothing_is_written_before_the_run(on_screen):
    with on_screen.screen:
        assert on_screen.attributes() == on_screen.usual
    assert on_screen.attributes() == on_screen.usual


def test_keys_are_taken_at_once_and_the_terminal_is_restored(on_screen):
    with on_screen.screen:
        assert KEYS in on_screen.show(1)
        flags = on_screen.attributes()[3]
        assert not flags & (termios.ICANON | termios.ECHO)
        assert flags & termios.ISIG  # Ctrl-C
        on_screen.press("p")
        assert HELD in on_screen.show(2)
        assert "2 s of" not in on_screen.show(3)
        on_screen.press("xp")
        assert "4 s of" in on_screen.show(4)
        on_screen.press("qq")
        assert STOPPING in on_screen.show(5)
        on_screen.press("q")
        on_screen.show(6)
    assert on_screen.stopped == [True]  # a second signal would end the run without a report
    assert on_screen.attributes() == on_screen.usual


def test_a_held_picture_is_drawn_again_when_the_terminal_is_resized(on_screen):
    with on_screen.screen:
        on_screen.show(1)
        on_screen.press("p")
        on_screen.show(2)
        on_screen.screen._console.size = (50, 12)
        resized = on_screen.show(3).splitlines()
    assert "3 s of" not in resized[0]
    assert len(resized) == 12
    assert max(map(len, resized)) == 50


def test_the_terminal_is_restored_after_an_error(monkeypatch):
    def fail(*_):
        raise KeyError("x")

    with closing(Shown(monkeypatch, fail)) as shown:
        with pytest.raises(KeyError), shown.screen:
            shown.show(1)
        assert shown.attributes() == shown.usual


def test_figures_that_cost_much_are_not_derived_at_every_refresh(monkeypatch):
    asked = []

    def count(summary, elapsed_s):
        asked.append(elapsed_s)
        return Shown.results_so_far(summary, elapsed_s)

    with closing(Shown(monkeypatch, count)) as shown, shown.screen:
        for second in range(1, 10):
            shown.show(second)
    assert asked == [1.0, 3.0, 5.0, 7.0, 9.0]  # a second apart by the clock of the terminal


# How a run is ended: what it gets, the exit code, and whether its report is printed.
ENDINGS = {
    "q": (b"q", 128 + signal.SIGINT, True),
    "Ctrl-C": (signal.SIGINT, 128 + signal.SIGINT, True),
    "kill": (signal.SIGTERM, 128 + signal.SIGTERM, True),
    "hangup": (signal.SIGHUP, 128 + signal.SIGHUP, False),
    "Ctrl-\\": (signal.SIGQUIT, 128 + signal.SIGQUIT, False),
}


@pytest.mark.parametrize("ending", slow_except(ENDINGS, "q", "hangup"))
async def test_every_ending_restores_the_terminal(ending, serve, abench_server, monkeypatch):
    how, code, has_report = ENDINGS[ending]
    monkeypatch.setenv("TERM", "xterm-256color")
    server = await serve()
    ours, theirs = os.openpty()
    usual = termios.tcgetattr(theirs)
    program = {"module": "abench", "arguments": ["--tui", "-c2", "-w1", "-t60s", server.url]}
    with closing(abench_server.start_blocking(program, stderr=theirs)) as process:
        screen = b""
        while not (b"of 1 min" in screen and b"pages/sec" in screen):
            screen += await asyncio.to_thread(os.read, ours, 65536)
        if isinstance(how, bytes):
            os.write(ours, how)
        else:
            process.send_signal(how)
        while LEFT not in screen:
            screen += await asyncio.to_thread(os.read, ours, 65536)
        out, _ = await asyncio.to_thread(process.communicate)
        assert process.returncode == code
        restored = termios.tcgetattr(theirs)
    os.close(theirs)
    os.close(ours)
    assert restored == usual
    assert screen.index(ENTERED) < screen.index(LEFT)
    assert screen.rindex(CURSOR_SHOWN)
    assert ("pages/min" in out) == has_report


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (View(is_full_screen=True), "--tui: standard error is not a terminal; --progress 5s"),
        (View(is_full_screen=True, is_quiet=True), "--tui: --quiet shows nothing"),
        (View(is_full_screen=True, interval_s=5.0), "--tui: --progress prints lines"),
        (View(interval_s=5.0, is_quiet=True), "--progress: --quiet shows nothing"),
        (View(interval_s=0.9), "--progress: must be 1 s or more"),
        (View(interval_s=float("nan")), "--progress: must be 1 s or more"),
        (View(interval_s=float("inf")), "--progress: must be 1 s or more"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_the_run(view, reason):
    with pytest.raises(ParameterError, match=re.escape(reason)):
        view.check()


def test_a_terminal_without_a_cursor_is_refused(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(ParameterError, match="TERM names no terminal that has a cursor"):
        View(is_full_screen=True).check()


def test_a_plain_run_imports_none_of_it():
    code = (
        "import sys, abench.cli.bench\n"
        "names = 'screen', 'progress_lines', 'interactive', 'terminal_keys'\n"
        "print([name for name in names if f'abench.report.{name}' in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize("elapsed_s", [0.001, 0.4, 0.401, 3.0, 59.9, 61.0])
@pytest.mark.parametrize(
    "options",
    [
        {"duration_s": 60.0},
        {"requests": 500},
        {"rate": 100.0, "duration_s": 60.0},
        {"stages": "20s@10,ramp:40s@10-100"},
        {"keep_alive": False, "duration_s": 60.0},
    ],
    ids=str,
)
def test_a_run_can_be_judged_at_any_moment(options, elapsed_s):
    plan = Plan(url="http://127.0.0.1/", **options)
    for counts in (Summary(), summary_at(2), Summary(failures=Counter(connect=5))):
        report = build_results(plan, counts_so_far(plan, counts, elapsed_s))
        now = advance(plan, counts, elapsed_s)
        assert "so far" in text_of(picture(plan, report=report, advance=now), 100, 40)
