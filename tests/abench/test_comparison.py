"""Differences told from chance: known ones are found, and none where there is none."""

import json
import random

import pytest

from abench.comparison import compare, sentence
from abench.errors import ParameterError
from abench.histogram import Histogram
from abench.moments import Moment
from abench.plan import Plan
from abench.report import derive, document
from abench.series import Series
from abench.summary import Summary

PLAN = Plan(url="http://h/")


def run(rate=1000.0, latency_us=1000.0, seconds=20, seed=0, noise=0.05):
    """A run whose seconds differ by chance: normally by `noise`, and from one to the next."""
    chance = random.Random(seed)
    series, whole = Series(), Summary(elapsed_ns=seconds * 10**9)
    for at_s in range(seconds):
        number = max(1, round(rate * chance.gauss(1, noise)))
        times = [max(1, round(latency_us * chance.lognormvariate(0, 0.5))) for _ in range(number)]
        moment = Moment(number, 0, 0, Histogram.of(times))
        series.add(at_s, moment)
        whole.service.merge(moment.service)
    whole.series = series
    return derive(PLAN, whole)


def quick(seed, rate=200):
    """A run of few different latencies, which is quick to draw from."""
    return run(rate=rate, latency_us=3, seed=seed)


def difference(name, before, after):
    return next(one for one in compare(before, after) if one.name == name)


def test_a_known_difference_is_found_and_bounded():
    found = difference("pages/sec", [run(seed=1)], [run(rate=1120, seed=2)])
    assert found.is_sure
    assert found.low < 12 < found.high
    assert found.high - found.low < 12
    assert found.worse_by < 0


def test_slower_is_worse():
    found = difference("p99", [run(seed=1)], [run(latency_us=1300, seed=2)])
    assert found.is_sure
    assert found.low < 30 < found.high
    assert found.fails(tolerate=5)
    assert not found.fails(tolerate=50)


def test_chance_is_taken_for_a_difference_as_rarely_as_promised():
    sure = sum(
        difference("pages/sec", [quick(seed)], [quick(seed + 1000)]).is_sure for seed in range(40)
    )
    assert sure <= 6  # of 40, 2 are to be expected, and 7 or more once in 300 times


def test_seconds_without_an_answer_count_as_such():
    """Six of ten seconds are missing: 60 % less, whatever was in the others."""
    good, bad = (run(seconds=10, noise=0.01, seed=seed) for seed in (1, 2))
    for at_s in range(2, 8):
        del bad.summary.series.moments[at_s]
    whole = Histogram()
    for moment in bad.summary.series.moments.values():
        whole.merge(moment.service)
    bad = derive(PLAN, Summary(elapsed_ns=10**10, series=bad.summary.series, service=whole))
    found = difference("pages/sec", [good], [bad])
    assert found.percent == pytest.approx(-60, abs=2)
    assert found.fails(tolerate=20)
    again = document.load(json.loads(json.dumps(document.document(bad))))
    assert difference("pages/sec", [good], [again]) == found


def test_repeated_runs_are_what_chance_is_judged_by():
    # Within a run nothing varies; between runs everything does.
    rates = (90, 100, 110)
    before = [run(rate=rate, noise=0, latency_us=3) for rate in rates]
    after = [run(rate=rate * 1.1, noise=0, latency_us=3) for rate in rates]
    assert not difference("pages/sec", before, after).is_sure
    assert difference("pages/sec", before[1:2], after[1:2]).is_sure


def test_too_few_seconds_are_not_judged():
    found = difference("pages/sec", [run(seconds=2)], [run(seconds=2, rate=2000)])
    assert (found.low, found.high) == (None, None)
    assert "too few" in sentence(found)


def test_the_same_files_give_the_same_words():
    one, other = quick(1), quick(2, rate=224)
    again = document.load(json.loads(json.dumps(document.document(one))))
    assert compare([one], [other]) == compare([again], [other])


def test_differences_are_said_in_words():
    found = difference("pages/sec", [quick(1)], [quick(2, rate=240)])
    words = sentence(found)
    assert words.startswith(f"{found.percent:.3g} % more pages/s, 95 % sure it is between ")
    none = difference("p50", [quick(1)], [quick(3)])
    assert "no difference that is sure" in sentence(none)


def test_what_cannot_be_compared_is_said():
    nothing = derive(PLAN, Summary(elapsed_ns=10**9))
    with pytest.raises(ParameterError, match="no successes"):
        compare([run()], [nothing])
    paced = derive(Plan(url="http://h/", rate=1.0), run().summary)
    with pytest.raises(ParameterError, match="schedule"):
        compare([run()], [paced])


async def test_the_commands(serve, abench, tmp_path):
    server = await serve()
    for name in "ab":
        words = ("-t", "1.3", "-c", "2", "--quiet", "--json", str(tmp_path / f"{name}.json"))
        assert (await abench(*words, server.url)).code == 0
    files = [str(tmp_path / f"{name}.json") for name in "ab"]
    ran = await abench("compare", *files, "--tolerate", "1000000%")
    assert (ran.code, ran.err) == (0, "")
    assert "pages/sec" in ran.out
    plain = (await abench("compare", *files, "--json")).json
    assert [one["name"] for one in plain["differences"]] == ["pages/sec", "p50", "p90", "p99"]

    ran = await abench("report", files[0], "--csv", str(tmp_path / "again.csv"))
    assert ran.code == 0
    assert server.url in ran.out
    assert (tmp_path / "again.csv").read_text().count("\n") == 1 + 2


async def test_worse_than_tolerated_is_code_4(abench, tmp_path):
    for name, rate in (("a", 200), ("b", 140)):
        with (tmp_path / f"{name}.json").open("w") as stream:
            document.write(quick(1, rate), stream)
    ran = await abench(
        "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--tolerate=5"
    )
    assert ran.code == 4
    assert "FAILED pages/sec is worse by 3" in ran.out


async def test_ab_measures_in_turns(serve, abench):
    one, other = await serve(), await serve()
    words = ("ab", "--rounds", "3", "-n", "40", "-w", "1", one.url, other.url)
    ran = await abench(*words)
    assert (ran.code, len(one.requests), len(other.requests)) == (0, 120, 120)
    assert [line.split()[4] for line in ran.err.splitlines()] == list("ABBAAB")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("compare", "a.json", "b.json"), "a.json: no such file"),
        (("compare", "/dev/null", "/dev/null"), "it is no report"),
        (("compare", "/dev/null", "/dev/null", "--tolerate", "x"), "--tolerate: "),
        (("report", "/dev/null"), "it is no report"),
        (("ab", "http://127.0.0.1/"), "URL: ab compares two"),
        (("ab", "--rounds", "1", "http://127.0.0.1/", "http://127.0.0.1/"), "--rounds: "),
        (("--fail-if", "x", "http://127.0.0.1/"), "--fail-if: "),
        (("--server-pid", "4194305", "http://127.0.0.1/"), "--server-pid: "),
    ],
)
def test_bad_words_are_one_line_and_code_2(words, named, refused):
    ran = refused(*words)
    assert ran.code == 2
    assert named in ran.err
    assert ran.err.count("\n") == 1


async def test_calibrate_loads_a_server_of_its_own(abench):
    ran = await abench("calibrate", "-t", "0.2", "-w", "1", "--json")
    assert ran.code == 0
    assert set(ran.json) == {
        "1 connections",
        "64 connections",
        "1,000 connections",
        "64, one a request",
    }
    assert all(figures["pages_per_sec"] > 0 for figures in ran.json.values())
