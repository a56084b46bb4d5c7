"""The outputs that CI systems and time series databases read."""

import io
import json
import re
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from abench.cli.ci_options import parse_annotations
from abench.cli.outputs import Outputs
from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.report import annotations, document, extras, junit, markdown
from abench.report.formats import FORMATS
from abench.report.metrics import BOUNDS_S
from abench.stats.environment import Environment
from abench.stats.histogram import Histogram
from abench.stats.latency import NAMES
from abench.stats.parts import Threshold
from abench.stats.results import build_results
from abench.stats.samples import Sample
from abench.stats.summary import Summary

DOCUMENTS = Path(__file__).parent / "documents"
SECOND = 1_000_000_000
TIMES_US = [90] * 50 + [100] * 40 + [101] * 5 + [2_500] * 4 + [60_000_000]
HOSTILE = "<b>*x*</b> | `y` | @someone #1 [z](http://h/) \\ ::error::%0A"


def run(**more):
    """Return a run of two seconds of which one condition has failed and one has not."""
    summary = Summary(
        service=Histogram.of(TIMES_US),
        status=Counter({200: 100, 503: 2}),
        failures=Counter({"status": 2}),
        elapsed_ns=2 * SECOND,
        bytes_received=4_000,
        samples=[Sample(SECOND, "status", "503", HOSTILE)],
        **more,
    )
    return replace(
        build_results(Plan(url="http://127.0.0.1:45678/a?b=1"), summary),
        thresholds=(
            Threshold("p99>50ms", failed=True, measured="60.0 s"),
            Threshold("errors>5%", failed=False, measured="1.96 %"),
        ),
        environment=Environment(
            ("abench", "-n", "100"), "2026-03-01T01:30:00+02:00", {"abench": "1"}, {"cores": 2}
        ),
    )


def written(form, report):
    stream = io.StringIO()
    form(report, stream)
    return stream.getvalue()


# Markdown, as GitHub's specification of it has it (GFM 0.29).


def rendered(text):
    return MarkdownIt("commonmark").enable("table").render(text)


def cells(html):
    """Return the text of each cell of each row."""
    rows = ET.fromstring(f"<all>{html}</all>").iter("tr")
    return [["".join(cell.itertext()) for cell in row] for row in rows]


def test_markdown_has_the_figures_and_conditions_as_tables():
    text = written(markdown.write_markdown, run())
    tables = cells(rendered(text.partition("<details>")[0]).replace("&nbsp;", " "))
    assert ["FAILED", "p99>50ms", "60.0 s"] in tables
    assert ["passed", "errors>5%", "1.96 %"] in tables
    assert ["50.00", "2.00 kB", "100", "2"] in tables
    assert ["latency", *NAMES] in tables


@pytest.mark.slow
def test_markdown_of_every_kind_of_run_is_whole():
    for path in sorted(DOCUMENTS.glob("*.json")):
        text = written(markdown.write_markdown, document.read_report(path))
        assert "None" not in text, path
        assert text.count("<details>") == text.count("</details>") == 1
        rows = cells(rendered(text.partition("<details>")[0]))
        assert ["pages/sec", "received/sec", "succeeded", "failed"] in rows


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_cell_shows_any_text_as_it_is(words):
    line = " ".join(words.split())
    for escape in (markdown.text, markdown.code):
        html = rendered(f"| a | b |\n| --- | --- |\n| {escape(words)} | end |\n")
        ((_, _), (shown, end)) = cells(html)
        assert (shown.replace("\u200b", ""), end) == (line.replace("\u200b", ""), "end")
        assert not re.search("<(?!/?(table|thead|tbody|tr|th|td|code)>)", html)


def test_markdown_of_a_server_cannot_format_the_page_or_mention_anybody():
    text = written(markdown.write_markdown, run())
    html = rendered(text.partition("<details>")[0])
    assert "<b>" not in html
    assert "<em>" not in html
    assert "<a " not in html
    # GitHub mentions no one in code, nor after an @ that a name does not follow.
    outside = re.sub("<code>.*?</code>", "", html)
    assert "@someone" not in outside
    assert markdown.text("@someone #1") == "@&#8203;someone #&#8203;1"


def test_each_step_appends_to_its_summary_on_github(tmp_path, monkeypatch):
    summary, other = tmp_path / "summary.md", tmp_path / "other.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for path in (summary, other):
        path.write_text("# before\n")
        outputs = Outputs(markdown=str(path))
        outputs.check(scheduled=False)
        assert outputs.write_all(run(), 0) == 0
    assert summary.read_text().startswith("# before\n### abench: ")
    assert other.read_text().startswith("### abench: ")


# JUnit's XML.


@cache
def junit_schema():
    return import_module("xmlschema").XMLSchema10(Path(__file__).with_name("junit.xsd"))


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(DOCUMENTS.rglob("*.json")), ids=lambda path: path.stem)
def test_junit_of_every_kind_of_run_is_valid(path):
    junit_schema().validate(written(junit.write_junit, document.read_report(path)))


def test_junit_has_a_case_for_the_run_and_each_condition():
    text = written(junit.write_junit, run())
    junit_schema().validate(text)
    suite = ET.fromstring(text).find("testsuite")
    cases = {case.get("name"): [problem.tag for problem in case] for case in suite.iter("testcase")}
    assert cases == {"the run": [], "p99>50ms": ["failure"], "errors>5%": []}
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    assert suite.find("testcase/failure").get("message") == "p99>50ms is true: 60.0 s"
    assert suite.get("timestamp") == "2026-02-28T23:30:00"  # Ant's has no offset: it is UTC
    # A port that the kernel chose would make it another test in each run.
    assert suite.get("name") == "http://127.0.0.1/a?b=1"
    (owner,) = {case.get("classname") for case in suite.iter("testcase")}
    assert owner.count(".") == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"lost": 1}, "1 worker of "),
        ({"faults": ["KeyError: '\x00\ud800'"]}, "abench failed: KeyError"),
        ({"stopped_by": 2}, "stopped by a signal"),
    ],
)
def test_a_run_that_did_not_go_as_planned_is_an_error(more, message):
    text = written(junit.write_junit, run(**more))
    junit_schema().validate(text)
    suite = ET.fromstring(text).find("testsuite")
    assert suite.get("errors") == "1"
    assert suite.find("testcase/error").get("message").startswith(message)


def test_a_run_without_successes_is_an_error():
    report = build_results(Plan(url="http://h/"), Summary())
    text = written(junit.write_junit, report)
    junit_schema().validate(text)
    assert ET.fromstring(text).find(".//error").get("message") == "no request succeeded"


# Prometheus: read by its own parser.


def parsed(text):
    """Return the value of each sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in import_module("prometheus_client.parser").text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(found, name, **labels):
    return found[name, frozenset({"target": "http://127.0.0.1/a?b=1", **labels}.items())]


def test_prometheus_reads_the_figures():
    text = written(FORMATS[".prom"], run())
    found = parsed(text)
    assert sample(found, "abench_pages_per_second") == 50
    assert sample(found, "abench_received_bytes_per_second") == 2_000
    assert sample(found, "abench_duration_seconds") == 2
    assert sample(found, "abench_requests", outcome="succeeded") == 100
    assert sample(found, "abench_responses", status="503") == 2
    assert sample(found, "abench_failures", kind="status") == 2
    assert sample(found, "abench_condition_failed", condition="p99>50ms") == 1
    assert sample(found, "abench_condition_failed", condition="errors>5%") == 0
    quantile = {"distribution": "service", "quantile": "0.5"}
    assert sample(found, "abench_latency_quantile_seconds", **quantile) == 90e-6
    # The textfile collector refuses time stamps, and names must be of one type each.
    assert not re.search(r"^abench\S* \S+ \d+$", text, re.MULTILINE)
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert len(types) == len(dict(types))
    assert dict(types)["abench_latency_seconds"] == "histogram"


def test_prometheus_reads_the_histogram():
    found = parsed(written(FORMATS[".prom"], run()))
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in found.items()
        if name == "abench_latency_seconds_bucket"
    }
    # `le` is less than or equal: 100 us is in the bucket of 100 us, and 101 us is not.
    expected = {bound: sum(us <= bound * 1e6 for us in TIMES_US) for bound in BOUNDS_S}
    assert buckets == {**expected, float("inf"): 100}
    assert buckets[0.0001] == 90
    assert sample(found, "abench_latency_seconds_count", distribution="service") == 100
    total = sample(found, "abench_latency_seconds_sum", distribution="service")
    assert total == pytest.approx(sum(TIMES_US) / 1e6)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(DOCUMENTS.glob("*.json")), ids=lambda path: path.stem)
def test_prometheus_reads_every_kind_of_run(path):
    report = document.read_report(path)
    found = parsed(written(FORMATS[".prom"], report))
    (rate,) = [value for (name, _), value in found.items() if name == "abench_pages_per_second"]
    assert rate == pytest.approx(report.pages_per_sec)


@pytest.mark.parametrize("option", ["--prometheus", "--otlp"])
def test_a_missing_library_is_reported_before_the_run(option, monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    value = {"--otlp": "http://h/"}.get(option, str(tmp_path / "run.prom"))
    outputs = Outputs(**{option.removeprefix("--"): value})
    with pytest.raises(ParameterError, match=f"^{option}: needs .*pip install "):
        outputs.check(scheduled=False)
    assert list(tmp_path.iterdir()) == []


# OTLP over HTTP: its libraries take half a second, and no process that only collects needs them.


def send_otlp(report, url):
    import_module("abench.report.otlp").send_otlp(report, url)


def decoded(body):
    service = "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2"
    return import_module(service).ExportMetricsServiceRequest.FromString(body)


# To a collector of our own that decodes what OpenTelemetry's exporter sends.


@contextmanager
def collector(status=200):
    """Yield the URL of a collector, and the requests that it gets: path, type and metrics."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            metrics = decoded(body)
            received.append((self.path, self.headers["Content-Type"], metrics))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


def test_otlp_has_what_prometheus_has():
    with collector() as (url, received):
        send_otlp(run(), url)
    ((path, media_type, request),) = received
    assert (path, media_type) == ("/v1/metrics", "application/x-protobuf")
    (resource,) = request.resource_metrics
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes["service.name"] == "abench"
    metrics = {one.name: one for one in resource.scope_metrics[0].metrics}
    (pages,) = metrics["abench.pages"].gauge.data_points
    assert (pages.as_double, metrics["abench.pages"].unit) == (50, "{page}/s")
    (point,) = metrics["abench.latency"].histogram.data_points
    assert list(point.explicit_bounds) == list(BOUNDS_S)
    # A bucket has what is above the bound before it, and at most its own.
    assert (point.count, sum(point.bucket_counts), point.bucket_counts[0]) == (100, 100, 90)
    assert point.bucket_counts[-1] == 1  # 60 s is above the last
    assert (point.min, point.max) == (90e-6, 60)
    begin = 1_772_321_400 * SECOND  # 2026-03-01T01:30:00+02:00
    assert (point.start_time_unix_nano, point.time_unix_nano) == (begin, begin + 2 * SECOND)
    names = {name for name, _ in parsed(written(FORMATS[".prom"], run()))}
    assert all(any(known.startswith(name.replace(".", "_")) for known in names) for name in metrics)


def test_a_collector_that_refuses_is_an_error_and_the_report_is_printed(capsys):
    with collector(status=400) as (url, received):
        outputs = Outputs(otlp=f"{url}/own/path")
        outputs.check(scheduled=False)
        assert outputs.write_all(run(), 0) == 3
    assert [path for path, _, _ in received] == ["/own/path"]
    printed = capsys.readouterr()
    assert re.fullmatch(
        r"abench: error: --otlp: http://127.0.0.1:\d+/own/path: .*400.*\n", printed.err
    )
    assert "pages/sec" in printed.out


def test_the_url_of_a_collector_is_checked_before_the_run():
    with pytest.raises(ParameterError, match=r"^--otlp: 'localhost:4318' is not an http"):
        Outputs(otlp="localhost:4318").check(scheduled=False)


# Annotations, by "Workflow commands for GitHub Actions" and the code of the runner.


def unescaped(text):
    """Return a message as the runner reads it: %25 last, or %250A would be a new line."""
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def unescaped_property(text):
    return unescaped(text.replace("%3A", ":").replace("%2C", ","))


@given(st.text(), st.text())
def test_a_command_is_one_line_from_which_the_runner_reads_the_same(message, title):
    line = annotations.format_command("error", message, title=title)
    assert line.endswith("\n")
    assert not {"\r", "\n"} & set(line[:-1])
    found = re.fullmatch("::error title=([^:,]*)::(.*)\n", line, re.DOTALL)
    assert (unescaped_property(found[1]), unescaped(found[2])) == (title, message)


def test_a_condition_that_failed_is_an_error_and_the_figures_are_a_notice():
    text = written(annotations.write_annotations, run(lost=1))
    title = "title=http%3A//127.0.0.1%3A45678/a?b=1"
    lines = text.splitlines()
    assert lines[0].startswith(f"::error {title}::1 worker of ")
    assert lines[1] == f"::error {title}::p99>50ms is true: 60.0 s"
    assert lines[2].startswith(f"::notice {title}::50.00 pages/sec, service p99 ")
    assert len(lines) == 3


def test_what_a_server_sends_is_no_command_of_the_runner(capsys):
    """The runner strips blanks, so that a line that a table wraps could begin with one."""
    outputs = Outputs(annotations="github")
    outputs.check(scheduled=False)
    outputs.write_all(run(), 4)
    lines = capsys.readouterr().out.splitlines()
    token = re.fullmatch("::stop-commands::([0-9a-f]{32})", lines[0])[1]
    end = lines.index(f"::{token}::")
    assert any("::error::%0A" in line for line in lines[1:end])  # the server's
    assert [line.partition(" ")[0] for line in lines[end + 1 :]] == ["::error", "::notice"]


def test_annotations_are_for_github_unless_an_option_says_otherwise(monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert [parse_annotations(text) for text in ("auto", "github", "off")] == [
        "off",
        "github",
        "off",
    ]
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert [parse_annotations(text) for text in ("auto", "off")] == ["github", "off"]
    with pytest.raises(ParameterError, match=r"^--annotations: 'on' is not one of: auto, github"):
        parse_annotations("on")


@pytest.mark.slow
async def test_every_output_of_one_run(serve, abench, tmp_path):
    server = await serve()
    names = {"--markdown": "a.md", "--junit": "a.xml", "--prometheus": "a.prom"}
    options = [f"{option}={tmp_path / name}" for option, name in names.items()]
    with collector() as (url, received):
        ran = await abench(
            *("-n", "20", "-c", "2", "-w", "1", "--fail-if", "errors>0", "--annotations=github"),
            *(f"--json={tmp_path / 'a.json'}", "--revision=abc", f"--otlp={url}"),
            *(*options, server.url),
        )
        assert (ran.code, ran.err) == (0, "")
    assert len(received) == 1
    assert "::notice title=" in ran.out
    assert json.loads((tmp_path / "a.json").read_text())["environment"]["revision"] == "abc"
    junit_schema().validate((tmp_path / "a.xml").read_text())
    assert parsed((tmp_path / "a.prom").read_text())
    assert "| passed | `errors>0` |" in (tmp_path / "a.md").read_text()
