"""`--baseline`: a run that is compared with earlier ones, in every form of its report."""

import io
import json
import random
import re
from dataclasses import replace

import pytest

from abench.cli.bench import exit_code
from abench.cli.ci_options import parse_baseline
from abench.cli.compare import compare_files
from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.report import document, html, markdown, text
from abench.stats.baseline import compare_with_baseline
from abench.stats.environment import Environment
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.parts import Threshold
from abench.stats.results import build_results
from abench.stats.summary import Summary
from abench.stats.time_series import TimeSeries

SECOND = 1_000_000_000
URL = "http://127.0.0.1:8000/"


def run(seed, latency_us=1_000, seconds=10, succeeded=200, plan=None):
    """Return a run with this latency, give or take 1 %, and as many successes per second."""
    rng = random.Random(seed)
    intervals, whole = {}, Histogram()
    for at_s in range(seconds):
        values = [round(latency_us * rng.gauss(1, 0.01)) for _ in range(succeeded)]
        intervals[at_s] = Interval(succeeded, 0, 0, Histogram.of(values), Histogram())
        whole.merge(intervals[at_s].service)
    summary = Summary(
        service=whole,
        elapsed_ns=seconds * SECOND + seed,
        series=TimeSeries(1, PackedIntervals(intervals)),
    )
    return build_results(plan or Plan(url=URL), summary)


def judged(report, *baseline, tolerance=5.0):
    found = compare_with_baseline(report, baseline, tolerance)
    return found, {one.text.split(" ")[0]: one for one in found.thresholds}


def test_what_is_worse_than_tolerated_has_failed():
    found, by_name = judged(run(2, latency_us=1_300), run(1))
    assert {name for name, one in by_name.items() if one.failed} == {"p50", "p90", "p99"}
    assert exit_code(found) == 4
    assert by_name["p50"].text == "p50 worse than the baseline by more than 5 %"
    assert by_name["p50"].measured.endswith("% worse")
    tolerant, by_name = judged(run(2, latency_us=1_300), run(1), tolerance=40.0)
    assert not any(one.failed for one in by_name.values())
    assert exit_code(tolerant) == 0


def test_what_is_better_or_may_be_chance_has_not_failed():
    _, by_name = judged(run(2, latency_us=700), run(1))
    assert by_name["p99"].measured.endswith("% better")
    _, same = judged(run(2), run(1), tolerance=0.0)
    assert not any(one.failed for one in (*by_name.values(), *same.values()))


def test_without_a_tolerance_nothing_fails():
    found, by_name = judged(run(2, latency_us=9_000), run(1), tolerance=None)
    assert by_name == {}
    assert found.baseline.differences


def test_conditions_come_first_and_a_run_without_successes_has_failed_by_all():
    condition = Threshold("errors>1%", failed=True, measured="-")
    empty = replace(build_results(Plan(url=URL), Summary()), thresholds=(condition,))
    found, by_name = judged(empty, run(1))
    assert found.thresholds[0] is condition
    assert [one.failed for one in found.thresholds] == [True] * 5
    assert by_name["p99"].measured == "-"
    assert found.baseline is None
    assert exit_code(found) == 1


def test_every_form_of_the_report_shows_the_comparison(without_plots):
    environment = Environment(("abench",), "2026-01-01T00:00:00+00:00", {}, {"cores": 2})
    before = [replace(run(seed), environment=environment) for seed in (1, 2, 3)]
    found, _ = judged(run(4, latency_us=1_300, plan=Plan(url=URL, connections=7)), *before)
    forms = (text.write_text, markdown.write_markdown, html.write_html)
    for form in forms:
        stream = io.StringIO()
        form(found, stream)
        shown = stream.getvalue()
        assert "2026-01-01T00:00:00+00:00 3 runs" in " ".join(shown.split())
        assert "These differ as well" in shown
        assert "slower at p99" in shown
        assert "FAILED" in shown
    again = document.from_document(json.loads(json.dumps(document.to_document(found))))
    assert again.baseline == found.baseline
    assert document.to_document(again) == document.to_document(found)


@pytest.fixture
def saved(tmp_path):
    """Save a report; return its path."""

    def save(report, name="before.json"):
        with (tmp_path / name).open("w") as stream:
            document.write_json(report, stream)
        return str(tmp_path / name)

    return save


@pytest.mark.parametrize(
    ("plan", "tolerance", "message"),
    [
        (Plan(url=URL, rate=10.0), None, "--baseline: only one side has a schedule"),
        (Plan(url=URL), "some", "--tolerance: 'some' is not a percentage"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_run(plan, tolerance, message, saved):
    path = saved(run(1))
    with pytest.raises(ParameterError, match=f"^{message}"):
        parse_baseline(path, tolerance, plan)


def test_a_baseline_without_successes_is_refused(saved):
    path = saved(build_results(Plan(url=URL), Summary()))
    with pytest.raises(ParameterError, match=r"^--baseline: a run of it has no successes"):
        parse_baseline(path, None, Plan(url=URL))


def test_a_tolerance_needs_a_baseline():
    with pytest.raises(ParameterError, match=r"^--tolerance: requires --baseline"):
        parse_baseline(None, "5", Plan(url=URL))
    report = run(1)
    assert parse_baseline(None, None, Plan(url=URL))(report) is report


def test_the_file_is_read_as_compare_reads_it(saved):
    names = ",".join(saved(run(seed), f"{seed}.json") for seed in (1, 2, 3))
    found = parse_baseline(names, "5%", Plan(url=URL))(run(4))
    assert found.baseline.runs == 3
    assert found.baseline.differences[0].basis == "sections"  # three runs and one
    with pytest.raises(ParameterError, match="the name of a file is missing"):
        parse_baseline("a.json,", None, Plan(url=URL))


@pytest.mark.slow
@pytest.mark.parametrize(("latency_us", "code"), [(1, 4), (100_000_000, 0)])
async def test_run_compare_and_exit_code_in_one_command(serve, abench, tmp_path, latency_us, code):
    """The baseline has a latency that no run can reach, or that every run does."""
    server = await serve()
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    with before.open("w") as stream:
        document.write_json(run(1, latency_us, succeeded=4 if code else 1), stream)
    options = (f"--baseline={before}", "--tolerance=50")
    ran = await abench("-n50", "-c1", "-w1", *options, f"--json={after}", server.url)
    assert (ran.code, ran.err) == (code, "")
    assert "baseline  http" in ran.out
    plain = json.loads(after.read_text())
    assert plain["baseline"]["runs"] == 1
    assert any(one["failed"] for one in plain["thresholds"]) == bool(code)
    again = await abench(*options, f"--json={before}", server.url)
    assert (again.code, again.out) == (2, "")
    assert "is the input of --baseline" in again.err


def test_compare_prints_markdown(saved, capsys):
    one, other = saved(run(1), "a.json"), saved(run(2, latency_us=1_300), "b.json")
    assert compare_files(one, other, "5", as_markdown=True) == 4
    shown = capsys.readouterr().out
    assert "- **FAILED** p99 is worse by " in shown
    assert re.search(
        r"^\| p99 \| 1.0\d ms \| 1.3\d ms \| \+\S+ % \| \S+ % slower at p99", shown, re.MULTILINE
    )
    assert f"- A: `{URL}`" in shown
    with pytest.raises(ParameterError, match=r"^--markdown: cannot be combined with --json"):
        compare_files(one, other, as_json=True, as_markdown=True)
