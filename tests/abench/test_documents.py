"""Reports as files: what programs read from them, and that they can be drawn again."""

import base64
import csv
import io
import json
import math
import os
import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from abench.errors import ParameterError
from abench.plan import log_replay
from abench.plan.plan import Plan
from abench.plan.url_file import WeightedUrl
from abench.report import document, html, tables, text
from abench.stats.coverage import Coverage
from abench.stats.environment import read_environment
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.results import Threshold, build_report, latencies_with_waits
from abench.stats.samples import REDIRECT, Sample
from abench.stats.stages import StageStats
from abench.stats.summary import ResourceUsage, Summary
from abench.stats.time_series import TimeSeries
from abench.system.procfs import ServerUsage, TcpCounters

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/abench-report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)
SECOND = 1_000_000_000
URL = "http://127.0.0.1:8000/a"
QUICK, SLOW = [100] * 900 + [2_000] * 90 + [3_000_000] * 10, [200] * 900 + [9_000_000] * 100


def run(plan=None, **more):
    """Two and a half seconds of 1,000 successes, most of them in the first second."""
    moments = {
        0: Interval(900, 0, 90_000, Histogram.of(QUICK[:900]), Histogram.of(SLOW[:900])),
        2: Interval(100, 7, 10_000, Histogram.of(QUICK[900:]), Histogram.of(SLOW[900:])),
    }
    counted = {
        "service": Histogram.of(QUICK),
        "response": Histogram.of(SLOW),
        "status": Counter({200: 1000, 404: 5}),
        "failures": Counter({"status": 5, "reset": 2}),
        "bytes_received": 100_000,
        "open_connections": 10,
        "elapsed_ns": 5 * SECOND // 2,
        "series": TimeSeries(1, PackedIntervals(moments)),
        "costs": [ResourceUsage(SECOND, 5 * SECOND // 2, 30_000_000, Histogram.of([70, 1_500]))],
        "started": 1007,
        **more,
    }
    return build_report(plan or Plan(url=URL), Summary(**counted))


def seen_from_outside(report):
    return replace(
        report,
        is_local=True,
        kernel=TcpCounters(10_000, 3, 0, 0, 17),
        server=ServerUsage(1.25, 40_000_000, ended=True),
        environment=read_environment(["-c", "10", URL]),
        thresholds=(Threshold("p99>1ms", failed=True, measured="3.00 s"),),
    )


MIX = (WeightedUrl(URL, 3), WeightedUrl("http://127.0.0.1:8000/{n}"))
REPORTS = {
    "closed": seen_from_outside(run()),
    "at a rate": seen_from_outside(run(Plan(url=URL, rate=400.0, arrivals="poisson"), late=40)),
    "by stages": run(
        Plan(url=URL, stages="1s@100,ramp:1500ms@100-600"),
        skipped=300,
        stages={0: StageStats(100, 7, 3, 1, Histogram.of(QUICK[:90]), Histogram.of(SLOW[:90]))},
    ),
    "warmed up": run(Plan(url=URL, warmup_auto=True), warmup_ns=SECOND, steady=True),
    "of many URLs": run(Plan(url=URL, urls=MIX, pipeline=4)),
    "without keep-alive": run(Plan(url=URL, keep_alive=False, http="1.0", method="HEAD")),
    "refused": build_report(
        Plan(url=URL),
        Summary(
            failures=Counter({"connect": 3}), reasons=Counter({"ECONNREFUSED": 3}), gave_up=True
        ),
    ),
    "cut short": run(lost=1, stopped_by=15, faults=["KeyError: 'x'"], unfinished=2),
    "stopped answering": run(
        answering=Coverage(intervals=[(0, 700)]),
        waits=Histogram.of([4_000_000]),
        due_waits=Histogram.of([10_000_000]),
        paused_ns=4 * SECOND,
    ),
    "with samples": run(
        samples=[
            Sample(0, REDIRECT, "302", ""),
            Sample(2_400, "status", "404", "HTTP/1.1 404 Not Found"),
            Sample(2_500_000, "reset", "", "the connection was reset"),
        ],
        status=Counter({200: 900, 302: 100, 404: 5}),
    ),
    "never started": build_report(Plan(url=URL), Summary()),
}


def written(form, report):
    stream = io.StringIO()
    form(report, stream)
    return stream.getvalue()


@pytest.fixture(params=REPORTS)
def report(request):
    return REPORTS[request.param]


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_document_is_as_its_schema_says(report):
    VALIDATOR.validate(json.loads(written(document.write_json, report)))


def test_a_document_of_another_shape_is_not(report):
    plain = document.to_document(report)
    for wrong in ({"schema": 1}, {"requests": {"total": -1}}, {"status": {"many": 1}}):
        assert not VALIDATOR.is_valid({**plain, **wrong})
    del plain["latency"]
    assert not VALIDATOR.is_valid(plain)


def test_a_report_is_the_same_when_it_was_a_document(report):
    again = document.from_document(json.loads(written(document.write_json, report)))
    for form in (text.write_text, document.write_json, tables.write_csv):
        assert written(form, again) == written(form, report)
    for name in ("service", "response") if report.response else ("service",):
        known = latencies_with_waits(report.summary, name)
        assert latencies_with_waits(again.summary, name) == known == getattr(again.summary, name)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "no report"),
        ("[]", "no report"),
        ('{"schema": 2}', "no report"),
        ('{"schema": 1}', "its schema is 1"),
        ('{"schema": 3}', "its schema is 3"),
        ("[" * 100_000, "no report"),
        ("\0", "no report"),
    ],
)
def test_a_file_that_is_none_of_ours_is_named(tmp_path, content, why):
    path = tmp_path / "some.json"
    path.write_text(content)
    with pytest.raises(ParameterError, match=why) as caught:
        document.read_report(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1


def test_any_value_of_a_wrong_kind_is_no_report(tmp_path):
    plain = document.to_document(REPORTS["closed"])
    path = tmp_path / "some.json"
    derived = {"bytes_per_sec", "pages_per_sec", "pages_per_min", "verdict"}
    for name in plain.keys() - derived - {"schema"}:
        path.write_text(json.dumps({**plain, name: [{"at_s": "x"}]}))
        with pytest.raises(ParameterError, match="no report"):
            pytest.fail(f"{name}: {document.read_report(path)}")
    for garbled in ("", "AAAA", "HISTFAAA", base64.b64encode(40 * b"x").decode(), "\N{SNOWMAN}"):
        histogram = {**plain["histograms"]["service"], "hdr": garbled}
        path.write_text(
            json.dumps({**plain, "histograms": {"service": histogram, "response": None}})
        )
        with pytest.raises(ParameterError, match="no report"):
            document.read_report(path)
    for figure in (math.nan, math.inf, 10**400, -math.inf, "1", None):
        path.write_text(json.dumps({**plain, "duration_s": figure}))
        with pytest.raises(ParameterError, match="no report"):
            document.read_report(path)
    path.write_bytes(b'{"schema": "\xff"}')
    with pytest.raises(ParameterError, match="no report"):
        document.read_report(path)
    with pytest.raises(ParameterError, match="no such file"):
        document.read_report(tmp_path / "none")


def test_csv_has_a_line_for_each_second():
    lines = list(csv.DictReader(io.StringIO(written(tables.write_csv, REPORTS["at a rate"]))))
    assert [line["at_s"] for line in lines] == ["0", "1", "2"]
    assert [float(line["pages_per_sec"]) for line in lines] == [900, 0, 200]  # of half a second
    assert [line["failed"] for line in lines] == ["0", "0", "7"]
    assert lines[0]["service_p99_us"] == "100"
    assert lines[1]["service_p99_us"] == ""
    assert lines[2]["service_p50_us"] == "2000"
    assert int(lines[2]["response_max_us"]) == 9_000_000
    closed = csv.DictReader(io.StringIO(written(tables.write_csv, REPORTS["closed"])))
    assert not [name for name in closed.fieldnames or () if name.startswith("response")]


def outage(first_s, last_s, length_s=10.0, plan=None):
    """A run of 100 successes each second, but for those from `first_s` to before `last_s`."""
    moment = Interval(100, 0, 1_000, Histogram.of([100] * 100), Histogram.of([200] * 100))
    there = {at_s: moment for at_s in range(int(length_s)) if not first_s <= at_s < last_s}
    whole = Histogram.of([100] * 100 * len(there))
    counted = {"series": TimeSeries(1, PackedIntervals(there)), "service": whole, "response": whole}
    return run(plan, elapsed_ns=round(length_s * SECOND), **counted)


@pytest.mark.parametrize(("first_s", "last_s"), [(2, 8), (0, 4), (5, 10), (9, 10), (0, 10)])
@pytest.mark.parametrize("rate", [None, 100.0])
def test_a_second_of_nothing_is_a_second_in_every_form(first_s, last_s, rate):
    report = outage(first_s, last_s, plan=Plan(url=URL, rate=rate))
    rates = [0 if first_s <= at_s < last_s else 100 for at_s in range(10)]
    plain = json.loads(written(document.write_json, report))
    VALIDATOR.validate(plain)
    assert [one["pages_per_sec"] for one in plain["series"]] == rates
    assert [one.pages_per_sec for one in document.from_document(plain).series] == rates
    lines = csv.DictReader(io.StringIO(written(tables.write_csv, report)))
    assert [float(line["pages_per_sec"]) for line in lines] == rates
    page = written(html.write_html, report)
    assert page.count("<tr><th>5</th>") == 1
    assert f"from 0 to {max(rates)}" in page


def test_a_last_moment_too_short_to_be_reported_is_no_second():
    """What comes in half a beat after a second is over is counted as of that second."""
    seconds = outage(0, 0, length_s=10.0).series
    assert [one.at_s for one in outage(10, 11, length_s=10.003).series] == list(range(10))
    assert [one.at_s for one in seconds] == list(range(10))
    late = outage(10, 11, length_s=10.5).series[-1]
    assert (late.at_s, late.length_s, late.succeeded) == (10, 0.5, 0)


@pytest.mark.parametrize("length_s", [0.2, 1.05, 3.09, 9.5, 10.003, 700.09, 701.05])
def test_the_seconds_of_a_run_are_as_long_as_the_run(length_s):
    """What comes just behind a second is counted in it, so that the time counts as well."""
    report = outage(10, 11, length_s=length_s, plan=Plan(url=URL, rate=100.0))
    assert sum(one.length_s for one in report.series) == pytest.approx(length_s)
    asked = sum((one.asked_per_sec or 0.0) * one.length_s for one in report.series)
    assert asked == pytest.approx(100 * length_s)


def test_all_that_a_log_has_is_asked_for_in_some_second():
    lines = (f'{{"ts": {at}, "method": "GET", "uri": "/"}}' for at in (0, 0.5, 1, 2, 2, 3, 3))
    plan = Plan(url=URL, replay=log_replay.parse_log(lines))
    series = run(plan, elapsed_ns=round(4.2 * SECOND)).series
    # The log has whole seconds and halves: what it says to be of one moment was.
    assert [one.asked_per_sec for one in series] == [2, 1, 2, 2, None]


def test_a_long_run_in_which_little_happens_is_told_in_few_steps():
    week = 7 * 24 * 3600
    report = run(elapsed_ns=week * SECOND)
    assert report.summary.series.step_s == 2048 // 2
    assert len(report.series) == -(-week // 1024)
    assert sum(one.length_s for one in report.series) == week
    assert sum(one.succeeded for one in report.series) == 1000
    VALIDATOR.validate(json.loads(written(document.write_json, report)))


def test_the_rate_that_was_asked_for_is_told_for_each_second():
    asked = [second.asked_per_sec for second in REPORTS["by stages"].series]
    # 1s@100, then from 100 up to 600 in 1.5 s: in its first second to 433, in the rest to 600.
    assert asked == pytest.approx([100, (100 + 433.333) / 2, (433.333 + 600) / 2], rel=0.001)
    assert [one.asked_per_sec for one in REPORTS["at a rate"].series] == [400] * 3
    assert [one.asked_per_sec for one in REPORTS["closed"].series] == [None] * 3
    page = written(html.write_html, REPORTS["by stages"])
    assert page.count(">asked for<") >= 2
    assert ">asked for<" not in written(html.write_html, REPORTS["closed"])


def test_a_report_without_the_rate_for_each_second_is_drawn():
    plain = document.to_document(REPORTS["by stages"])
    for second in plain["series"]:
        del second["asked_per_sec"]
    assert ">asked for</text>" not in written(html.write_html, document.from_document(plain))


def plotted(hgrm):
    """Return value, percentile and 1/(1-percentile) of the lines that plotFiles.html picks."""
    rows = [line.split() for line in hgrm.splitlines() if not line.startswith("#")]
    assert rows[0] == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    return [(float(row[0]), float(row[1]), float(row[3])) for row in rows[1:] if len(row) == 4]


def test_hgrm_is_read_by_what_plots_it():
    values = sorted(round(1.01**n) for n in range(400, 1800))  # from 54 us to a minute
    hgrm = written(tables.write_hgrm, Histogram.of(values))
    points = plotted(hgrm)
    assert len(points) > 30
    for milliseconds, part, rarity in points:
        true = values[max(1, math.ceil(round(part * len(values), 6))) - 1]
        assert true <= 1000 * milliseconds + 1e-6 <= true * 1.001
        assert rarity == pytest.approx(1 / (1 - part), abs=0.005)
    words = hgrm.replace("=", " ").replace(",", " ").replace("]", " ").split()
    figures = {name: float(words[words.index(name) + 1]) for name in ("StdDeviation", "#[Max")}
    assert figures["StdDeviation"] == pytest.approx(statistics.pstdev(values) / 1000, rel=0.001)
    assert figures["#[Max"] == pytest.approx(values[-1] / 1000, rel=0.001)
    assert float(words[words.index("#[Mean") + 1]) == pytest.approx(
        statistics.mean(values) / 1000, abs=0.001
    )


def test_hgrm_of_nothing_has_no_points():
    hgrm = written(tables.write_hgrm, Histogram())
    assert all(value == 0 for value, _, _ in plotted(hgrm))
    assert "TotalCount     =            0" in hgrm


HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=alert(1)>&\"'"


def hostile():
    """A report in which everything that others may have written is markup."""
    report = run(faults=[HOSTILE], reasons=Counter({HOSTILE: 1}))
    plain = document.to_document(
        replace(
            report,
            environment=replace(
                read_environment([HOSTILE]), versions={HOSTILE: HOSTILE}, machine={HOSTILE: HOSTILE}
            ),
            thresholds=(Threshold(HOSTILE, failed=True, measured=HOSTILE),),
        )
    )
    plain["failures"][HOSTILE] = 3  # of no kind that is known: left out
    plain["method"] = "X"
    plain["environment"]["started_at"] = HOSTILE
    plain["url"] = f"http://127.0.0.1:8000/?{HOSTILE}".replace(" ", "%20")
    plain["urls"] = [{"url": plain["url"], "weight": 1}]
    return document.from_document(plain)


@pytest.mark.parametrize("name", ["refused", "never started", "cut short"])
def test_a_page_is_drawn_of_a_run_that_went_wrong(name):
    page = written(html.write_html, REPORTS[name])
    if name == "cut short":
        assert "Stopped by a signal" in page
        assert "KeyError: &#x27;x&#x27;" in page
    assert "None" not in page
    assert "nan" not in page.replace("nance", "")


def test_markup_in_a_page_is_text():
    page = written(html.write_html, hostile())
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("</title>") == 1


async def test_every_file_of_a_run_is_drawn_again(serve, abench, tmp_path):
    server = await serve()
    options = {form: f"--{form}={tmp_path / f'first.{form}'}" for form in ("csv", "hgrm", "html")}
    first = await abench(
        *("--stages", "500ms@100,ramp:700ms@100-300", "-c", "4", "-w", "2"),
        *("--server-pid", str(os.getpid()), "--fail-if", "p50>1us", "--fail-if", "errors>1%"),
        *(f"--json={tmp_path / 'first.json'}", *options.values(), server.url),
    )
    assert (first.code, first.err) == (4, "")
    VALIDATOR.validate(json.loads((tmp_path / "first.json").read_text()))
    again = await abench(
        *("report", str(tmp_path / "first.json"), f"--json={tmp_path / 'again.json'}"),
        *(option.replace("first.", "again.") for option in options.values()),
    )
    assert (again.code, again.err, again.out) == (0, "", first.out)
    names = sorted(path.name for path in tmp_path.glob("first.*"))
    assert names == ["first.csv", "first.hgrm", "first.html", "first.json", "first.service.hgrm"]
    for name in names:
        one, other = tmp_path / name, tmp_path / name.replace("first", "again")
        assert one.read_bytes() == other.read_bytes(), name
    counts = csv.DictReader((tmp_path / "first.csv").read_text().splitlines())
    # As the time ends, one request on each connection may be without its reply.
    succeeded = sum(int(line["succeeded"]) for line in counts)
    assert 0 <= len(server.requests) - succeeded <= 4


async def test_nothing_is_written_by_a_run_that_cannot_start(abench, tmp_path):
    options = [f"--{form}={tmp_path / form}" for form in ("json", "csv", "hgrm", "html")]
    ran = await abench(*options, "http://does-not-exist.invalid/")
    assert ran.code == 1
    assert list(tmp_path.iterdir()) == []


def test_what_draws_a_page_is_missed_before_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(html, "find_spec", lambda _: None)
    with pytest.raises(ParameterError, match=r"^--html: .*pip install matplotlib$"):
        html.check_available()
