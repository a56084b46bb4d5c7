"""Reports as files: their content, and that reports can be restored from them."""

import base64
import csv
import io
import json
import math
import os
import statistics
from collections import Counter
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest

from abench.errors import ParameterError
from abench.plan import log_replay
from abench.plan.plan import Plan
from abench.plan.route import TlsOptions
from abench.plan.url_file import WeightedUrl
from abench.report import document, html, tables, text
from abench.runner.environment import read_environment
from abench.stats.coverage import Coverage
from abench.stats.handshakes import Handshakes, TlsSession
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.latency import latencies_with_waits
from abench.stats.parts import ServerResult, Threshold
from abench.stats.phases import Phases
from abench.stats.results import build_results
from abench.stats.samples import REDIRECT, Sample
from abench.stats.stages import StageStats
from abench.stats.summary import ResourceUsage, Summary
from abench.stats.time_series import TimeSeries
from abench.system.procfs import TcpCounters
from tests.marks import slow

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/abench-report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)
SECOND = 1_000_000_000
URL = "http://127.0.0.1:8000/a"
TLS_URL = "https://127.0.0.1:8443/a"
QUICK, SLOW = [100] * 900 + [2_000] * 90 + [3_000_000] * 10, [200] * 900 + [9_000_000] * 100


def run(plan=None, **more):
    """Return a run of 2.5 s with 1,000 successes, most of them in the first second."""
    intervals = {
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
        "series": TimeSeries(1, PackedIntervals(intervals)),
        "costs": [ResourceUsage(SECOND, 5 * SECOND // 2, 30_000_000, Histogram.of([70, 1_500]))],
        "started": 1007,
        **more,
    }
    return build_results(plan or Plan(url=URL), Summary(**counted))


def with_environment(report):
    return replace(
        report,
        is_local=True,
        kernel=TcpCounters(10_000, 3, 0, 0, 17),
        server=ServerResult(1.25, 1.25e6 / 1007, 40_000_000, ended=True),
        environment=read_environment(["-c", "10", URL]),
        thresholds=(Threshold("p99>1ms", failed=True, measured="3.00 s"),),
    )


MIX = (WeightedUrl(URL, 3), WeightedUrl("http://127.0.0.1:8000/{n}"))
REPORTS = {
    "closed": with_environment(run()),
    "at a rate": with_environment(run(Plan(url=URL, rate=400.0, arrivals="poisson"), late=40)),
    "by stages": run(
        Plan(url=URL, stages="1s@100,ramp:1500ms@100-600"),
        skipped=300,
        stages={0: StageStats(100, 7, 3, 1, Histogram.of(QUICK[:90]), Histogram.of(SLOW[:90]))},
    ),
    "warmed up": run(Plan(url=URL, warmup_auto=True), warmup_ns=SECOND, steady=True),
    "of many URLs": run(Plan(url=URL, urls=MIX, pipeline=4)),
    "over TLS": run(
        Plan(url=TLS_URL, keep_alive=False, tls=TlsOptions(resume=True)),
        phases=Phases(
            connect=Histogram.of([80] * 1_000),
            handshake=Histogram.of([900] * 40 + [300] * 960),
            request=Histogram.of([100] * 1_000),
        ),
        handshakes=Handshakes(
            resumed=960,
            session=TlsSession(
                "TLSv1.3", "TLS_AES_256_GCM_SHA384", "bench.test", "ca", "2030-01-05T09:34:43+00:00"
            ),
        ),
        failures=Counter({"tls": 2, "status": 5}),
        reasons=Counter({"certificate expired": 2}),
    ),
    "without keep-alive": run(Plan(url=URL, keep_alive=False, http="1.0", method="HEAD")),
    "refused": build_results(
        Plan(url=URL),
        Summary(
            failures=Counter({"connect": 3}), reasons=Counter({"ECONNREFUSED": 3}), gave_up=True
        ),
    ),
    "cut short": run(lost=1, stopped_by=15, faults=["KeyError: 'x'"], unfinished=2),
    "stopped answering": run(
        answering=Coverage(spans=[(0, 700)]),
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
    "never started": build_results(Plan(url=URL), Summary()),
}


def written(form, report):
    stream = io.StringIO()
    form(report, stream)
    return stream.getvalue()


@cache
def page_of(name):
    """Return the page of a report. Its plots take 0.3 s."""
    return written(html.write_html, REPORTS[name])


@pytest.fixture(params=REPORTS)
def report(request):
    return REPORTS[request.param]


def test_schema_is_valid():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_document_matches_the_schema(report):
    VALIDATOR.validate(json.loads(written(document.write_json, report)))


def test_invalid_document_does_not_match_the_schema(report):
    plain = document.to_document(report)
    for wrong in ({"schema": 1}, {"requests": {"total": -1}}, {"status": {"many": 1}}):
        assert not VALIDATOR.is_valid({**plain, **wrong})
    del plain["latency"]
    assert not VALIDATOR.is_valid(plain)


def test_report_survives_a_round_trip(report):
    again = document.from_document(json.loads(written(document.write_json, report)))
    for form in (text.write_text, document.write_json, tables.write_csv):
        assert written(form, again) == written(form, report)
    for name in ("service", "response") if report.response else ("service",):
        known = latencies_with_waits(report.summary, name)
        assert latencies_with_waits(again.summary, name) == known == getattr(again.summary, name)


def test_handshakes_are_in_every_form(without_plots):
    report = REPORTS["over TLS"]
    plain = document.to_document(report)["tls"]
    assert (plain["version"], plain["cipher"]) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    assert (plain["verified"], plain["resumption"]) == (True, True)
    assert (plain["full_handshakes"], plain["resumed_handshakes"]) == (40, 960)
    phases = document.to_document(report)["phases"]
    assert [phases[name]["p50"] for name in ("connect", "handshake", "request")] == [80, 300, 100]
    assert (phases["handshake"]["p99"], phases["handshake"]["count"]) == (900, 1_000)
    shown = written(text.write_text, report)
    assert "TLSv1.3, TLS_AES_256_GCM_SHA384, certificate of bench.test by ca, valid" in shown
    assert "40 full   960 resumed" in shown
    page = written(html.write_html, report)
    for words in (shown, page):
        for name in ("connect", "handshake", "request", "2030-01-05"):
            assert name in words
    assert "400 handshakes/sec, 96 % of them resumed a session" in shown  # 1,000 in 2.5 s


def test_reports_without_tls_do_not_speak_of_it():
    report = REPORTS["without keep-alive"]
    assert document.to_document(report)["tls"] is None
    assert "handshake" not in written(text.write_text, report)


def test_connections_that_were_open_before_have_no_distribution():
    plan = Plan(url=TLS_URL, tls=TlsOptions(insecure=True))
    report = run(plan, handshakes=Handshakes(session=TlsSession("TLSv1.3", "C")))
    assert set(document.to_document(report)["phases"].values()) == {None}
    shown = written(text.write_text, report)
    assert "TLSv1.3, C, certificate not verified" in shown
    assert "handshake" not in shown


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not a report"),
        ("[]", "not a report"),
        ('{"schema": 2}', "not a report"),
        ('{"schema": 1}', "its schema is 1"),
        ('{"schema": 3}', "its schema is 3"),
        ("[" * 100_000, "not a report"),
        ("\0", "not a report"),
    ],
)
def test_invalid_file_is_named(tmp_path, content, reason):
    path = tmp_path / "some.json"
    path.write_text(content)
    with pytest.raises(ParameterError, match=reason) as caught:
        document.read_report(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1


def test_value_of_a_wrong_type_is_refused(tmp_path):
    plain = document.to_document(REPORTS["closed"])
    path = tmp_path / "some.json"
    derived = {"bytes_per_sec", "pages_per_sec", "pages_per_min", "verdict"}
    for name in plain.keys() - derived - {"schema"}:
        path.write_text(json.dumps({**plain, name: [{"at_s": "x"}]}))
        with pytest.raises(ParameterError, match="not a report"):
            pytest.fail(f"{name}: {document.read_report(path)}")
    for garbled in ("", "AAAA", "HISTFAAA", base64.b64encode(40 * b"x").decode(), "\N{SNOWMAN}"):
        histogram = {**plain["histograms"]["service"], "hdr": garbled}
        path.write_text(
            json.dumps({**plain, "histograms": {"service": histogram, "response": None}})
        )
        with pytest.raises(ParameterError, match="not a report"):
            document.read_report(path)
    for figure in (math.nan, math.inf, 10**400, -math.inf, "1", None):
        path.write_text(json.dumps({**plain, "duration_s": figure}))
        with pytest.raises(ParameterError, match="not a report"):
            document.read_report(path)
    path.write_bytes(b'{"schema": "\xff"}')
    with pytest.raises(ParameterError, match="not a report"):
        document.read_report(path)
    with pytest.raises(ParameterError, match="no such file"):
        document.read_report(tmp_path / "none")


def test_csv_has_a_row_for_each_second():
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
    """Return a run of 100 successes per second, none from `first_s` to before `last_s`."""
    interval = Interval(100, 0, 1_000, Histogram.of([100] * 100), Histogram.of([200] * 100))
    intervals = {at_s: interval for at_s in range(int(length_s)) if not first_s <= at_s < last_s}
    whole = Histogram.of([100] * 100 * len(intervals))
    counted = {
        "series": TimeSeries(1, PackedIntervals(intervals)),
        "service": whole,
        "response": whole,
    }
    return run(plan, elapsed_ns=round(length_s * SECOND), **counted)


@pytest.mark.parametrize(
    ("first_s", "last_s"), [(2, 8), slow(0, 4), slow(5, 10), slow(9, 10), slow(0, 10)]
)
@pytest.mark.parametrize("rate", [100.0, slow(None)])
def test_empty_seconds_are_in_every_form(first_s, last_s, rate, without_plots):
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
    plots = import_module("abench.report.plots")  # matplotlib: no process that only collects
    assert f"from 0 to {max(rates)}" in plots._rates_caption(report)


def test_last_interval_too_short_to_report_is_merged():
    """Counts within half a report interval after a second belong to that second."""
    seconds = outage(0, 0, length_s=10.0).series
    assert [one.at_s for one in outage(10, 11, length_s=10.003).series] == list(range(10))
    assert [one.at_s for one in seconds] == list(range(10))
    late = outage(10, 11, length_s=10.5).series[-1]
    assert (late.at_s, late.length_s, late.succeeded) == (10, 0.5, 0)


@pytest.mark.parametrize("length_s", [0.2, 1.05, 3.09, 9.5, 10.003, 700.09, 701.05])
def test_intervals_cover_the_whole_run(length_s):
    """Counts just after a second belong to it, and so does that time."""
    report = outage(10, 11, length_s=length_s, plan=Plan(url=URL, rate=100.0))
    assert sum(one.length_s for one in report.series) == pytest.approx(length_s)
    requested = sum((one.requested_per_sec or 0.0) * one.length_s for one in report.series)
    assert requested == pytest.approx(100 * length_s)


def test_requested_rate_of_a_replayed_log():
    lines = (f'{{"ts": {at}, "method": "GET", "uri": "/"}}' for at in (0, 0.5, 1, 2, 2, 3, 3))
    plan = Plan(url=URL, replay=log_replay.parse_log(lines))
    series = run(plan, elapsed_ns=round(4.2 * SECOND)).series
    # Entries with the same time are due at the same time.
    assert [one.requested_per_sec for one in series] == [2, 1, 2, 2, None]


def test_long_run_has_few_intervals():
    week = 7 * 24 * 3600
    report = run(elapsed_ns=week * SECOND)
    assert report.summary.series.step_s == 2048 // 2
    assert len(report.series) == -(-week // 1024)
    assert sum(one.length_s for one in report.series) == week
    assert sum(one.succeeded for one in report.series) == 1000
    VALIDATOR.validate(json.loads(written(document.write_json, report)))


def test_requested_rate_of_each_second():
    requested = [second.requested_per_sec for second in REPORTS["by stages"].series]
    # 1s@100, then from 100 up to 600 in 1.5 s: in its first second to 433, in the rest to 600.
    assert requested == pytest.approx([100, (100 + 433.333) / 2, (433.333 + 600) / 2], rel=0.001)
    assert [one.requested_per_sec for one in REPORTS["at a rate"].series] == [400] * 3
    assert [one.requested_per_sec for one in REPORTS["closed"].series] == [None] * 3


@pytest.mark.slow  # a page takes half a second, for its plots
def test_requested_rates_are_drawn_where_there_are_some():
    assert page_of("by stages").count(">requested<") >= 2
    assert ">requested<" not in page_of("closed")
    plain = document.to_document(REPORTS["by stages"])
    for second in plain["series"]:
        del second["asked_per_sec"]
    assert ">requested</text>" not in written(html.write_html, document.from_document(plain))


def plotted(hgrm):
    """Return value, percentile and 1/(1-percentile) of the rows that plotFiles.html reads."""
    rows = [line.split() for line in hgrm.splitlines() if not line.startswith("#")]
    assert rows[0] == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    return [(float(row[0]), float(row[1]), float(row[3])) for row in rows[1:] if len(row) == 4]


def test_hgrm_can_be_plotted():
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


def test_hgrm_of_an_empty_histogram_has_no_points():
    hgrm = written(tables.write_hgrm, Histogram())
    assert all(value == 0 for value, _, _ in plotted(hgrm))
    assert "TotalCount     =            0" in hgrm


HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=alert(1)>&\"'"


def hostile():
    """Return a report in which every value of foreign origin is markup."""
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
    plain["failures"][HOSTILE] = 3  # an unknown kind is ignored
    plain["method"] = "X"
    plain["environment"]["started_at"] = HOSTILE
    plain["url"] = f"http://127.0.0.1:8000/?{HOSTILE}".replace(" ", "%20")
    plain["urls"] = [{"url": plain["url"], "weight": 1}]
    return document.from_document(plain)


@pytest.mark.parametrize("name", [slow("refused"), slow("never started"), "cut short"])
def test_page_of_a_failed_run(name):
    page = page_of(name)
    if name == "cut short":
        assert "Stopped by a signal" in page
        assert "KeyError: &#x27;x&#x27;" in page
    assert "None" not in page
    assert "nan" not in page.replace("nance", "")


def test_markup_in_values_is_escaped(without_plots):
    page = written(html.write_html, hostile())
    assert page.count("<script") == 3  # of the page itself: data, the library and what uses it
    assert "<img" not in page
    assert page.count("</title>") == 1


@pytest.mark.slow
async def test_every_file_is_reproduced_from_a_saved_report(serve, abench, tmp_path):
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
    assert names == [
        *("first.csv", "first.hgrm", "first.html", "first.json", "first.service.hgrm"),
        "first.stages.csv",
    ]
    for name in names:
        one, other = tmp_path / name, tmp_path / name.replace("first", "again")
        assert one.read_bytes() == other.read_bytes(), name
    counts = csv.DictReader((tmp_path / "first.csv").read_text().splitlines())
    # At the end, one request on each connection may have no response.
    succeeded = sum(int(line["succeeded"]) for line in counts)
    assert 0 <= len(server.requests) - succeeded <= 4


async def test_nothing_is_written_if_the_run_cannot_start(abench, tmp_path):
    options = [f"--{form}={tmp_path / form}" for form in ("json", "csv", "hgrm", "html")]
    ran = await abench(*options, "http://does-not-exist.invalid/")
    assert ran.code == 1
    assert list(tmp_path.iterdir()) == []


def test_missing_matplotlib_is_reported_before_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(html, "find_spec", lambda _: None)
    with pytest.raises(ParameterError, match=r"^--html: .*pip install matplotlib$"):
        html.check_available()
