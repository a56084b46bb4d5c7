"""The rows of the page on the models: nothing that was not measured looks like a figure."""

import json
import select
import socket
from pathlib import Path

import pytest

from aserve.transport.registry import BY_THE_BOOK, MODELS
from benchmarks import results
from benchmarks.loads import count_failures_of_wrk
from benchmarks.models import page, quotes, slow_disk
from benchmarks.models.__main__ import merged, selected
from benchmarks.models.contenders import ALL, contenders
from benchmarks.models.load import Seen, count_open, silent_clients
from benchmarks.models.tables import contenders_of, notes, table
from benchmarks.models.works import WORKS
from benchmarks.processes import NoMeasurement
from benchmarks.results import Result
from benchmarks.servers import HERE

ROOT = HERE.parent


def found() -> Result:
    measured = {"servers": {"epoll": "a", "select": "b", "poll": "c"}, "rounds": 3, "seconds": 1}
    where = {"machine": "two cores", "versions": {}, "date": "today", "revision": "abc"}
    result = Result("small-64", "1 KB", where | measured)
    for rate in (5_000.0, 7_000.0, 6_000.0):
        result.add("epoll", {"rate": rate, "us": 1e6 / rate, "requests": rate, "failed": 0})
    result.add("select", {"rate": 50.0, "us": 9.0, "requests": 100, "failed": 50, "switches": 0})
    result.throw_out("select", "errors: 1 timeout")
    result.throw_out("poll", "it did not listen within 20 s")
    return result


def row(name: str, result: Result) -> dict[str, str]:
    head, *body = table(result)
    return next(dict(zip(head, cells, strict=True)) for cells in body if cells[0] == name)


def test_a_cell_has_the_median_and_the_range_of_the_rounds() -> None:
    assert row("epoll", found())["pages/s"] == "6,000 (5,000 to 7,000)"


def test_what_was_not_measured_is_no_zero_and_has_a_reason() -> None:
    result = found()
    assert set(row("poll", result).values()) == {"poll", "—"}
    assert row("epoll", result)["context switches per page"] == "—"
    assert row("select", result)["context switches per page"] == "0"
    told = "\n".join(notes(result))
    assert "poll is left out: it did not listen within 20 s" in told
    assert "select is 1 round short: errors: 1 timeout" in told
    assert "Context switches are not known (—)" in told
    assert "Not measured yet: " in told
    assert "iterative" in told


def test_failures_are_counted_per_cell() -> None:
    assert row("select", found())["failed requests"] == "50 of 100"
    assert row("epoll", found())["failed requests"] == "0"


def test_the_best_come_first_and_the_unmeasured_last() -> None:
    order = contenders_of(found())
    assert order[:2] == ["epoll", "select"]
    assert set(order) == set(ALL)


def test_pages_with_an_error_status_are_no_pages() -> None:
    line = {"requests": 90, "seconds": 2.0, "received": 9, "p99_ms": 1.5}
    errors = {"connect": 0, "read": 1, "write": 0, "timeout": 2, "status": 40}
    counted = count_failures_of_wrk(json.dumps(line | {"errors": errors}))
    assert (counted.replies, counted.failed) == (50, 43)
    errors["status"] = 90
    with pytest.raises(NoMeasurement, match=r"no page came: .*90 responses had an error status"):
        count_failures_of_wrk(json.dumps(line | {"errors": errors}))
    nothing = json.dumps(line | {"requests": 0, "errors": dict.fromkeys(errors, 0)})
    with pytest.raises(NoMeasurement, match="no response at all"):
        count_failures_of_wrk(nothing)


def test_switches_of_a_thread_that_has_ended_are_not_guessed() -> None:
    before = Seen(1.0, {"main": 10, "worker": 5})
    assert Seen(1.5, {"main": 30, "worker": 5, "new": 20}).since(before, 10) == {
        "us": 50_000,
        "switches": 4,
    }
    assert "switches" not in Seen(1.5, {"main": 30}).since(before, 10)


def test_silent_clients_that_were_closed_are_not_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with silent_clients(listener.getsockname()[1], 3) as clients:
            accepted = [listener.accept()[0] for _ in clients]
            assert count_open(clients) == 3
            accepted.pop().close()
            with select.epoll() as poll:  # until the kernel has told the client
                for client in clients:
                    poll.register(client, select.EPOLLIN)
                assert len(poll.poll()) == 1
            assert count_open(clients) == 2
        for server in accepted:
            server.close()


def test_a_row_keeps_what_was_found_of_contenders_not_measured_again() -> None:
    new = Result("small-64", "1 KB", {"servers": {"poll": "new"}})
    new.add("poll", {"rate": 1.0})
    both = merged(found(), new)
    assert both.rounds["poll"] == {"rate": [1.0]}
    assert "poll" not in both.thrown_out
    assert both.thrown_out["select"] == ["errors: 1 timeout"]
    assert len(both.rounds["epoll"]["rate"]) == 3
    assert both.conditions["servers"] == {"epoll": "a", "select": "b", "poll": "new"}


def test_a_contender_is_selected_by_its_name_or_its_model() -> None:
    work = WORKS["small-64"]
    assert selected(work, None) == list(ALL)
    assert selected(work, ["proactor"]) == ["proactor", "proactor, 8 threads"]
    assert selected(work, ["reactor, by the book"]) == ["reactor, by the book"]


def test_every_model_and_each_form_of_it_has_a_row() -> None:
    words = " ".join(f"{contenders()[name].words} " for name in ALL)
    assert all(f"--model {name} " in words for name in MODELS)
    assert all(f"--model {name} --by-the-book" in words for name in BY_THE_BOOK)
    for work in WORKS.values():
        assert set(work.servers) <= contenders().keys()
    assert set(WORKS["slow-64"].servers) == slow_disk.WAITS.keys()


def test_the_page_and_the_figures_that_others_quote_are_those_of_the_results() -> None:
    there = results.read(ROOT / page.FOLDER, WORKS)
    text = (ROOT / page.PAGE).read_text(encoding="utf-8")
    drawn = [name for name in (page.RATES, page.COSTS, page.SIZES) if f"images/{name}" in text]
    assert page.page(there, drawn) == text
    for one in quotes.PAGES:
        text = (ROOT / one).read_text(encoding="utf-8")
        assert quotes.updated(text, there) == text


def test_both_languages_quote_the_same_figures() -> None:
    english, chinese = (quotes.quoted((ROOT / one).read_text()) for one in quotes.PAGES)
    assert english
    assert sorted(english) == sorted(chinese)
    for key in english:
        work, name, _figure = key.split(" | ")
        assert name in WORKS[work].servers


def test_a_quoted_figure_is_written_anew() -> None:
    there = {"small-64": found()}
    text = (
        "It served 7<!-- small-64 | epoll | rate --> and —<!-- memory | epoll | kib_each --> KiB."
    )
    new = quotes.updated(text, there)
    assert new.startswith("It served 6,000<!-- small-64 | epoll | rate --> and —<!-- memory")
    assert quotes.updated(new, there) == new
    gone = quotes.updated(text, {})
    assert gone.startswith("It served —<!-- ")
    assert quotes.updated(gone, there) == new


def test_a_page_of_few_results_says_what_is_missing(tmp_path: Path) -> None:
    assert page.page({}, []).count("Not measured yet.") == len(WORKS)
    found().save(tmp_path)
    text = page.page(results.read(tmp_path, WORKS), [])
    assert "| epoll | 6,000 (5,000 to 7,000) |" in text
    assert text.count("Not measured yet.\n") == len(WORKS) - 1
