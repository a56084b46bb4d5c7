"""The formats of logs, by lines after the documentation of those that write them."""

import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan import har, inputs, json_items, log_json, log_replay
from abench.plan.json_items import JsonError
from abench.plan.log_rows import Reason
from abench.plan.plan import Plan
from abench.report import document
from abench.stats import phrases
from abench.stats.results import build_results
from abench.stats.summary import Summary

# In tests/abench/logs each has two requests, 1.5 s apart: GET /a%20b?c=d and HEAD /e.
# What its lines are after:
SOURCES = {
    "apache": "httpd.apache.org/docs/2.4/logs.html, with the fraction of %{msec_frac}t",
    "haproxy": "docs.haproxy.org, 8.2.3, HTTP log format, with what syslog puts before it",
    "alb": "docs.aws.amazon.com, Access logs for your Application Load Balancer: the time at which "
    "a request was received is near the end of its line",
    "classic-load-balancer": "docs.aws.amazon.com, Access logs for your Classic Load Balancer",
    "cloudfront": "docs.aws.amazon.com, Standard logging reference",
    "iis": "learn.microsoft.com, W3C Logging; with other columns after a restart",
    "w3c": "w3.org/TR/WD-logfile.html, with cs-uri and a string in quotes",
    "nginx": "nginx.org, ngx_http_log_module, escape=json; keys as its users choose them",
    "envoy": "envoyproxy.io, Access logging, default format string",
    "envoy-json": "envoyproxy.io, Access logging, json_format",
    "traefik": "doc.traefik.io, Access logs, CLF",
    "traefik-json": "doc.traefik.io, Access logs; its time is when the line was written",
    "google-cloud": "docs.cloud.google.com, LogEntry and HttpRequest",
    "caddy": "caddyserver.com, How logging works",
}
LINES = {
    name: (Path(__file__).parent / "logs" / f"{name}.log").read_text().splitlines()
    for name in SOURCES
}


def requests_of(log):
    return [(round(one.at_s, 3), one.method, one.resource) for one in log.entries]


EXPECTED = [(0.0, "GET", "/a%20b?c=d"), (1.5, "HEAD", "/e")]


@pytest.mark.parametrize("name", LINES)
def test_a_log_is_recognized_by_its_content(name, tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"{line}\r\n" for line in LINES[name]))
    log = log_replay.read_log(path)
    assert log.skipped == 0
    assert requests_of(log) == EXPECTED


# A line of each format whose request is none, or would change something again.
OTHERS = {
    "common": '192.0.2.7 - - [10/Oct/2026:13:55:36 -0700] "{}" 400 226',
    "HAProxy": '10.0.1.2:3 [06/Feb/2026:12:14:14.655] in in/<NOSRV> -1/-1/-1/-1/8 400 1 - - PR-- '
    '1/1/0/0/0 0/0 "{}"',
    "Classic Load Balancer": "2026-05-13T23:39:43.945958Z lb 1.2.3.4:2 - -1 -1 -1 400 0 0 0 "
    '"{}" "-" - -',
    "Google Cloud": '{{"timestamp":"2026-10-10T13:55:36Z","request_line":"{}"}}',
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    ("request_line", "reason"),
    [
        ("POST /a HTTP/1.1", "unsafe"), ("PROPFIND /a HTTP/1.1", "unsafe"), ("-", "no_request"),
        ("<BADREQ>", "no_request"), ("- http://h:80- -", "no_request"), ("- - - ", "no_request"),
        ("CONNECT h.test:443 HTTP/1.1", "no_request"), ("OPTIONS * HTTP/1.1", "no_request"),
    ],
)  # fmt: skip
def test_what_is_not_replayed_is_counted_by_its_reason(name, request_line, reason):
    log = log_replay.parse_log([OTHERS[name].format(request_line)])
    assert (getattr(log.left_out, reason), log.skipped) == (1, 1)


def test_bytes_that_haproxy_escapes_request_the_same_resource():
    log = log_replay.parse_log([OTHERS["HAProxy"].format("GET /#22a#7C HTTP/1.1")])
    assert log.entries[0].resource == "/%22a%7C"


def test_what_iis_has_decoded_is_encoded():
    log = log_replay.parse_log(
        ["#Fields: date time cs-method cs-uri-stem", "2026-01-01 00:00:00 GET /ä"]
    )
    assert log.entries[0].resource == "/%C3%A4"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ("time cs-method cs-uri-stem", "00:00:00 GET /"),  # without a date
        ("date time cs-uri-stem", "2026-01-01 00:00:00 /"),
        ("date time cs-method", "2026-01-01 00:00:00 GET"),
        ("date cs-method cs-uri-stem", "2026-01-01 GET /"),
        ("date time cs-method cs-uri-stem", "2026-01-01 00:00:00 GET / more"),
        ("date time cs-method cs-uri-stem", "2026-01-41 00:00:00 GET /"),
    ],
)
def test_columns_without_a_request_are_not_understood(fields, line):
    log = log_replay.parse_log([f"#Fields: {fields}", line])
    assert (log.left_out.not_understood, log.left_out.numbers) == (1, (2,))


def test_lines_that_are_not_understood_are_named_by_their_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "BLOCK_SIZE", 300)
    good, bad = LINES["apache"][0], "what is this?"
    lines = [good, good, "", bad, *[good] * 9, *[bad] * 7]
    path = tmp_path / "log"
    path.write_text("\n".join(lines))
    left_out = log_replay.read_log(path).left_out
    assert (left_out.not_understood, left_out.numbers) == (8, (4, 14, 15, 16, 17))
    assert log_replay.describe_not_understood(left_out) == (
        "8 lines are not understood (4, 14, 15, 16, 17, ...)"
    )


def test_a_log_of_which_most_is_not_understood_is_refused(tmp_path):
    path = tmp_path / "log"
    path.write_text("\n".join([LINES["apache"][0], "x", "y"]))
    with pytest.raises(ParameterError, match=r"most of it is not understood: 2 lines .*\(2, 3\)"):
        log_replay.read_log(path)
    path.write_text("x")
    with pytest.raises(ParameterError, match=r"can be replayed: 1 line is not understood \(1\)"):
        log_replay.read_log(path)


@given(st.lists(st.sampled_from(
    ["", "x", *OTHERS.values(), *(line for lines in LINES.values() for line in lines)]
), min_size=1, max_size=5))  # fmt: skip
def test_lines_mean_together_what_each_means_one_by_one(lines):
    reader, one_by_one = log_replay.LogReader(), log_replay.LogReader()
    reader.add_block("\n".join(lines).encode())
    for line in lines:
        one_by_one.add_lines([line])
    log, other = reader.finish(), one_by_one.finish()
    assert log.left_out == other.left_out
    assert list(log.entries) == list(other.entries)


@given(
    st.sampled_from(["", *LINES["haproxy"], *LINES["alb"], *LINES["w3c"], *LINES["envoy"]]),
    st.text(max_size=20),
    st.integers(0, 300),
)
def test_a_damaged_line_is_a_request_or_left_out(line, damage, at):
    lines = ["#Fields: date time cs-method cs-uri-stem", line[:at] + damage + line[at + 1 :]]
    for given_lines in (lines, lines[1:]):
        log = log_replay.parse_log(given_lines)
        assert len(log.entries) + log.skipped <= 1
        assert all(re.fullmatch(r"/\S*", one.resource) for one in log.entries)


@pytest.mark.parametrize("name", ["apache", "iis", "nginx", "google-cloud"])
def test_a_compressed_log(name, tmp_path):
    path = tmp_path / "log.of.any.name"
    lines = "".join(f"{line}\n" for line in LINES[name]).encode()
    half = len(lines) // 2  # logrotate and others append members: RFC 1952 section 2.2
    path.write_bytes(gzip.compress(lines[:half]) + gzip.compress(lines[half:]))
    assert [method for _, method, _ in requests_of(log_replay.read_log(path))] == ["GET", "HEAD"]


@pytest.mark.parametrize("damage", [slice(0, -9), slice(0, 15), slice(0, 3)])
def test_a_damaged_compressed_log_is_an_error(damage, tmp_path):
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(LINES["apache"][0].encode() * 99)[damage])
    with pytest.raises(ParameterError, match="gzip"):
        log_replay.read_log(path)


def test_a_report_says_what_of_a_log_was_left_out():
    """It can be read back, too."""
    post = OTHERS["common"].format("POST / HTTP/1.1")
    plan = Plan(url="http://h/", replay=log_replay.parse_log([LINES["apache"][0], "x", post]))
    report = build_results(plan, Summary())
    again = document.from_document(json.loads(json.dumps(document.to_document(report))))
    assert again.replay == report.replay
    assert "2 lines of the log left out: 1 with an unsafe method, 1 not understood (2)." in list(
        phrases.remarks(again)
    )


# HAR 1.2.


def har_entry(url, at="2026-03-01T17:42:15.250+01:00", method="GET", status=200, **more):
    request = {"method": method, "url": url, "httpVersion": "HTTP/1.1", "headers": []}
    response = {"status": status, "content": {"text": "x" * 500}}
    return {"startedDateTime": at, "request": request, "response": response, **more}


def har_file(tmp_path, *entries, **layout):
    path = tmp_path / "recording.har"
    log = {"version": "1.2", "creator": {"name": "x"}, "pages": [], "entries": entries}
    path.write_text(json.dumps({"log": {**log, "comment": "later"}}, **layout))
    return path


RECORDED = [
    har_entry("http://example.test/", status=301),
    har_entry("https://www.example.test/a%20b?c=d#part"),
    har_entry("https://cdn.test/x.js"),
    har_entry("https://cdn.test/y.js"),
    har_entry("data:image/png;base64,x"),
    har_entry("https://www.example.test/cached.css", _fromCache="memory"),
    har_entry("https://www.example.test/login", method="POST"),
    har_entry("https://WWW.example.test:443/e", "2026-03-01T17:42:16.750+01:00", "HEAD"),
    {"request": {}},
]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_recording_is_replayed_for_one_host(indent, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "BLOCK_SIZE", 100)
    log = log_replay.read_log(har_file(tmp_path, *RECORDED, indent=indent))
    assert requests_of(log) == EXPECTED
    left_out = log.left_out
    assert (left_out.elsewhere, left_out.unsafe, left_out.no_request) == (5, 1, 0)
    assert log_replay.describe_not_understood(left_out) == "1 entry is not understood (9)"


def test_a_recording_of_the_server_to_be_loaded(tmp_path):
    log = log_replay.read_log(har_file(tmp_path, *RECORDED), "cdn.test")
    assert [one.resource for one in log.entries] == ["/x.js", "/y.js"]


@pytest.mark.parametrize(
    "text",
    ['{"log": {}}', '{"log": {"entries": 1}}', '{"log": {"entries": [1 2]}}', '{"log": {"entries"',
     '{"log": {"entries": [{"a": ', '{"log": {"entries": [' + "[" * 100_000],
)  # fmt: skip
def test_a_broken_recording_is_an_error(text, tmp_path):
    path = tmp_path / "x.har"
    path.write_text(text)
    with pytest.raises(ParameterError, match="--replay"):
        log_replay.read_log(path)


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_records_is_a_log(indent, tmp_path):
    """`gcloud logging read --format=json` writes one."""
    path = tmp_path / "log.json"
    path.write_text(json.dumps(list(map(json.loads, LINES["google-cloud"])), indent=indent))
    assert requests_of(log_replay.read_log(path)) == EXPECTED


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


_KEYS = "startedDateTime", "request", "response", "_fromCache", "timestamp", "httpRequest"
_members = dict.fromkeys(_KEYS, _json)
_urls = st.sampled_from(["http://h/", "https://[::1]/", "http://", "data:x", "/a", "http://[/"])
_requests = st.fixed_dictionaries({"method": _json | st.just("GET"), "url": _json | _urls})


@given(st.lists(_json | st.fixed_dictionaries({}, optional=_members | {"request": _requests})))
def test_each_value_of_a_document_is_a_request_or_left_out(values):
    recording = json.dumps({"log": {"entries": values}}).encode()
    found = [*har.read_rows([recording], None), *map(log_json.parse_record, values)]
    assert len(found) == 2 * len(values)
    for one in found:
        assert isinstance(one, Reason) or re.fullmatch(rb"/\S*", one[2])


@given(
    st.lists(_json, max_size=4), st.dictionaries(st.text(), _json, max_size=2), st.integers(1, 50)
)
@example([12, 345], {}, 1)
@example([0.5, 1e-7, -1e20], {"": 0.0}, 2)
def test_items_of_a_document_are_those_that_json_finds(values, members, size):
    document = json.dumps({**members, "log": {**members, "entries": values}}).encode()
    chunks = [document[at : at + size] for at in range(0, len(document), size)]
    assert list(json_items.items(chunks, "log", "entries")) == values


def test_items_are_read_as_they_are_needed():
    """Of a recording of any size, one entry is held at a time."""
    taken = []

    def chunks():
        yield b'{"log": {"pages": [], "entries": ['
        for number in range(100):
            taken.append(number)
            yield b'{"a": "' + b"x" * 1_000 + b'"},'

    found = json_items.items(chunks(), "log", "entries")
    for number in range(50):
        assert len(next(found)["a"]) == 1_000
        assert len(taken) <= number + 4


@given(st.text(alphabet='[]{}",:12a \n\\'), st.integers(1, 5))
def test_any_text_is_an_array_or_an_error(text, size):
    chunks = [text[at : at + size].encode() for at in range(0, len(text), size)]
    try:
        found = list(json_items.items(chunks))
    except JsonError:
        return
    assert found == json.JSONDecoder().raw_decode(text.lstrip())[0]
