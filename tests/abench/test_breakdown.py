"""The parts of a run in reports: phases, stages, URLs, sizes, and the bars beside the latencies."""

import csv
import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from abench.plan.plan import Plan
from abench.plan.request_groups import MAX_GROUPS
from abench.plan.url_file import WeightedUrl
from abench.report import document, formats, html, tables, text
from abench.report.report import Report
from abench.report.text_tables import bar
from abench.stats.bins import bins
from abench.stats.groups import GroupStats
from abench.stats.histogram import Histogram
from abench.stats.phases import Phases
from abench.stats.results import build_results
from abench.stats.stages import StageStats
from abench.stats.summary import Summary

URL = "http://127.0.0.1:8000/"
QUICK, SLOW = Histogram.of([100] * 30), Histogram.of([5_000] * 10)
LONG = f"{URL}assets/{20 * 'a-long-name/'}page"


def group(times, **more):
    status = Counter({200: times.count})
    return GroupStats(service=times, response=times, status=status, bytes_received=900, **more)


def report(number=3, *, stages=None, **more):
    """Return a run of 2 s: the second URL is slow and fails in part, all others are quick."""
    urls = tuple(WeightedUrl(f"{URL}{each}") for each in range(number))
    groups = {each: group(QUICK) for each in range(number)}
    groups[1] = group(SLOW, failures=Counter(status=3, reset=1), unfinished=2)
    groups[1].status[404] = 3
    whole = Histogram()
    for each in groups.values():
        whole.merge(each.service)
    counted = {
        "service": whole,
        "response": whole,
        "groups": groups,
        "started": whole.count,
        "sizes": Histogram.of([1_000] * 30 + [2_000_000]),
        "elapsed_ns": 2 * 10**9,
        "phases": Phases(connect=Histogram.of([70] * 4), lookup=Histogram.of([1_500])),
        **more,
    }
    return build_results(Plan(url=URL, urls=urls, stages=stages), Summary(**counted))


def staged():
    """Return a run of two stages, of which the second fails in part."""
    stages = {
        0: StageStats(10, 0, 0, 0, QUICK, QUICK, status=Counter({200: 30}), bytes_received=300),
        1: StageStats(
            12, 1, 2, 1, SLOW, SLOW, status=Counter({200: 10}), failures=Counter(reset=1)
        ),
    }
    plan = Plan(url=URL, stages="1s@10,1s@30")
    counted = {"service": QUICK, "response": QUICK, "elapsed_ns": 2 * 10**9, "stages": stages}
    return build_results(plan, Summary(started=22, **counted))


def shown(run, width=80, *, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=width, highlight=False)
    console.print(text.render(run))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def lines_of(page, title):
    """Return the lines of a table in the text, split into words, up to the next blank line."""
    lines = page.splitlines()
    start = next(at for at, line in enumerate(lines) if line.split()[:1] == [title])
    return [line.split() for line in lines[start : lines.index("", start)]]


# -- Text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("number", [3, 200])
def test_no_line_of_the_text_is_too_long(width, number):
    page = shown(report(number), width)
    assert max(map(len, page.splitlines())) <= width


def test_urls_are_in_the_text_by_the_time_spent_on_them():
    head, *rows = lines_of(shown(report()), "url")
    assert head == ["url", "requests", "pages/s", "bytes/s", "failed", "p50", "p95", "p99"]
    assert [row[0] for row in rows] == ["/1", "/0", "/2", "/1:"]
    assert rows[0][1:6] == ["14", "5.00", "450", "B", "4"]
    assert " ".join(rows[3]) == "/1: 200 x 10 404 x 3 reset x 1"


def test_of_many_urls_the_text_has_the_first_and_how_many_more():
    page = shown(report(200))
    rows = [row[0] for row in lines_of(page, "url")]
    assert rows.count("/1") == 1
    assert sum(row.startswith("/") and not row.endswith(":") for row in rows) == text.MAX_URLS
    assert f"and {200 - text.MAX_URLS} more" in page


def test_columns_are_left_out_before_values_stand_one_per_line():
    widths = (120, 76, 66)
    wide, narrow, least = (set(lines_of(shown(staged(), each), "stage")[0]) for each in widths)
    assert wide - narrow == {"pages/s", "bytes/s"}
    assert narrow - least == {"p95"}
    assert "offered/s" in shown(staged(), 40)


def test_a_long_url_is_cut_in_its_middle():
    urls = (WeightedUrl(f"{LONG}1"), WeightedUrl(f"{LONG}2"))
    run = build_results(
        Plan(url=URL, urls=urls), Summary(elapsed_ns=10**9, groups={0: group(QUICK)})
    )
    page = shown(run)
    assert [row[0][-5:] for row in lines_of(page, "url")[1:]] == ["page1", "page2"]
    assert max(map(len, page.splitlines())) <= 80


def test_phases_and_lookups_are_in_the_text():
    page = shown(report(1))
    assert lines_of(page, "phase")[1][:2] == ["connect", "4"]
    assert "1.50 ms, before the run" in page
    assert "phase" not in shown(report(1, phases=Phases()))


def test_sizes_are_in_the_text():
    assert "sizes      min 1.00 kB   p50 1.00 kB   p90 1.00 kB   p99 2.00 MB" in shown(report())
    assert "1.00 kB each" in shown(report(sizes=Histogram.of([1_000, 1_000])))
    assert "sizes" not in shown(report(sizes=Histogram()))


@pytest.mark.parametrize(("encoding", "full"), [("utf-8", "\N{FULL BLOCK}"), ("ascii", "#")])
def test_bars_are_beside_the_latencies(encoding, full):
    page = shown(report(), encoding=encoding)
    assert 30 * full in page
    assert full not in shown(report(), 30, encoding=encoding)  # no room


def test_a_short_bar_is_not_lost():
    assert bar(0, ascii_only=False) == bar(0, ascii_only=True) == ""
    assert (bar(0.01, ascii_only=True), bar(2.4, ascii_only=True)) == ("#", "##")
    assert (len(bar(0.01, ascii_only=False)), len(bar(2.5, ascii_only=False))) == (1, 3)


@given(st.lists(st.integers(0, 10**8), max_size=50), st.integers(1, 20))
def test_each_value_is_in_one_bin(values, number):
    histogram = Histogram.of(values)
    found = bins(histogram, number)
    assert sum(one.values for one in found) == len(values)
    assert len(found) <= number
    assert [one.top for one in found] == sorted({one.top for one in found})
    assert not values or found[-1].top == max(values)
    for below, (top, count) in zip([-1, *(one.top for one in found)], found, strict=False):
        inside = sum(below < value <= top for value in values)
        near = sum(abs(value - edge) <= 0.001 * edge for value in values for edge in (below, top))
        assert abs(inside - count) <= near  # values share buckets of 0.1 %


# -- Other forms ----------------------------------------------------------------------------------


def test_urls_are_in_the_document_in_the_order_of_the_plan():
    one = document.to_document(report())["by_url"][1]
    assert (one["method"], one["url"]) == ("GET", f"{URL}1")
    assert (one["succeeded"], one["failed"], one["unfinished"]) == (10, 4, 2)
    assert (one["pages_per_sec"], one["bytes_per_sec"], one["bytes_received"]) == (5, 450, 900)
    assert (one["status"], one["failures"]) == ({"200": 10, "404": 3}, {"status": 3, "reset": 1})
    assert one["latency"]["service"]["p50"] == 5_000
    assert one["latency"]["response"] is None
    assert document.to_document(report(1, groups={}))["by_url"] == []


@pytest.mark.parametrize("run", [report(), staged()], ids=["URLs", "stages"])
def test_parts_survive_a_round_trip(run):
    again = document.from_document(document.to_document(run))
    assert (again.by_url, again.stages) == (run.by_url, run.stages)
    assert (again.phases, again.sizes) == (run.phases, run.sizes)
    assert shown(again) == shown(run)


def test_others_have_no_url(without_plots):
    urls = tuple(WeightedUrl(f"{URL}{each}") for each in range(MAX_GROUPS + 1))
    counted = Summary(groups={MAX_GROUPS: group(QUICK)}, elapsed_ns=10**9)
    run = build_results(Plan(url=URL, urls=urls), counted)
    assert (run.by_url[-1].url, run.by_url[-1].succeeded) == (None, 30)
    assert "all others" in html.format_fragment(run)


def test_parts_are_on_the_page(without_plots):
    page = html.format_fragment(report())
    assert "<h2>URLs</h2>" in page
    assert "200 x 10, 404 x 3, reset x 1" in page
    assert "<h2>Phases</h2>" in page
    assert "<h2>Stages</h2>" in html.format_fragment(staged())
    assert "<summary>URLs: 200</summary>" in html.format_fragment(report(200))


def rows_of(write, run):
    stream = io.StringIO()
    write(run, stream)
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def test_urls_as_csv():
    rows = rows_of(tables.write_urls_csv, report())
    assert [row["url"] for row in rows] == [f"{URL}{each}" for each in range(3)]
    assert (rows[1]["succeeded"], rows[1]["failed"], rows[1]["unfinished"]) == ("10", "4", "2")
    assert (rows[1]["status"], rows[1]["failures"]) == ("200x10 404x3", "resetx1 statusx3")
    assert (rows[1]["service_p95_us"], rows[1]["service_stdev_us"]) == ("5000", "0")


def test_stages_as_csv():
    rows = rows_of(tables.write_stages_csv, staged())
    assert [(row["stage"], row["from_s"]) for row in rows] == [("1s@10", "0.0"), ("1s@30", "1.0")]
    assert (rows[1]["offered_per_sec"], rows[1]["late"], rows[1]["failures"]) == (
        "30.000", "1", "resetx1",
    )  # fmt: skip


def test_parts_are_written_beside_the_seconds(tmp_path):
    Report.of(report()).save(tmp_path / "run.csv")
    Report.of(staged()).save(tmp_path / "staged.csv")
    Report.of(report(1, groups={})).save(tmp_path / "one.csv")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("run.csv", "run.urls.csv", "staged.csv", "staged.stages.csv", "one.csv"),
    }  # fmt: skip
    assert formats.planned_parts(Plan(url=URL, stages="1s@10,1s@30")) == ["stages"]
