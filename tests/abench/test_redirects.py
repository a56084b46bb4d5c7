"""Which request follows a redirect: RFC 9110 section 15.4, and of a run that follows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.plan.behavior import Behavior
from abench.plan.redirects import FOLLOWED, MAX_REDIRECTS, redirected, resource_of
from abench.plan.request import RequestTemplate
from abench.plan.success import SuccessCriteria
from abench.plan.target import Target

TARGET = Target.parse("http://h.test:8000/a/b?c=d")
FOLLOW = Behavior(follow=True)


def request(method="GET", headers=(), body=b"", **template):
    made = RequestTemplate(method=method, headers=headers, body=body, **template).prepare(TARGET)
    return made.encode(0)


def line_of(sent):
    return None if sent is None else sent.split(b"\r\n")[0].decode()


# RFC 9110 section 10.2.2: a reference, relative to the target URI of the request.
@pytest.mark.parametrize(
    ("location", "resource"),
    [
        ("/x", "/x"), ("x", "/a/x"), ("?y", "/a/b?y"), ("../x/./y", "/x/y"),
        ("//h.test:8000/x", "/x"),
        ("http://h.test:8000/x#part", "/x"), ("http://H.TEST:8000", "/"), ("/a b", "/a%20b"),
        ("/\u00e4", "/%C3%A4"), ("http://u:p@h.test:8000/x", "/x"), ("#part", "/a/b?c=d"),
        ("http://h.test/x", None), ("https://h.test:8000/x", None), ("http://other.test/", None),
        ("", None), ("ftp://h.test/x", None), ("http://[/", None), ("http://h.test:99999/", None),
        ("/x\x01", None), ("mailto:x", None),
    ],
)  # fmt: skip
def test_a_location_is_resolved_and_followed_on_the_same_server_only(location, resource):
    sent = redirected(request(), 302, location.encode(), TARGET)
    assert line_of(sent) == (resource and f"GET {resource} HTTP/1.1")


def test_a_location_that_is_not_utf_8_is_not_followed():
    assert redirected(request(), 302, b"/\xe4", TARGET) is None


@pytest.mark.parametrize(
    ("status", "method", "following"),
    [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"), (307, "POST", "POST"), (308, "POST", "POST"), (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"), (301, "HEAD", "HEAD"), (302, "GET", "GET"),
        *((status, "GET", None) for status in (200, 201, 300, 304, 305, 306, 399, 404)),
    ],
)  # fmt: skip
def test_the_method_after_each_status(status, method, following):
    sent = redirected(request(method), status, b"/x", TARGET)
    assert line_of(sent) == (following and f"{following} /x HTTP/1.1")


def test_a_body_and_its_headers_go_only_with_the_method():
    headers = (("Content-Type", "a/b"), ("Content-Language", "en"), ("X-Kept", "1"))
    post = request("POST", headers, b"hello")
    assert redirected(post, 307, b"/x", TARGET) == post.replace(b"/a/b?c=d", b"/x")
    followed = redirected(post, 302, b"/x", TARGET)
    assert followed == request(headers=(("X-Kept", "1"),)).replace(b"/a/b?c=d", b"/x")


def test_a_proxy_gets_the_whole_url():
    sent = redirected(request(absolute=True), 301, b"x", TARGET)
    assert line_of(sent) == "GET http://h.test:8000/a/x HTTP/1.1"
    assert resource_of(sent) == b"/a/x"


@given(st.sampled_from(sorted(FOLLOWED)), st.binary(max_size=30), st.sampled_from(["GET", "POST"]))
def test_no_location_makes_another_request_of_one(status, location, method):
    """What a server sends becomes a target, and never a header or a second request."""
    sent = redirected(request(method), status, location, TARGET)
    if sent is not None:
        head, _, body = sent.partition(b"\r\n\r\n")
        line = head.split(b"\r\n")[0]
        assert len(line.split(b" ")) == 3
        assert line.split(b" ")[1].startswith(b"/")
        assert all(0x20 < byte < 0x7F for byte in line.split(b" ")[1])
        assert body == b""
        assert {one.partition(b":")[0] for one in head.split(b"\r\n")[1:]} <= {
            b"Host", b"User-Agent", b"Content-Length",
        }  # fmt: skip


# Runs.


def response(status, location="", more=""):
    where = f"Location: {location}\r\n" if location else ""
    return f"HTTP/1.1 {status} X\r\n{where}{more}Content-Length: 2\r\n\r\nhi".encode()


def routes(**by_path):
    """Return a script that answers each path with a response."""

    def script(peer):
        method, path = peer.server.requests[-1].split()[:2]
        answer = by_path[path.decode().strip("/") or "root"]
        peer.send(answer.partition(b"hi")[0] if method == b"HEAD" else answer)
        if b"Connection: close" in answer:
            peer.close()

    return script


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
@pytest.mark.parametrize("plan", [{}, {"keep_alive": False}, {"rate": 1000.0}])
async def test_a_page_behind_redirects_is_one_request(plan, more, serve, run_plan):
    server = await serve(
        routes(root=response(301, "/b", more), b=response(302, "c", more), c=response(200))
    )
    summary = (await run_plan(url=server.url, requests=6, behavior=FOLLOW, **plan)).summary
    assert (summary.succeeded, summary.failed, summary.followed) == (6, 0, 12)
    assert summary.status == {200: 6}
    assert len(server.requests) == 18
    assert summary.bytes_sent == sum(len(one) + 4 for one in server.requests)
    assert summary.service.count == 6


async def test_the_time_of_a_page_begins_before_its_redirects(serve, run_plan, monkeypatch):
    server = await serve(routes(root=response(303, "/b"), b=response(200)))
    await run_plan(url=server.url, requests=3, method="HEAD", behavior=FOLLOW, connections=1)
    assert [one.split()[:2] for one in server.requests] == [[b"HEAD", b"/"], [b"HEAD", b"/b"]] * 3


async def test_a_redirect_to_another_server_is_counted_as_it_is(serve, run_plan):
    server = await serve(routes(root=response(302, "http://other.test/")))
    summary = (await run_plan(url=server.url, requests=3, behavior=FOLLOW)).summary
    assert (summary.succeeded, summary.followed, summary.status) == (3, 0, {302: 3})


async def test_a_circle_of_redirects_ends_as_a_failure(serve, run_plan):
    server = await serve(routes(root=response(302, "/")))
    summary = (await run_plan(url=server.url, requests=1, connections=1, behavior=FOLLOW)).summary
    assert (summary.failures, summary.followed) == ({"status": 1}, MAX_REDIRECTS)
    assert len(server.requests) == MAX_REDIRECTS + 1
    assert "redirected 20 times" in summary.samples[0].message


async def test_the_last_response_decides(serve, run_plan):
    server = await serve(routes(root=response(302, "/b"), b=response(404)))
    expect = SuccessCriteria.parse(["2xx"])
    summary = (await run_plan(url=server.url, requests=2, expect=expect, behavior=FOLLOW)).summary
    assert (summary.failures, summary.status) == ({"status": 2}, {404: 2})


async def test_a_connection_lost_after_a_redirect_is_retried(serve, run_plan):
    """The connection was reused then: RFC 9112 section 9.3.1."""
    lost = []

    def script(peer):
        if b" / " in peer.server.requests[-1]:
            peer.send(response(302, "/b"))
        elif not lost:
            lost.append(peer.close())
        else:
            peer.send(response(200))

    server = await serve(script)
    summary = (await run_plan(url=server.url, requests=1, connections=1, behavior=FOLLOW)).summary
    assert (summary.succeeded, summary.retried) == (1, 1)
    assert [one.split()[1] for one in server.requests] == [b"/", b"/b", b"/b"]
