"""Histories of runs, and `abench trend`."""

import json
import multiprocessing
import random
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from abench.cli.outputs import Outputs
from abench.cli.trend import show_trend
from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.report import history
from abench.report.destinations import append
from abench.stats.environment import Environment
from abench.stats.histogram import Histogram
from abench.stats.history import HistoryEntry
from abench.stats.results import build_results
from abench.stats.summary import Summary
from abench.stats.trend import find_trends

SECOND = 1_000_000_000
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "abench-history.schema.json").read_text())
MACHINE = {"system": "Linux 6", "processor": "P", "cores": 2, "memory_bytes": 8_000_000_000}


def run(day=1, latency_us=1_000, machine=None, command=(), plan=None, **more):
    summary = Summary(service=Histogram.of([latency_us] * 100), elapsed_ns=SECOND, **more)
    started = f"2026-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00+00:00"
    environment = Environment(
        ("abench", *command), started, {"abench": "1"}, machine or MACHINE, f"commit{day}"
    )
    report = build_results(plan or Plan(url="http://127.0.0.1:40000/"), summary)
    return replace(report, environment=environment)


def entries(*reports):
    return [HistoryEntry.of(report) for report in reports]


def history_of(path, reports):
    with path.open("a") as stream:
        for report in reports:
            history.write_entry(report, stream)
    return path


def noisy(seed, days, latency_us=1_000, **more):
    rng = random.Random(seed)
    return [run(day, round(latency_us * rng.gauss(1, 0.01)), **more) for day in days]


# The file.


def test_a_line_matches_the_schema_and_is_read_again(tmp_path):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    report = run(stopped_by=2)
    path = history_of(tmp_path / "h.jsonl", [report])
    plain = json.loads(path.read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(plain)
    assert plain.keys() == SCHEMA["properties"].keys() == set(SCHEMA["required"])
    assert history.read_history(path) == (entries(report), [])


def test_a_run_is_appended(tmp_path):
    path = tmp_path / "h.jsonl"
    for day in (1, 2):
        outputs = Outputs(history=str(path))
        outputs.check(scheduled=False)
        assert outputs.show_environment
        assert outputs.write_all(run(day), 0) == 0
    found, invalid = history.read_history(path)
    assert [entry.revision for entry in found] == ["commit1", "commit2"]
    assert invalid == []


def append_many(path, name):
    for number in range(50):
        append(path, f"{name}-{number} {'x' * 5_000}\n".encode())


def test_several_writers_lose_nothing_and_mix_nothing(tmp_path):
    path = tmp_path / "h.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    lines = path.read_text().splitlines()
    assert {line for line in lines if not re.fullmatch(r"[abc]-\d+ x{5000}", line)} == set()
    assert len({line[:5].partition(" ")[0] for line in lines}) == len(lines) == 150


def test_a_torn_line_costs_that_line_alone(tmp_path, capsys):
    path = history_of(tmp_path / "h.jsonl", [run(1)])
    with path.open("a") as stream:
        stream.write('{"schema": 1, "started_')  # killed in the middle
    outputs = Outputs(history=str(path))
    outputs.check(scheduled=False)
    outputs.write_all(run(2), 0)
    found, invalid = history.read_history(path)
    assert ([entry.revision for entry in found], invalid) == (["commit1", "commit2"], [2])
    assert show_trend(path) == 0
    assert f"line 2 of {path} is no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is not a history"),
        ("[]\n{}\n1\n", "it is not a history"),
        ('{"schema": 1, "failed_conditions": []}', "it is not a history"),
        ('{"schema": 2}', "its schema is 2"),
    ],
)
def test_what_is_no_history_is_named(tmp_path, content, reason):
    path = tmp_path / "h.jsonl"
    path.write_text(content)
    with pytest.raises(ParameterError, match=f"h.jsonl: {reason}"):
        history.read_history(path)
    with pytest.raises(ParameterError, match="no such file"):
        history.read_history(tmp_path / "none")


@pytest.mark.parametrize("wrong", [{"figures": {"p50": "1"}}, {"succeeded": None}, {"new": 1}])
def test_a_line_with_a_wrong_value_is_no_run(tmp_path, wrong):
    path = history_of(tmp_path / "h.jsonl", [run(1)])
    line = json.loads(path.read_text())
    path.write_text(path.read_text() + json.dumps({**line, **wrong}) + "\n")
    assert history.read_history(path)[1] == [2]


# Which runs are compared.


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"machine": {**MACHINE, "cores": 4}}, "machine"),
        ({"machine": {**MACHINE, "memory_bytes": 16_000_000_000}}, "machine"),
        ({"plan": Plan(url="http://127.0.0.1:40000/", connections=7)}, "connections"),
        ({"plan": Plan(url="http://127.0.0.1:40000/other")}, "path"),
        ({"plan": Plan(url="http://10.0.0.1:40000/")}, "server"),
        ({"plan": Plan(url="http://127.0.0.1:8001/")}, "server"),
        ({"command": ("-H", "Accept: text/html")}, "options"),
    ],
)
def test_other_conditions_are_another_trend(more, name):
    trends = find_trends(entries(run(1), run(2, **more), run(3)))
    assert [len(trend.entries) for trend in trends] == [2, 1]
    assert all(list(trend.label) == [name] for trend in trends)


@pytest.mark.parametrize(
    "more",
    [
        {"machine": {**MACHINE, "memory_bytes": 8_000_004_096, "system": "Linux 7"}},
        {"plan": Plan(url="http://127.0.0.1:50123/")},  # port 0: the kernel chooses one
        {"command": ("--json", "run.json", "--history=h", "--revision", "x", "--quiet")},
    ],
)
def test_what_differs_by_itself_is_the_same_trend(more):
    (trend,) = find_trends(entries(run(1), run(2, **more)))
    assert (len(trend.entries), trend.label) == (2, {})


def test_runs_are_in_the_order_of_their_starts_and_copies_count_once():
    (trend,) = find_trends(entries(run(3), run(1), run(1), run(2)))
    assert [entry.revision for entry in trend.entries] == ["commit1", "commit2", "commit3"]


def test_runs_without_figures_are_left_out():
    failed = build_results(Plan(url="http://127.0.0.1:40000/"), Summary())
    failed = replace(failed, environment=run(2).environment)
    (trend,) = find_trends(entries(run(1), failed, run(3, lost=1)))
    assert (len(trend.entries), trend.left_out) == (1, 2)
    (nothing,) = find_trends(entries(failed))
    assert (nothing.entries, nothing.changes, nothing.left_out) == ([], [], 1)


def test_what_a_run_does_without_is_no_condition():
    """Else each new condition of a later abench would begin another trend."""
    assert {"", "-", "none"}.isdisjoint(HistoryEntry.of(run(1)).conditions.values())


# What is found.


@cache
def slower(system="Linux 6"):
    """Return twelve runs and eight slower ones, on another release of the system if given."""
    later = noisy(2, range(12, 20), 1_300, machine={**MACHINE, "system": system})
    return noisy(1, range(12)) + later


def test_a_change_is_found_with_its_size_and_its_revision():
    (trend,) = find_trends(entries(*slower()))
    changes = {change.name: change for change in trend.changes}
    assert set(changes) == {"p50", "p90", "p99"}
    change = changes["p50"]
    assert (change.place, change.entry.revision) == (12, "commit12")
    assert change.percent == pytest.approx(30, abs=2)
    assert {one.name for one in trend.worse(20)} == {"p50", "p90", "p99"}
    assert trend.worse(40) == []
    assert change.circumstances == {}


def test_what_else_has_changed_is_said():
    (trend,) = find_trends(entries(*slower("Linux 7")))
    assert trend.changes[0].circumstances == {"system": ("Linux 6", "Linux 7")}


@pytest.mark.slow
def test_a_level_that_has_lasted_is_no_alarm():
    reports = [*slower(), *noisy(3, range(20, 23), 1_300)]
    (trend,) = find_trends(entries(*reports))
    assert [change.place for change in trend.changes if change.name == "p50"] == [12]
    assert trend.worse(5) == []


@pytest.mark.slow
def test_only_the_last_change_of_a_metric_is_judged():
    reports = [*slower(), *noisy(3, range(20, 30))]
    (trend,) = find_trends(entries(*reports))
    assert [change.place for change in trend.changes if change.name == "p50"] == [12, 20]
    assert trend.worse(5) == []


def test_the_text_and_the_exit_code(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path = history_of(tmp_path / "h.jsonl", slower())
    assert show_trend(path, tolerance="40") == 0
    quiet = capsys.readouterr().out
    assert "FAILED" not in quiet
    assert max(map(len, quiet.splitlines())) <= 80
    assert re.search(
        r"2026-01-13  p50 \+\d\S* %, from \S+ [um]s to \S+ ms, since run 13 of 20", quiet
    )
    assert show_trend(path, tolerance="5%") == 4
    assert capsys.readouterr().out.count("FAILED 2026-01-13") == 3
    assert show_trend(path, as_json=True) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [one["at"] for one in plain["trends"][0]["changes"]] == [12, 12, 12]
    assert plain["trends"][0]["metrics"]["p50"]["levels"][1]["from"] == 12
    assert plain["worse"] == []


def test_histories_without_a_change(tmp_path, capsys):
    path = history_of(tmp_path / "few.jsonl", noisy(1, range(3)))
    assert show_trend(path, tolerance="0") == 0
    assert "Too few runs to find a change: 6 are the least." in capsys.readouterr().out
    path = history_of(tmp_path / "same.jsonl", [run(day) for day in range(9)])
    assert show_trend(path, tolerance="0") == 0
    assert "No change." in capsys.readouterr().out


@pytest.mark.slow
def test_the_page_and_the_image(tmp_path, capsys):
    path = history_of(tmp_path / "h.jsonl", [*slower(), run(40, machine={**MACHINE, "cores": 4})])
    page, image = tmp_path / "t.html", tmp_path / "t.svg"
    assert show_trend(path, html=str(page), svg=str(image)) == 0
    shown = page.read_text()
    assert shown.count("<figure>") == 8  # four metrics of two machines
    assert "machine: P, 4 cores, 8 GB" in shown
    assert "since run 13 of 20" in shown
    assert "<script" not in shown
    root = ET.fromstring(image.read_text())
    assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == 8
    ids = re.findall(r'\bid="([^"]+)"', shown)
    shared = [
        one
        for one in ids
        if not re.match(r"(figure|patch|axes|text|xtick|ytick|line2d|matplotlib)", one)
    ]
    assert len(shared) == len(set(shared))
    assert show_trend(path, html="-") == 0
    printed = capsys.readouterr()
    assert "<!doctype html>" in printed.out
    assert "run 13 of 20" in printed.err


def test_the_history_is_not_overwritten(tmp_path):
    path = history_of(tmp_path / "h.svg", [run(1)])
    with pytest.raises(ParameterError, match="is the input of FILE"):
        show_trend(path, svg=str(path))
