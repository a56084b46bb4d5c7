"""The first failure of each kind with its message, and redirects."""

import asyncio
import io
import itertools
import json
from collections import Counter
from dataclasses import asdict
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from abench.client.response_parser import location_in
from abench.plan.plan import Plan
from abench.plan.route import Route, TlsOptions
from abench.plan.success import SuccessCriteria
from abench.plan.url_file import WeightedUrl
from abench.report import document, html, text
from abench.stats import samples
from abench.stats.recorder import Recorder
from abench.stats.results import build_results
from abench.stats.samples import MAX_MESSAGE, MAX_PER_KIND, REDIRECT, Sample
from abench.stats.summary import FAILURE_KINDS, Summary

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
ERROR = b"HTTP/1.1 503 Out of %s\r\nContent-Length: 4\r\n\r\nbusy"
MOVED = b"HTTP/1.1 301 Moved\r\nLocation: https://example.org/%s\r\nContent-Length: 0\r\n\r\n"
EVIL = "\x1b[31m\x07[bold]<script>alert(1)</script>\u202e"


def of(status, location=b""):
    where = b"Location: " + location + b"\r\n" if location else b""
    return b"HTTP/1.1 %d X\r\n%sContent-Length: 0\r\n\r\n" % (status, where)


def messages_of(summary):
    return [(one.kind, one.detail, one.message) for one in summary.samples]


# -- Collecting samples ---------------------------------------------------------------------------


@given(st.lists(st.one_of(st.text(), st.binary(), st.integers(), st.text().map(OSError))))
def test_message_is_one_short_printable_line(parts):
    line = samples.format_message(parts)
    assert line.isprintable()
    assert len(line) <= MAX_MESSAGE
    assert samples.format_message([line]) == line


def test_message_joins_parts_of_any_type():
    assert samples.format_message(["a", b"b\xff\t", 1.5, lambda: b"c", OSError("d"), ""]) == (
        "a b\\xff\\t 1.5 c d"
    )
    assert samples.format_message([b"x" * 10**6]) == "x" * (MAX_MESSAGE - 3) + "..."


def sampled(at_us=0, kind="status", detail="500", message=""):
    return Sample(at_us, kind, detail, message)


some = st.lists(
    st.builds(
        Sample,
        st.integers(0, 9),
        st.sampled_from(["status", "connect", REDIRECT]),
        st.sampled_from("abcde"),
        st.sampled_from("xy"),
    )
)


@given(st.lists(some, min_size=3, max_size=3))
def test_samples_merge_in_any_order(parts):
    whole = samples.merge_samples(itertools.chain(*parts))
    for one, other, third in itertools.permutations(parts):
        merged = samples.merge_samples(
            [*samples.merge_samples([*one, *other]), *samples.merge_samples(third)]
        )
        assert merged == whole
    kinds = Counter(one.kind for one in whole)
    assert all(number <= MAX_PER_KIND for number in kinds.values())
    assert all(one.at_us <= other.at_us for one, other in itertools.pairwise(whole))


@given(some, some)
def test_summary_merges_samples(one, other):
    whole = Summary(samples=samples.merge_samples(one))
    whole.merge(Summary(samples=samples.merge_samples(other)))
    assert whole.samples == samples.merge_samples([*one, *other])
    assert Summary.decode(whole.encode()).samples == whole.samples


def test_message_is_formatted_only_for_the_first_failures():
    formatted = []
    recorder = Recorder()
    for number in range(1000):
        recorder.failure("status", 500 + number % 5, lambda number=number: formatted.append(number))
    assert formatted == [0, 1, 2]
    assert len(recorder.take().samples) == MAX_PER_KIND
    recorder.failure("status", 500, "again")
    assert messages_of(recorder.take()) == [("status", "500", "again")]
    assert recorder.take() == Summary()


def test_redirect_sample_is_kept():
    recorder = Recorder()
    recorder.sample(REDIRECT, "301", "/a")
    recorder.failure("timeout", 0, "late")
    recorder.take()
    assert messages_of(recorder.take()) == [(REDIRECT, "301", "/a")]


# -- Messages of each kind -----------------------------------------------------------------------


def closes(data):
    return lambda peer: (peer.send(data), peer.close())


def sends(data):
    return lambda peer: peer.send(data)


# name: what the server does at each request, the kind of failure, its message
MESSAGES = {
    "status": (sends(ERROR % b"it"), "status", "HTTP/1.1 503 Out of it"),
    "redirect": (sends(of(404, b"/x")), "status", "HTTP/1.1 404 X to /x"),
    "evil": (
        sends(ERROR % EVIL.encode()),
        "status",
        "HTTP/1.1 503 Out of \\x1b[31m\\x07[bold]<script>alert(1)</script>\\u202e",
    ),
    "long": (sends(ERROR % (b"a" * 999)), "status", f"HTTP/1.1 503 Out of {'a' * 177}..."),
    "garbage": (
        sends(b"\x16\x03\x01no\r\n\r\n"),
        "protocol",
        "Expected HTTP/, RTSP/ or ICE/ - the response begins with \\x16\\x03\\x01no",
    ),
    "too long": (
        sends(OK + b"!"),
        "protocol",
        "bytes beyond the response's length - the response begins with HTTP/1.1 200 OK",
    ),
    "cut": (
        closes(OK[:-1]),
        "protocol",
        "the connection closed within the response: HTTP/1.1 200 OK",
    ),
    "cut in its head": (
        closes(OK[:8]),
        "protocol",
        "the connection closed within the response: HTTP/1.1",
    ),
    "closed": (closes(b""), "reset", "the connection closed before a byte of the response"),
    "reset": (lambda peer: peer.reset(), "reset", "Connection reset by peer"),
    "silence": (lambda _peer: None, "timeout", "no byte of a response came in time"),
    "half": (sends(OK[:-1]), "timeout", "an incomplete response: HTTP/1.1 200 OK"),
}


# Which state of a connection is waited for before the time of its request is up.
DUE = {
    "silence": lambda connection: connection._awaits_first_byte,
    "half": lambda connection: connection._parser.has_begun,
}
DUE_IN_A_PIPELINE = {
    "silence": lambda connection: connection._in_flight,
    "half": lambda connection: connection._stream_parser.has_begun,
}


@pytest.mark.parametrize("more", [{}, {"rate": 1e4}, {"keep_alive": False}], ids=str)
@pytest.mark.parametrize("name", MESSAGES)
async def test_message_of_each_kind(name, more, serve, run_plan, client_clock):
    script, kind, message = MESSAGES[name]
    client_clock.expire_when(DUE.get(name, lambda _: False))
    server = await serve(script)
    plan = {"connections": 2, "requests": 4, **more}
    summary = (await run_plan(url=server.url, **plan)).summary
    (one,) = summary.samples
    status = next(iter(summary.status), "") if kind == "status" else ""
    assert (one.kind, one.detail, one.message) == (kind, str(status), message)
    assert 0 <= one.at_us <= summary.elapsed_ns // 1000


PIPELINED = {
    "garbage": "Expected HTTP/, RTSP/ or ICE/ - the received bytes begin with \\x16\\x03\\x01no",
    "too long": "Expected HTTP/, RTSP/ or ICE/ - complete responses before it in the same read: 1",
    "cut": "the connection closed within a response",
    "cut in its head": "the connection closed within a response",
    "silence": "no complete response came in time",
    "half": "no complete response came in time",
    "redirect": "HTTP/1.1 404 X",
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_message_of_each_kind_in_a_pipeline(name, serve, run_plan, client_clock):
    script, kind, message = MESSAGES[name]
    client_clock.expire_when(DUE_IN_A_PIPELINE.get(name, lambda _: False))

    def first(peer):  # of the requests that came together
        if peer.request_count == 1:
            script(peer)

    server = await serve(first)
    plan = {"connections": 1, "requests": 1, "pipeline": 3}
    samples = (await run_plan(url=server.url, **plan)).summary.samples
    assert (samples[0].kind, samples[0].message) == (kind, PIPELINED.get(name, message))


async def test_pipelined_header_in_two_parts_keeps_the_status(serve, run_plan):
    def script(peer):
        data = of(500)
        peer.send(data[:5])
        asyncio.get_running_loop().call_later(0.02, peer.send, data[5:])

    server = await serve(script)
    plan = {"connections": 1, "requests": 1, "pipeline": 2}
    summary = (await run_plan(url=server.url, **plan)).summary
    assert messages_of(summary) == [("status", "500", "a status of 500")]


@pytest.mark.parametrize("more", [{}, {"rate": 1e4}, {"keep_alive": False}])
@pytest.mark.parametrize("chunked", [False, True])
async def test_late_response_is_reported_as_late(more, chunked, serve, run_plan, client_clock):
    """The clock jumps at the last of three responses, and nothing expires before it is read."""
    client_clock.expire_when(lambda _: False)

    def script(peer):
        client_clock.set_ahead(1000 * (len(server.requests) == 3))
        peer.send(CHUNKED if chunked else OK)  # parsed, or recognized

    server = await serve(script)
    plan = {"connections": 1, "requests": 3, "timeout_s": 500, **more}
    summary = (await run_plan(url=server.url, **plan)).summary
    ((kind, detail, message),) = messages_of(summary)
    assert (summary.succeeded, kind, detail) == (2, "timeout", "")
    assert message.startswith("the response was complete, but took 1")
    assert message.endswith(" ms")


async def test_stale_connection_names_the_method(serve, run_plan):
    server = await serve(lambda peer: peer.close() if peer.request_count == 2 else peer.send(OK))
    summary = (
        await run_plan(url=server.url, connections=1, requests=3, method="POST", body=b"x")
    ).summary
    words = "a reused connection closed before a byte of the response to POST"
    assert ("stale", "", words) in messages_of(summary)


async def test_unexpected_body_is_shown(serve, run_plan):
    for sent, shown in ((b"busy", "begins with busy"), (b"", "is empty"), (b"b" * 99, "b" * 80)):
        server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent)
        plan = {"connections": 1, "requests": 2, "expect": SuccessCriteria(text=b"hello")}
        (one,) = (await run_plan(url=server.url, **plan)).summary.samples
        assert (one.kind, one.detail) == ("body", "200")
        assert one.message.startswith("HTTP/1.1 200 OK - its body ")
        assert one.message.endswith(shown)


@pytest.mark.parametrize("response", [ERROR % b"it", MOVED % b"a"])
async def test_http09_response_with_a_header_is_parsed(response, serve, run_plan):
    def accept(peer):
        peer.data_received = lambda _data: (peer.send(response), peer.close())

    server = await serve(accept=accept)
    plan = {"url": server.url, "http": "0.9", "keep_alive": False, "requests": 4}
    summary = (await run_plan(**plan)).summary
    expected = {
        503: ("status", "503", "HTTP/1.1 503 Out of it"),
        301: (REDIRECT, "301", "https://example.org/a"),
    }
    assert messages_of(summary) == [expected[next(iter(summary.status))]]


async def test_refused_connection_has_the_systems_message(run_plan, closed_port):
    url = f"http://127.0.0.1:{closed_port}/"
    summary = (await run_plan(url=url, connections=1, duration_s=0.1)).summary
    assert messages_of(summary) == [("connect", "ECONNREFUSED", "Connection refused")]


async def test_tls_and_proxy_errors_have_their_own_message(serve, run_plan):
    server = await serve(b"", accept=lambda peer: peer.send(b"HTTP/1.1 400 no TLS here\r\n\r\n"))
    url = f"https://127.0.0.1:{server.port}/"
    plan = {"url": url, "connections": 1, "duration_s": 0.2, "tls": TlsOptions(insecure=True)}
    summary = (await run_plan(**plan)).summary
    (one,) = summary.samples
    assert (one.kind, one.detail) == ("tls", "not TLS")
    assert "wrong version number" in one.message
    proxy = await serve(b"HTTP/1.1 407 Who \x1b are you\r\n\r\n")
    plan["route"] = Route(proxy=f"127.0.0.1:{proxy.port}")
    (one,) = (await run_plan(**plan)).summary.samples
    assert (one.kind, one.detail) == ("connect", "proxy 407")
    assert one.message == "the proxy's response to CONNECT is 'HTTP/1.1 407 Who \\x1b are you'"


# -- In reports -----------------------------------------------------------------------------------


def report_of(*found, plan=None, **more):
    failures = Counter(one.kind for one in found if one.kind in FAILURE_KINDS)
    counted = {"failures": failures, "samples": list(found), "elapsed_ns": 10**9, **more}
    return build_results(plan or Plan(url="http://h/"), Summary(**counted))


def as_text(report, width=100):
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(text.render(report))
    return " ".join(stream.getvalue().split())


def written(write, report):
    stream = io.StringIO()
    write(report, stream)
    return stream.getvalue()


FOUND = (
    sampled(2_400, message=samples.format_message(["HTTP/1.1 500", EVIL])),
    sampled(1_500_000, "connect", "ECONNREFUSED", "Connection refused"),
    sampled(61_000_000, "timeout", "", "no byte of a response came in time"),
)


def test_text_shows_the_first_failures():
    page = as_text(report_of(*FOUND))
    assert "status 500, first after 2.40 ms: HTTP/1.1 500 \\x1b[31m\\x07[bold]<script>" in page
    assert "connect ECONNREFUSED, first after 1.5 s: Connection refused" in page
    assert "timeout, first after 1 min 1 s: no byte of a response came in time" in page
    assert "first after" not in as_text(report_of())


def test_samples_without_failures_are_dropped():
    assert report_of(FOUND[0], failures=Counter()).samples == ()


class _Facts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.words = []

    def handle_data(self, data):
        self.words.append(data)


def test_page_shows_escaped_messages(without_plots):
    moved = sampled(0, REDIRECT, "302", "/<script>")
    facts = _Facts()
    page = written(html.write_html, report_of(*FOUND, moved, status=Counter({302: 1})))
    facts.feed(page)
    assert page.count("<script") == 3  # of the page itself: data, the library and what uses it
    assert f"first after 2.40 ms: {FOUND[0].message}" in facts.words
    assert "connect ECONNREFUSED" in facts.words
    assert any("is a redirect (302) to /<script>" in one for one in facts.words)


def test_samples_survive_a_round_trip():
    moved = sampled(5, REDIRECT, "301", "/b")
    report = report_of(*FOUND, moved, status=Counter({200: 2, 301: 1}))
    plain = json.loads(written(document.write_json, report))
    assert plain["failure_samples"][0] == {
        "kind": "status", "detail": "500", "message": FOUND[0].message, "at_s": 0.0024
    }  # fmt: skip
    assert plain["failure_samples"][2]["detail"] is None
    assert plain["redirect"] == {"count": 1, "status": 301, "location": "/b"}
    again = document.from_document(plain)
    assert (again.samples, again.redirect) == (report.samples, report.redirect)
    assert as_text(again) == as_text(report)
    del plain["failure_samples"], plain["redirect"]  # as the first documents were
    older = document.from_document(plain)
    assert (older.samples, older.redirect) == ((), None)


async def test_samples_of_several_workers_are_merged(serve, abench):
    numbers = itertools.cycle((500, 501, 502, 503))
    server = await serve(lambda peer: peer.send(of(next(numbers))))
    ran = await abench("-n", "80", "-c", "4", "-w", "2", "--json", "-", server.url)
    found = ran.json["failure_samples"]
    assert len({one["detail"] for one in found}) == len(found) == MAX_PER_KIND
    assert [one["at_s"] for one in found] == sorted(one["at_s"] for one in found)
    assert all(one["message"] == f"HTTP/1.1 {one['detail']} X" for one in found)
    assert "first after" in ran.err


# -- Redirects ------------------------------------------------------------------------------------

EVERY = "Every response is a redirect (301) to {}: the redirect was measured, not its target."
MORE = {
    "one URL": {},
    "at a rate": {"rate": 1e4},
    "several URLs": {"urls": ("/", "/b")},
    "with numbers": {"path": "{n}"},
    "one request each": {"keep_alive": False},
    "HTTP/1.0": {"http": "1.0", "keep_alive": False},
    "HEAD": {"method": "HEAD"},
    "a pipeline": {"pipeline": 3},
    "text": {"expect": SuccessCriteria(text=b"hello")},
    "as a failure": {"expect": SuccessCriteria(frozenset({200}))},
}


@pytest.mark.parametrize("name", MORE)
async def test_redirecting_url_is_reported(name, serve, run_plan):
    server = await serve(MOVED % b"a")
    plan = {"connections": 2, "requests": 30, **MORE[name]}
    plan["url"] = server.url + plan.pop("path", "")
    plan["urls"] = tuple(WeightedUrl(server.url + path[1:]) for path in plan.pop("urls", ()))
    summary = (await run_plan(**plan)).summary
    report = build_results(Plan(**plan), summary)
    assert asdict(report.redirect) == {
        "count": 30, "status": 301, "location": "https://example.org/a"
    }  # fmt: skip
    assert EVERY.format("https://example.org/a") in as_text(report)


def test_redirect_without_a_location():
    report = report_of(sampled(0, REDIRECT, "301", ""), status=Counter({301: 3}))
    assert "Every response is a redirect (301) without a Location: the redirect was" in as_text(
        report
    )


async def test_some_redirects_are_counted(serve, run_plan):
    numbers = itertools.cycle((MOVED % b"a", OK, MOVED % b"b", of(304)))
    server = await serve(lambda peer: peer.send(next(numbers)))
    plan = {"url": server.url, "connections": 1, "requests": 40}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    words = "20 of 40 responses are redirects, the first (301) to https://example.org/a."
    assert words in as_text(report)


async def test_other_statuses_are_no_redirects(serve, run_plan):
    for status in (200, 204, 304, 404):
        server = await serve(of(status))
        plan = {"url": server.url, "connections": 1, "requests": 3}
        report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
        assert report.redirect is None


@pytest.mark.parametrize(
    ("head", "location"),
    [
        (b"HTTP/1.1 301 X\r\nLOCATION:\t /a b \r\nX: y\r\n", b"/a b"),
        (b"HTTP/1.1 301 X\nlocation: /a\n", b"/a"),
        (b"HTTP/1.1 301 X\r\nX-Location: /a\r\nContent-Location: /b\r\n", b""),
        (b"HTTP/1.1 301 X\r\nX: Location: /a\r\n\r\nLocation: /b\r\n", b""),
    ],
)
def test_location_is_read_from_the_header(head, location):
    assert location_in(head) == location


async def test_redirect_during_the_warm_up_is_reported(serve, abench):
    server = await serve(MOVED % b"w")
    ran = await abench("-n", "50", "--warmup", "0.3", "-c", "2", "-w", "1", server.url)
    assert ran.code == 0
    assert EVERY.format("https://example.org/w") in " ".join(ran.out.split())
