"""The pages that are written from results: the committed ones, and what their rows say."""

import pytest

from benchmarks import page, results, rounds, summary
from benchmarks.compression import table
from benchmarks.loops import page as loops
from benchmarks.results import Result
from benchmarks.servers import HERE

ROOT = HERE.parent
TIMES = "\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}"


def result(work: str, **figures: dict[str, float]) -> Result:
    """Return a result of one round: server -> figure -> value."""
    where = {"machine": "two cores", "versions": {}, "date": "2026-01-02 03:04 UTC"}
    asked = {"rounds": 1, "seconds": 1, "load": "", "servers": {}, "revision": "abc"}
    found = Result(work, work, where | asked)
    for server, values in figures.items():
        found.add(server.replace("_", " "), values)
    return found


def test_committed_pages_are_those_that_the_results_give() -> None:
    found = results.read(ROOT / results.FOLDER)
    for path, text in page.pages(ROOT, found).items():
        assert (ROOT / path).read_text() == text, f"{path}: python -m benchmarks --render"


def test_the_page_of_two_minutes_has_one_table_four_plots_and_no_goals() -> None:
    text = page.page(results.read(ROOT / results.FOLDER))
    assert text.count("| --- |") == 1
    assert text.count("[![") == 4
    for written in (text, rounds.page(results.read(ROOT / results.FOLDER))):
        assert "goal" not in written.lower()


def test_a_cell_has_the_multiple_of_the_cheapest_configuration() -> None:
    costs = {"aserve": {"us": 10.0}, "nginx": {"us": 12.0}, "nginx_sendfile": {"us": 5.0}}
    head, row = summary.table({"1k-64": result("1k-64", **costs)})
    assert head == ["", "aserve", "nginx"]
    assert row == ["1 KB, 64 connections", "**10.0**", f"{TIMES}0.50<br>5.00"]


def test_what_a_row_lacks_is_a_dash_and_what_nobody_has_is_no_column() -> None:
    found = {
        "1k-64": result("1k-64", aserve={"us": 10.0}, h2o={"us": 200.0}, floor={"us": 1.0}),
        "304": result("304", aserve={"us": 10.0}),
        "4k": result("4k", aserve={"us": 1.0}),  # no row of the table
    }
    head, first, second = summary.table(found)
    assert head == ["", "aserve", "h2o"]
    assert first[2] == f"{TIMES}20<br>200"
    assert second[2] == "\N{EM DASH}"


def test_where_aserve_is_behind_is_said_farthest_first() -> None:
    found = {
        "1k-64": result("1k-64", aserve={"us": 10.0}, nginx={"us": 20.0}),
        "304": result("304", aserve={"us": 30.0}, nginx={"us": 20.0}, h2o={"us": 25.0}),
        "1m": result("1m", aserve={"us": 40.0}, lighttpd={"us": 20.0}),
    }
    said = summary.said(found)
    assert said.startswith("aserve is the cheapest in 1 of 3 rows.")
    assert "1 MB (2.00 times lighttpd), and 304 Not Modified (1.50 times nginx)" in said
    assert summary.said({}) == ""


@pytest.fixture
def compressed() -> dict[str, Result]:
    first = {
        "aserve": {"last_byte_ms": 12.0, "reply_cpu_ms": 6.0, "wire_kib": 250.0},
        "nginx_gzip_1": {"last_byte_ms": 9.0, "reply_cpu_ms": 7.0, "wire_kib": 280.0},
        "nginx_gzip_4": {"last_byte_ms": 10.0, "reply_cpu_ms": 12.0, "wire_kib": 244.0},
    }
    site = {"cold_kib": 100.0, "later_kib": 80.0, "cold_ms": 9.0, "later_ms": 8.0}
    return {
        "zip-first-gzip": result("zip-first-gzip", **first),
        "zip-site-mkdocs": result("zip-site-mkdocs", aserve=site),
    }


def test_a_first_response_is_compared_with_the_level_of_its_size(
    compressed: dict[str, Result],
) -> None:
    said = table.same_size(compressed)
    assert "*nginx gzip 4* has about the same size (244 KiB, aserve 250)" in said
    assert "1.20 times as long until the last byte, and 0.50 times the processor time" in said
    del compressed["zip-first-gzip"].rounds["aserve"]
    assert table.same_size(compressed) == ""


def test_what_was_not_measured_of_compression_is_no_figure(compressed: dict[str, Result]) -> None:
    head, ours, *_ = table.servers(compressed)
    cells = dict(zip(head, ours, strict=True))
    assert (cells[""], cells["first 1 MB: ms"]) == ("aserve", "12.0")
    assert cells["compressed before: \N{MICRO SIGN}s"] == "\N{EM DASH}"
    assert table.in_chromium(compressed)[1] == ["mkdocs, aserve", "100", "80.0", "9.00", "8.00"]
    assert table.measured({}) == "Not measured yet.\n"


def test_a_page_is_changed_between_its_marks_alone(compressed: dict[str, Result]) -> None:
    marks = "<!-- measured: written by make compare -->", "<!-- end of what was measured -->"
    before = f"a\n{marks[0]}old{marks[1]}\nb\n"
    after = table.updated(before, compressed)
    assert after.startswith(f"a\n{marks[0]}\n\nWhat compression costs")
    assert after.endswith(f"{marks[1]}\nb\n")
    assert "old" not in after
    assert table.updated(after, compressed) == after
    assert table.updated("no marks\n", compressed) == "no marks\n"


def test_loops_have_a_page_of_their_own_and_no_row_elsewhere() -> None:
    name = loops.NAMES[0]
    found = {name: result(name, on_uvloop={"us": 1.0}, on_asyncio={"us": 2.0})}
    pages = page.pages(ROOT, found)
    assert "| on asyncio | 2.00 | 2.00 |" in pages[loops.PAGE]
    assert "on asyncio" not in pages[page.ROUNDS]
    assert "Not measured yet." in loops.page({})
