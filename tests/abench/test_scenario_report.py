"""What reports say of a scenario: figures, rows, and the verdict."""

import io
from collections import Counter

import pytest
from rich.console import Console

from abench.plan.plan import Plan
from abench.plan.scenario_file import ScenarioFile
from abench.report import html, text
from abench.stats.bottleneck import find_bottleneck
from abench.stats.groups import GroupStats
from abench.stats.histogram import Histogram
from abench.stats.results import build_results
from abench.stats.scenario_counts import (
    MAX_NAMES,
    OTHER_NAMES,
    CheckCounts,
    ExceptionCounts,
    ScenarioCounts,
    ScenarioRecorder,
)
from abench.stats.summary import ResourceUsage, Summary

SECOND = 1_000_000_000
SHOP = ScenarioFile("some/where/shop.py", b"")


def step(failed, times):
    """Return the counts of a step, some requests of which have failed."""
    return GroupStats(
        failures=Counter({"status": failed} if failed else {}), service=Histogram.of(times)
    )


def counted(**more):
    """Return counts in which every figure has a value of its own."""
    return ScenarioCounts(
        **{
            "ends": Counter(completed=96, failed=1, raised=2),
            "unfinished": 4,
            "times": Histogram.of([1_000] * 96),
            "steps": {
                "GET /": step(0, [100] * 90),
                "buy": step(3, [300] * 7),
            },
            "checks": {"fast": CheckCounts(90, 10), "there": CheckCounts(20, 0)},
            "exceptions": {
                "shop.py:9": ExceptionCounts(1, "KeyError: 'a'"),
                "shop.py:7": ExceptionCounts(2, "ValueError"),
            },
            **more,
        }
    )


def report(counts=None, cpu=0.2, mean_us=100, skipped=0, **plan):
    summary = Summary(
        service=Histogram.of([mean_us] * 1_000),
        elapsed_ns=2 * SECOND,
        costs=[ResourceUsage(round(cpu * SECOND), SECOND)],
        scenario=counts or counted(),
        started=100,
        skipped=skipped,
    )
    return build_results(
        Plan(url="http://h/", scenario=SHOP, **{"duration_s": 2, "workers": 1, **plan}), summary
    )


def test_figures_are_those_of_the_counts():
    scenario = report().scenario
    assert scenario.file == "shop.py"
    assert (scenario.completed, scenario.failed, scenario.raised) == (96, 1, 2)
    assert (scenario.unfinished, scenario.broken, scenario.ended) == (4, 3, 99)
    assert (scenario.per_sec, scenario.time.max) == (48, 1_000)
    assert (scenario.checks_failed, scenario.checked) == (10, 120)
    assert [one.name for one in scenario.steps] == ["GET /", "buy"]
    assert (scenario.steps[1].succeeded, scenario.steps[1].failed) == (7, 3)
    assert [one.place for one in scenario.exceptions] == ["shop.py:7", "shop.py:9"]


def test_counts_merge_in_any_order_and_travel_as_text():
    one, other = (
        counted(),
        counted(steps={"new": step(1, [])}, checks={"fast": CheckCounts(1, 1)}),
    )
    merged, reverse = Summary(scenario=counted()), Summary()
    merged.merge(Summary(scenario=other))
    reverse.merge(Summary.decode(Summary(scenario=other).encode()))
    reverse.merge(Summary.decode(Summary(scenario=one).encode()))
    assert merged.scenario == reverse.scenario
    assert merged.scenario.checks["fast"] == CheckCounts(91, 11)
    assert merged.scenario.ends["completed"] == 192
    assert other.steps == {"new": step(1, [])}  # what is merged is not changed


def test_the_text_has_steps_checks_and_exceptions():
    shown = text.format_plain(report())
    for line in (
        "  step   requests  failed     /s     p50     p99     max",
        "  GET /        90       0  45.00  100 us  100 us  100 us",
        "  buy          10       3   5.00  300 us  300 us  300 us",
        "  check    fast: 10 of 100 failed (10 %)",
        "  check    there: 20 passed",
        "  raised   shop.py:7: ValueError (2 times)",
        "  raised   shop.py:9: KeyError: 'a' (1 time)",
    ):
        assert line in shown.splitlines(), shown
    assert "shop.py on http://h\n" in shown


def test_many_long_steps_fit_into_80_columns():
    steps = {
        f"GET /item/{number}/with/a/path/that/goes/on": step(1, [999_999] * (1_000 + number))
        for number in range(200)
    }
    stream = io.StringIO()
    Console(file=stream, width=80).print(text.render(report(counted(steps=steps))))
    lines = [line for line in stream.getvalue().splitlines() if "GET /" in line or "more" in line]
    assert len(lines) == 21
    assert "(180 more steps)" in lines[-1]
    assert lines[0].startswith("  GET /item/1...")


def test_the_page_escapes_what_a_scenario_names(without_plots):
    checks = {"<b>bold</b>": CheckCounts(1, 1)}
    steps = {"<i>step</i>": step(0, [1])}
    stream = io.StringIO()
    html.write_html(report(counted(checks=checks, steps=steps)), stream)
    page = stream.getvalue()
    assert "&lt;b&gt;bold&lt;/b&gt;: 1 of 2 failed (50 %)" in page
    assert "&lt;i&gt;step&lt;/i&gt;" in page
    assert "<b>bold" not in page


@pytest.mark.parametrize(
    ("made", "limiter", "sentence"),
    [
        (
            report(counted(ends=Counter(completed=90, raised=10))),
            "errors",
            "10 % of the paths broke off, first of all by shop.py:7: the rates are not",
        ),
        (
            report(counted(ends=Counter(failed=10), exceptions={})),
            "errors",
            "100 % of the paths broke off: the rates are not those of the scenario.",
        ),
        (
            report(),  # 500/s x 100 us
            "schedule",
            "The users' own pace was the limit: on average 0.05 of 10 users waited for a response.",
        ),
        (report(mean_us=15_000), "server", "The server or the network to it is the limit"),
        (report(cpu=0.99), "client", "This client is the limit"),
        (report(rate=50), "schedule", "The requested rate was the limit, and it was met."),
        (
            report(rate=100, skipped=100),
            "schedule",
            "Only 50.00 of 100 paths/sec were begun: all users were on a path, and most of",
        ),
        (
            report(rate=100, skipped=100, mean_us=15_000),
            "server",
            "Only 50.00 of 100 paths/sec were begun: all users were on a path, so the server is",
        ),
    ],
)
def test_the_verdict_knows_users(made, limiter, sentence):
    found = find_bottleneck(made)
    assert (found.limiter, found.sentence[: len(sentence)]) == (limiter, sentence)


def test_names_beyond_a_limit_are_counted_together():
    recorder = ScenarioRecorder()
    for number in range(MAX_NAMES + 10):
        recorder.step(f"GET /{number}").failure("status")
    taken = recorder.take()
    assert len(taken.steps) == MAX_NAMES + 1
    assert taken.steps[OTHER_NAMES].failures.total() == 10
    recorder.step("GET /0").failure("status")  # is known, and has been taken
    recorder.step("GET /new").failure("status")
    assert recorder.take().steps == {"GET /0": step(1, []), OTHER_NAMES: step(1, [])}


def test_names_of_checks_have_the_same_limit():
    recorder = ScenarioRecorder()
    for number in range(MAX_NAMES + 10):
        recorder.check(f"check {number}", passed=True)
    recorder.check("check 0", passed=False)
    taken = recorder.take().checks
    assert len(taken) == MAX_NAMES + 1
    assert taken[OTHER_NAMES] == CheckCounts(10, 0)
    assert taken["check 0"] == CheckCounts(1, 1)


def test_a_message_of_an_exception_is_one_line():
    recorder = ScenarioRecorder()
    recorder.raised("shop.py:1", ValueError("a\n\x1b[31mb" + "c" * 300))
    recorder.raised("shop.py:1", ValueError("another"))
    found = recorder.take().exceptions["shop.py:1"]
    assert found.count == 2
    assert found.message.startswith("ValueError: a\\n\\x1b[31mbccc")
    assert len(found.message) == 200
