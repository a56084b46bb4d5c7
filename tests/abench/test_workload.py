"""Workloads of several requests: how often, in which order, and how their sources are read."""

import contextlib
import json
import math
from collections import Counter
from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan import log_replay, url_file
from abench.plan.request import RequestTemplate
from abench.plan.schedule import RecordedSchedule
from abench.plan.success import DEFAULT_CRITERIA, SuccessCriteria
from abench.plan.target import Target
from abench.plan.url_file import WeightedUrl
from abench.plan.workload import interleave, recorded_workload, weighted_workload


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_each_index_comes_as_often_as_its_weight_and_evenly(weights: list[int]) -> None:
    order = interleave(weights)
    shares = Counter(order)
    for index, weight in enumerate(weights):
        assert shares[index] * sum(weights) == weight * len(order)
        turns = [turn for turn, one in enumerate(order) if one == index]
        gaps = [after - before for before, after in pairwise(turns)]
        assert not gaps or max(gaps) <= len(order) / shares[index] + len(weights)


def test_numbers_differ_between_shares() -> None:
    target = Target.parse("http://h/{n}")
    shares = [
        weighted_workload([(target, 1)], RequestTemplate(), DEFAULT_CRITERIA, part, 3)
        for part in range(3)
    ]
    sent = [data.split()[1] for share in shares for data, _ in islice(share, 4)]
    assert sorted(sent) == sorted(b"/%d" % number for number in range(1, 13))


def test_shares_start_at_different_places() -> None:
    targets = [(Target.parse(f"http://h/{name}"), 1) for name in "abcd"]
    first = [
        next(weighted_workload(targets, RequestTemplate(), DEFAULT_CRITERIA, part, 2))[0][:6]
        for part in range(2)
    ]
    assert first == [b"GET /a", b"GET /c"]


def test_a_log_is_replayed_once_and_in_order() -> None:
    lines = ("GET /1", "HEAD /2", "GET /1", "GET /2", "HEAD /1")
    log = log_replay.parse_log([COMMON.replace("GET /apache_pb.gif", line) for line in lines])
    target = Target.parse("http://h/")
    shares = [
        recorded_workload(log.entries, target, RequestTemplate(), DEFAULT_CRITERIA, part, 2)
        for part in range(2)
    ]
    sent = [[data[:7] for data, _ in islice(share, count)] for share, count in
            zip(shares, (3, 2), strict=True)]  # fmt: skip
    assert sent == [[b"GET /1 ", b"GET /1 ", b"HEAD /1"], [b"HEAD /2", b"GET /2 "]]
    with pytest.raises(StopIteration):
        next(shares[0])


def test_a_file_of_urls() -> None:
    lines = ["# all of it", "", "/a", "3 /b?c", "  2\thttp://h:8/d "]
    assert list(url_file.parse_urls(lines, "http://h:8/x/y")) == [
        WeightedUrl("http://h:8/a"),
        WeightedUrl("http://h:8/b?c", 3),
        WeightedUrl("http://h:8/d", 2),
    ]


@pytest.mark.parametrize("path", ["/a/../b", "/./a", "/a//b", "/..", "/a?b=../c", "/a;b/../c"])
@pytest.mark.parametrize("base", ["http://h:8", "http://h:8/x/y?z", "http://h:8?a/b"])
def test_a_path_in_a_file_is_requested_as_it_was_typed(path: str, base: str) -> None:
    (weighted,) = url_file.parse_urls([path], base)
    assert weighted.url == f"http://h:8{path}"
    assert Target.parse(weighted.url).resource == path


@pytest.mark.parametrize("line", ["a b c", "0 /a", "10001 /a", "-1 /a", "² /a", "/no-server"])
def test_an_invalid_line_is_named_by_its_number(line: str) -> None:
    with pytest.raises(ParameterError, match=r"^--urls: line 2"):
        list(url_file.parse_urls(["http://h/", line], None))


@given(st.text())
def test_any_file_of_urls_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ParameterError):
        assert all(one.weight >= 1 for one in url_file.parse_urls(text.splitlines(), "http://h/"))


COMMON = '127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
COMBINED = (
    '127.0.0.1 - frank [10/Oct/2000:13:55:37 -0700] "HEAD /a%20b?c HTTP/1.0" 200 2326 '
    '"http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"'
)


def test_a_log_in_the_formats_of_apache_and_nginx() -> None:
    # httpd.apache.org, "Log Files", has these lines.
    log = log_replay.parse_log([COMBINED, COMMON, "", "nonsense"])
    assert log.skipped == 1
    assert [(one.at_s, one.method, one.resource) for one in log.entries] == [
        (0.0, "GET", "/apache_pb.gif"),
        (1.0, "HEAD", "/a%20b?c"),
    ]


JSON_LINES = {
    "epoch": {"ts": 1700000000.25, "method": "GET", "uri": "/a"},
    "milliseconds": {"timestamp": 1700000000250, "request_method": "GET", "path": "/a"},
    "microseconds": {"timestamp": 1700000000250000, "method": "GET", "path": "/a"},
    "nanoseconds": {"time": 1700000000250000000, "method": "GET", "path": "/a"},
    "digits in quotes": {"ts": "1700000000.250", "method": "GET", "path": "/a"},
    "nanoseconds in quotes": {"ts": "1700000000250000000", "method": "GET", "path": "/a"},
    "ISO 8601 to the nanosecond": {
        "time": "2023-11-14T22:13:20.250000001Z",
        "method": "GET",
        "target": "/a",
    },
    "common with a fraction": {
        "time_local": "14/Nov/2023:22:13:20.250 +0000",
        "method": "GET",
        "target": "/a",
    },
    "ISO 8601": {"time": "2023-11-14T22:13:20.250Z", "method": "GET", "target": "/a"},
    "request line": {"time_iso8601": "2023-11-14T22:13:20.250+00:00", "request": "GET /a HTTP/1.1"},
    "nested": {"ts": 1700000000.25, "request": {"method": "GET", "uri": "/a"}},
}


@pytest.mark.parametrize("name", JSON_LINES)
def test_a_log_in_json(name: str) -> None:
    first = {"ts": 1700000000.0, "method": "GET", "uri": "/first"}
    log = log_replay.parse_log([json.dumps(first), json.dumps(JSON_LINES[name])])
    assert log.skipped == 0
    assert [(round(one.at_s, 3), one.resource) for one in log.entries] == [
        (0, "/first"),
        (0.25, "/a"),
    ]


def test_requests_of_one_second_are_spread_over_it() -> None:
    log = log_replay.parse_log([COMMON] * 4)
    assert [one.at_s for one in log.entries] == [0, 0.25, 0.5, 0.75]


def json_line(at: float) -> str:
    return json.dumps({"ts": at, "method": "GET", "uri": "/"})


@pytest.mark.parametrize("per_s", [1, 10**3, 10**6, 10**9])
def test_a_log_with_fractions_is_exact(per_s: int) -> None:
    """A time that happens to be a whole second is not a rounded one."""
    times = [0.02, 0.0, 0.01, 0.0, 5.0, 5.0]  # in the order in which responses ended
    base = 1_700_000_000
    lines = [json_line(base + at if per_s == 1 else round((base + at) * per_s)) for at in times]
    found = log_replay.parse_log(lines).times_s()
    assert found == pytest.approx([0, 0, 0.01, 0.02, 5, 5], abs=1e-6)


def test_whole_seconds_in_any_unit_are_spread() -> None:
    lines = [json_line(at * 10**9) for at in (1_700_000_000, 1_700_000_001, 1_700_000_001)]
    assert log_replay.parse_log(lines).times_s() == (0, 1, 1.5)


def test_the_epoch_is_a_valid_time() -> None:
    line = json.dumps({"time": "1970-01-01T00:00:00Z", "method": "GET", "uri": "/"})
    assert log_replay.parse_log([line]).skipped == 0


@pytest.mark.parametrize("at", [-1, 1e30, math.nan, math.inf, "", "x", "1" * 30, None, [], True])
def test_an_invalid_time_is_skipped_or_read(at: object) -> None:
    log = log_replay.parse_log([json.dumps({"ts": at, "method": "GET", "uri": "/"})])
    assert log.skipped + len(log.entries) == 1


def test_unsafe_methods_are_skipped() -> None:
    log = log_replay.parse_log(
        [COMMON.replace("GET", method) for method in ("POST", "DELETE", "OPTIONS")]
    )
    assert log.skipped == 2
    assert [one.method for one in log.entries] == ["OPTIONS"]


def test_escaped_bytes_request_the_same_resource() -> None:
    log = log_replay.parse_log([COMMON.replace("/apache_pb.gif", r"/\xc3\xa4\"")])
    assert log.entries[0].resource == '/%c3%a4"'


@given(st.lists(st.text()))
def test_each_line_of_any_log_is_an_entry_or_skipped(lines: list[str]) -> None:
    log = log_replay.parse_log(lines)
    assert len(log.entries) + log.skipped == sum(bool(line.strip()) for line in lines)


moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(st.lists(moments, min_size=1, max_size=20))
def test_times_are_exact_and_in_order(times: list[datetime]) -> None:
    lines = [json.dumps({"time": at.isoformat(), "method": "GET", "uri": "/"}) for at in times]
    found = log_replay.parse_log(lines).times_s()
    assert list(found) == sorted(found)
    first = min(times)
    for at, seen in zip(sorted(times), found, strict=True):
        assert seen == pytest.approx((at - first).total_seconds(), abs=1.001)


@given(
    times=st.lists(st.floats(0, 100), min_size=1, max_size=50).map(sorted),
    parts=st.integers(1, 4),
    after=st.floats(0, 110),
)
def test_shares_of_a_recorded_schedule_are_the_whole(
    times: list[float], parts: int, after: float
) -> None:
    shares = [RecordedSchedule(tuple(times), part, parts) for part in range(parts)]
    due = sorted(one for share in shares for one in share.times())
    assert [number for number, _ in due] == list(range(len(times)))
    missed = sum(share.missed(part, after) for part, share in enumerate(shares))
    assert missed == shares[0].due(after) == sum(at < after for at in times)


@pytest.mark.parametrize(
    ("criteria", "successes", "failures"),
    [
        ([], {200, 204, 304, 399}, {100, 400, 500}),
        (["404"], {404}, {200, 400}),
        (["2xx,304"], {200, 299, 304}, {300, 404}),
        (["200", "4XX"], {200, 499}, {201}),
    ],
)
def test_expected_statuses(criteria: list[str], successes: set[int], failures: set[int]) -> None:
    statuses = SuccessCriteria.parse(criteria).statuses
    assert successes <= statuses
    assert not failures & statuses


@given(st.lists(st.text(), max_size=3))
def test_any_criteria_are_parsed_or_refused(criteria: list[str]) -> None:
    with contextlib.suppress(ParameterError):
        assert SuccessCriteria.parse(criteria).statuses
