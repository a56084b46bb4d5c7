"""What the page is given for its scripts: data, a policy, and a library as it was published."""

import base64
import hashlib
import io
import json
import re
from pathlib import Path

from abench.plan.plan import Plan
from abench.report import interactive
from abench.report.html import write_html
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval
from abench.stats.results import build_results
from abench.stats.summary import Summary
from abench.stats.time_series import TimeSeries

FOLDER = Path(interactive.__file__).parent
URL = "http://127.0.0.1/"
# Of dist/uPlot.iife.min.js in version 1.6.32 of the package uplot, as npm has it.
PUBLISHED = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"


def report_of(plan, *values):
    took = Histogram.of(list(values))
    interval = Interval(len(values), 0, 0, took, took)
    series = TimeSeries(1, dict.fromkeys(range(3), interval))
    return build_results(
        plan, Summary(service=took, response=took, elapsed_ns=3 * 10**9, series=series)
    )


def page_of(report):
    stream = io.StringIO()
    write_html(report, stream)
    return stream.getvalue()


def test_the_library_is_the_published_one_with_its_license():
    library = FOLDER / "uplot/uPlot.iife.min.js"
    assert hashlib.sha256(library.read_bytes()).hexdigest() == PUBLISHED
    assert "v1.6.32" in library.read_text()[:100]
    assert "Permission is hereby granted, free of charge" in (FOLDER / "uplot/LICENSE").read_text()


def test_the_policy_allows_these_scripts_and_no_others(without_plots):
    page = page_of(report_of(Plan(url=URL), 1000))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    run = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in run]
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [f"'sha256-{one}'" for one in hashes]
    assert len(run) == 2


def test_data_cannot_end_its_element(without_plots, monkeypatch):
    plot = interactive.Plot([1.0], True, "</script><script>alert(1)", [])
    monkeypatch.setattr(interactive, "plots", lambda _: [plot])
    page = page_of(report_of(Plan(url=URL), 1000))
    data = page.partition('id="abench-plots">')[2].partition("</script>")[0]
    assert json.loads(data)[0]["unit"] == "</script><script>alert(1)"


def test_the_data_are_those_of_the_report():
    rates, latencies, spectrum = interactive.plots(
        report_of(Plan(url=URL, rate=4.0), *[1000] * 99, 500_000)
    )
    assert list(rates.x) == [0.5, 1.5, 2.5]
    assert {curve.label: list(curve.values) for curve in rates.curves} == {
        "requested": [4.0] * 3, "pages": [100.0] * 3,
    }  # fmt: skip
    assert [curve.values[0] for curve in latencies.curves] == [1000, 1000, 500_000]
    assert [curve.label for curve in spectrum.curves] == ["service", "response"]
    assert (spectrum.x[0], spectrum.x[-1]) == (1, 100)
    values = spectrum.curves[0].values
    assert (values[0], values[-2], values[-1]) == (1000, 1000, 500_000)


def test_a_run_without_responses_has_no_curves_of_latencies():
    series = TimeSeries(1, {0: Interval()})
    summary = Summary(elapsed_ns=10**9, series=series)
    rates, latencies, spectrum = interactive.plots(build_results(Plan(url=URL), summary))
    assert rates
    assert latencies is spectrum is None
    assert interactive.plots(build_results(Plan(url=URL), Summary())) == [None]
