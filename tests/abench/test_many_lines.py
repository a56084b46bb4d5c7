"""Files of a million URLs, and logs as long: the bytes and calls that each line costs."""

import json
import sys
import tracemalloc
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan import inputs, log_replay, url_file, workload
from abench.plan.interleave import interleave
from abench.plan.plan import Plan
from abench.plan.request import RequestTemplate
from abench.plan.success import DEFAULT_CRITERIA
from abench.plan.target import Target
from abench.report import document
from abench.stats import phrases, planned
from abench.stats.results import build_results
from abench.stats.summary import Summary
from tests.marks import slow_except

BASE = "http://h:8/x?y"
FEW = 2_000


def common(number):
    second = number // 7
    stamp = f"10/Oct/2000:{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f'127.0.0.1 - - [{stamp} -0700] "GET /a/{number} HTTP/1.0" 200 2326 "-" "x"'


def haproxy(number):
    stamp = f"10/Oct/2026:{number // 25200:02}:{number // 420 % 60:02}:{number // 7 % 60:02}.250"
    queue = "0/0/0/1/1 200 9 - - ---- 1/1/1/1/0 0/0"
    return f'10.0.1.2:33317 [{stamp}] web web/a {queue} "GET /a/{number} HTTP/1.1"'


def w3c(number):
    stamp = f"{number // 25200:02}:{number // 420 % 60:02}:{number // 7 % 60:02}"
    columns = "" if number else "#Fields: date time cs-method cs-uri-stem cs-uri-query sc-status\n"
    return f"{columns}2026-10-10 {stamp} GET /a/{number} - 200"


LINES = {
    "paths": ("urls", "/item/{}".format),
    "paths to be quoted": ("urls", "/ä {}".replace(" ", "[]").format),
    "weights and servers": ("urls", lambda number: f"{number % 3 + 1} http://h:8/item/{number}"),
    "credentials": ("urls", "http://me:pw@h:8/item/{}".format),
    "CR LF": ("urls", "/item/{}\r".format),
    "common": ("replay", common),
    "common with fractions": ("replay", lambda number: common(number).replace(" -07", ".25 -07")),
    "not in order": ("replay", lambda number: common(number ^ 1023)),
    "HAProxy": ("replay", haproxy),
    "W3C": ("replay", w3c),
    "JSON": (
        "replay",
        lambda number: json.dumps({"ts": 17e8 + number, "method": "GET", "uri": f"/a/{number}"}),
    ),
}  # fmt: skip


# The others are read by the same code as one of these.
KINDS = slow_except(LINES, "paths", "weights and servers", "credentials", "common", "JSON")


def read(kind, path):
    if kind == "urls":
        return Plan(url=BASE, urls=url_file.read_urls(path, BASE))
    return Plan(url=BASE, replay=log_replay.read_log(path))


@pytest.fixture
def write_lines(tmp_path):
    def write(name, number):
        path = tmp_path / f"{number}"
        kind, line = LINES[name]
        path.write_bytes("".join(f"{line(each)}\n" for each in range(number)).encode())
        return kind, path

    return write


def memory_of(work):
    """Return how many bytes the result of `work` takes, and how many it took at its peak."""
    tracemalloc.start()
    try:
        result = work()
        found = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result
    return found


@pytest.mark.slow  # memory is traced for 22,000 lines
@pytest.mark.parametrize("name", LINES)
def test_a_line_takes_little_more_memory_than_its_path(name, write_lines, monkeypatch):
    monkeypatch.setattr(inputs, "BLOCK_SIZE", 4_096)
    kind, few = write_lines(name, FEW)
    _, many = write_lines(name, 10 * FEW)
    read(kind, few)  # what is imported and cached on first use
    one, one_peak = memory_of(lambda: read(kind, few))
    ten, ten_peak = memory_of(lambda: read(kind, many))
    # A million lines of this length may take 60 MB, and twice as much while they are read.
    max_size = 140 if name == "credentials" else 60
    assert (ten - one) / (9 * FEW) < max_size
    assert (ten_peak - one_peak) / (9 * FEW) < 2 * max_size


# In common logs, each second is parsed once: every seventh line has a new one.
CALLS = {"JSON": 18, "weights and servers": 6, "common": 9, "common with fractions": 9}
CALLS |= {"not in order": 9, "HAProxy": 9, "W3C": 30}


@pytest.mark.parametrize("name", KINDS)
def test_a_line_costs_few_calls(name, write_lines):
    kind, few = write_lines(name, FEW)
    _, many = write_lines(name, 10 * FEW)
    read(kind, few)
    one, ten = (count_calls(lambda path=path: read(kind, path)) for path in (few, many))
    assert (ten - one) / (9 * FEW) < CALLS.get(name, 3)


def count_calls(work):
    counted = 0

    def count(_frame, _event, _argument):
        nonlocal counted
        counted += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted / 2  # each call has a return event


@pytest.mark.parametrize("name", ["paths", "weights and servers", "common"])
def test_shares_of_a_plan_share_the_lines(name, write_lines, monkeypatch):
    """Each share is a plan of its own: to read the lines again for each took longer than once."""
    monkeypatch.setattr(workload, "MAX_CACHED", 100)
    plan = read(*write_lines(name, FEW))
    plan.workload()
    parts = plan.split(4)
    assert count_calls(lambda: [part.workload() for part in parts]) < FEW / 4
    assert all(part.urls is plan.urls and part.replay is plan.replay for part in parts)


_url_lines = st.lists(
    st.sampled_from(
        [
            *("/", "a", "//", "..", "/a", "?", "??", "%41", "ä", "#", "{n}", "{", "}", "[", "|"),
            *("http://h:8", "http://H:8", "HTTP://h:8", "http://me:pw@h:8", "http://h:8?"),
            *("http://g", "https://h:8", " ", "\t", "3 ", "0 ", "03 ", "10001 ", "\x7f", "\x00"),
        ]
    ),
    max_size=5,
).map("".join)


@given(st.lists(_url_lines, max_size=4), st.sampled_from([BASE, "http://u:p@h:8/", None]))
@example(["/a?", "/a??", "/a?b?"], BASE)
@example(["http://h:8//a", "//a"], None)
@example(["http://h:8["], BASE)
@example(["http://me:pw@h:8/a", "/b", "http://h:8/c"], BASE)
@example(["http://me:pw@h:8/a", "http://h:8/c"], None)
def test_a_block_is_read_as_line_by_line(lines, base):
    """However many lines are parsed together, each means what it means alone."""
    file = url_file.UrlFile(base)
    assert outcome(lambda: _together(file, lines)) == outcome(lambda: _one_by_one(lines, base))


def _together(file, lines):
    file.add("\n".join(lines).encode(), 1)
    return [(target, weight) for target, weight in file.targets]


def _one_by_one(lines, base):
    found = [(Target.parse(each.url), each.weight) for each in url_file.parse_urls(lines, base)]
    server = Target.parse(base) if base else found[0][0] if found else None
    if any(target.origin != server.origin for target, _ in found):
        raise ParameterError("--urls", "another server")
    return found


def outcome(work):
    try:
        return work()
    except ParameterError:
        return "refused"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("/a\n0 /b\n", 2), ("#\n\n/a\n10001 /b", 4), ("/a\nhttp://g/b\n", 2), ("/a\n/\x01\n", 2),
        ("http://h:8/a\nhttp://me:p@g/b", 2), ("a b c", 1), ("/\nhttp://[/", 2), ("/\nftp://h/", 2),
    ],
)  # fmt: skip
def test_an_invalid_line_is_named_by_its_number(tmp_path, text, line):
    path = tmp_path / "urls"
    path.write_text(text)
    with pytest.raises(ParameterError, match=rf"^--urls: line {line}\b"):
        url_file.read_urls(path, BASE)


@pytest.mark.parametrize("block", [1, 7, 1 << 18])
def test_blocks_end_at_lines(tmp_path, monkeypatch, block):
    monkeypatch.setattr(inputs, "BLOCK_SIZE", block)
    path = tmp_path / "urls"
    path.write_bytes("\ufeff/ä\r\n\r\n# no\r3 /b\n\n/c".encode())
    assert list(url_file.read_urls(path, BASE)) == [
        url_file.WeightedUrl("http://h:8/%C3%A4"), url_file.WeightedUrl("http://h:8/b", 3),
        url_file.WeightedUrl("http://h:8/c"),
    ]  # fmt: skip


def test_of_many_urls_few_are_cached_and_all_are_requested(tmp_path, monkeypatch):
    monkeypatch.setattr(workload, "MAX_CACHED", 3)
    path = tmp_path / "urls"
    path.write_text("".join(f"http://{'me:pw@' * (n % 2)}h:8/{n}\n" for n in range(8)))
    plan = Plan(url=BASE, urls=url_file.read_urls(path, None))
    requests = [data for data, _ in islice(plan.workload(), 16)]
    assert [data.split()[1] for data in requests] == [b"/%d" % (n % 8) for n in range(16)]
    assert [b"Authorization" in data for data in requests[:4]] == [False, True, False, True]
    assert requests[1] == RequestTemplate().prepare(Target.parse("http://me:pw@h:8/1")).constant


def test_large_bodies_are_not_cached_with_each_url():
    factory = workload._ItemFactory(
        RequestTemplate(method="POST", body=b"x" * (1 << 24)), DEFAULT_CRITERIA
    )
    assert factory.max_items == 3


def test_a_round_of_equal_weights_takes_no_memory():
    assert interleave([2] * 5) == range(5)
    assert list(interleave([1, 3, 1])) == [1, 0, 1, 2, 1]


def test_an_unordered_log_is_replayed_in_the_order_of_its_times(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(common(number ^ 63) + "\n" for number in range(256)))
    log = log_replay.read_log(path)
    assert list(log.times_s()) == sorted(log.times_s())
    numbers = [int(entry.resource.rpartition("/")[2]) for entry in log.entries]
    assert [number // 7 for number in numbers] == sorted(number // 7 for number in range(256))


def test_a_report_lists_the_first_urls_and_counts_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(planned, "MAX_URLS", 2)
    path = tmp_path / "urls"
    path.write_text("/a\n/b\n/c\n/d\n/e\n")
    report = build_results(Plan(url=BASE, urls=url_file.read_urls(path, BASE)), Summary())
    plain = document.to_document(report)
    assert ([each["url"] for each in plain["urls"]], plain["urls_left_out"]) == (
        ["http://h:8/a", "http://h:8/b"], 3,
    )  # fmt: skip
    again = document.from_document(json.loads(json.dumps(plain)))
    assert (
        phrases.describe_target(again) == phrases.describe_target(report) == "5 URLs of http://h:8"
    )
    assert document.to_document(again)["urls_left_out"] == 3


_stamps = st.sampled_from(
    [
        *("2023-11-14T22:13:20Z", "2023-11-14T22:13:20.25Z", "2023-11-14T22:13:21.5+01:00"),
        *("2023-11-14T22:13:20.25", "2023-11-14 22:13:20+00:00", "14/Nov/2023:22:13:20.250 +0000"),
        *("1700000000.1234567891", "1700000000.", "170000000.25", 170000000.25),
        *("1700000000.25", "x", "", 1700000000, 1700000000.5, 1700000000250, 1e300, -1, True, None),
    ]
)
_log_lines = st.one_of(
    st.fixed_dictionaries(
        {"ts": _stamps, "a": st.sampled_from([1, "b", 'q"\\', None, "ä", [1], {"c": "}"}])},
        optional={
            "method": st.sampled_from(["GET", "HEAD", "POST", "get", ""]),
            "uri": st.sampled_from(["/a", "/b c", "http://h/a?b", "/\u00e9", '/"', "", "*"]),
            "request": st.sampled_from(["GET /a HTTP/1.1", "GET /a", "POST /a HTTP/1.1", "-"]),
        },
    ).map(json.dumps),
    st.sampled_from(["", "{", "{}", "[]", common(1)]),
    st.just('{"ts": 1, "ts": 2, "method": "GET", "uri": "/a"}'),
)


@given(st.lists(_log_lines, min_size=1, max_size=4))
def test_lines_of_json_mean_together_what_each_means_one_by_one(lines):
    reader = log_replay.LogReader()
    reader.add_block("\n".join(lines).encode())
    assert_same(reader.finish(), log_replay.parse_log(lines))


def assert_same(log, other):
    assert log.left_out == other.left_out
    assert list(log.entries) == list(other.entries)


@pytest.mark.parametrize("key", ["method", "request"])
def test_lines_of_json_that_are_alike_are_read_together(key, monkeypatch):
    monkeypatch.setattr(log_replay.LogReader, "add_lines", None)
    requests = {"method": {"method": "GET", "uri": "/a"}, "request": {"request": "GET /a HTTP/1.1"}}
    lines = [
        json.dumps({"ip": "::1", "time": f"2023-11-14T22:13:2{n}Z", **requests[key], "agent": 'q"'})
        for n in range(3)
    ]
    reader = log_replay.LogReader()
    reader.add_block("\n".join(lines).encode())
    log = reader.finish()
    assert log.skipped == 0
    assert [log.entries.key(n) for n in range(3)] == [(0, b"/a")] * 3
