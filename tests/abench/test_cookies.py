"""The cookies of a user: RFC 6265 section 5."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from abench.client.cookie_jar import MAX_COOKIES, CookieJar, parse_date
from abench.plan.behavior import Behavior

HOST = "www.example.com"
NOW = 1_700_000_000.0


def head(*cookies):
    lines = "".join(f"Set-Cookie: {cookie}\r\n" for cookie in cookies)
    return f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n".encode()


def jar_with(*cookies, host=HOST, secure=False, resource=b"/docs/a?b/c"):
    jar = CookieJar(host, is_secure=secure)
    jar.store(head(*cookies), resource, NOW)
    return jar


def sent(jar, resource=b"/docs/a", at=NOW):
    return b"; ".join(map(b"=".join, jar.pairs(resource, at))).decode()


# Section 5.2.
@pytest.mark.parametrize(
    ("cookie", "pair"),
    [
        ("a=b", "a=b"), (" a = b c ; Path=/", "a=b c"), ('a="b"', 'a="b"'), ("a=", "a="),
        ("a=b=c", "a=b=c"), ("a", ""), ("=b", ""), ("", ""), (";a=b", ""), ("a=b\x01", ""),
        ("a=b; unknown; =x", "a=b"), ("a=" + "b" * 4095, "a=" + "b" * 4095),
        ("a=" + "b" * 4096, ""),
        ("a=b; Secure", ""), ("a=b; HttpOnly", "a=b"),
        # 5.2.2, 5.2.1 and 5.3: Max-Age counts more than Expires
        ("a=b; Max-Age=0", ""), ("a=b; max-age=-1", ""), ("a=b; Max-Age=1", "a=b"),
        ("a=b; Max-Age=x", "a=b"), ("a=b; Max-Age=+1", "a=b"), ("a=b; Max-Age=" + "9" * 30, "a=b"),
        ("a=b; Expires=Wed, 21 Oct 2015 07:28:00 GMT", ""), ("a=b; Expires=x", "a=b"),
        ("a=b; Expires=Wed, 21 Oct 2015 07:28:00 GMT; Max-Age=9", "a=b"),
        ("a=b; Max-Age=0; Max-Age=9", "a=b"),
        # 5.2.3 and 5.1.3
        ("a=b; Domain=example.com", "a=b"), ("a=b; Domain=.EXAMPLE.com", "a=b"),
        ("a=b; Domain=www.example.com", "a=b"), ("a=b; Domain=other.com", ""),
        ("a=b; Domain=ample.com", ""), ("a=b; Domain=x.www.example.com", ""),
        ("a=b; Domain=", "a=b"),
        # 5.2.4 and 5.1.4
        ("a=b; Path=/docs", "a=b"), ("a=b; Path=/docs/", "a=b"), ("a=b; Path=/doc", ""),
        ("a=b; Path=docs", "a=b"), ("a=b; Path", "a=b"), ("a=b; Path=/docs/a/b", ""),
    ],
)  # fmt: skip
def test_one_cookie(cookie, pair):
    assert sent(jar_with(cookie)) == pair


@pytest.mark.parametrize(
    ("resource", "within"),
    [
        ("/docs/a", "/docs/b"), ("/docs/a?x=/y/z", "/docs"), ("/a", "/x/y"), ("/", "/"),
        ("/a/", "/a/x"),
    ],
)  # fmt: skip
def test_the_default_path_is_that_of_the_request_up_to_its_last_slash(resource, within):
    assert sent(jar_with("a=b", resource=resource.encode()), within.encode()) == "a=b"


def test_a_cookie_is_replaced_by_one_of_the_same_name_domain_and_path():
    jar = jar_with("a=1", "b=2", "a=3; Path=/", "a=4")
    # Section 5.4, step 2: longer paths first, then those that were created first.
    assert sent(jar) == "a=4; b=2; a=3"
    assert len(jar) == 3
    jar.store(head("a=; Max-Age=0"), b"/docs/", NOW)
    assert sent(jar) == "b=2; a=3"


def test_cookies_end_when_they_expire():
    jar = jar_with("a=1; Max-Age=10", "b=2")
    assert [sent(jar, at=NOW + later) for later in (0, 9, 10)] == ["a=1; b=2", "a=1; b=2", "b=2"]


def test_secure_cookies_are_sent_over_tls_only():
    assert sent(jar_with("a=b; Secure", secure=True)) == "a=b"


def test_an_address_has_no_parent_domain():
    assert sent(jar_with("a=b; Domain=0.0.1", host="127.0.0.1")) == ""
    assert sent(jar_with("a=b; Domain=127.0.0.1", host="127.0.0.1")) == "a=b"


def test_a_jar_has_a_limit():
    """What has expired goes first, then the oldest."""
    jar = jar_with("old=1", "short=1; Max-Age=5", *(f"n{number}=1" for number in range(48)))
    jar.store(head("new=1"), b"/docs/", NOW + 6)
    assert len(jar) == MAX_COOKIES
    assert "old=1" in sent(jar)
    jar.store(head("newer=1"), b"/docs/", NOW + 6)
    assert len(jar) == MAX_COOKIES
    assert "old=1" not in sent(jar)


# Section 5.1.1.
@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777), ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777), ("8:49:37 6 november 94x", 784111777),
        ("06 Nov 1994", None), ("06 Nov 1994 25:00:00", None), ("32 Nov 1994 08:49:37", None),
        ("31 Feb 1994 08:49:37", None), ("06 Nov 1600 08:49:37", None), ("", None), ("0", None),
        ("01 Jan 70 00:00:00", 0), ("01 Jan 69 00:00:00", 3124224000),
    ],
)  # fmt: skip
def test_dates(text, date):
    assert parse_date(text) == date


@given(st.text(alphabet="0123456789:-, JanFeb/\u0661", max_size=30))
@example("1:1:1 1 Jan 0000")
def test_any_text_is_a_date_or_none(text):
    found = parse_date(text)
    assert found is None or math.isfinite(found)


REQUEST = b"GET /docs/a HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    ("own", "all_cookies"),
    [(b"", b"a=b"), (b"Cookie: x=y; a=z\r\n", b"x=y; a=b"), (b"cookie: x=y\r\n", b"x=y; a=b")],
)
def test_a_request_has_one_cookie_header(own, all_cookies):
    """Section 5.4: "the user agent MUST NOT attach more than one Cookie header field"."""
    added = jar_with("a=b").add_to(REQUEST + own + b"\r\nbody\r\n\r\n", b"/docs/a", NOW)
    assert added == REQUEST + b"Cookie: " + all_cookies + b"\r\n\r\nbody\r\n\r\n"


def test_a_request_without_cookies_is_not_changed():
    request = REQUEST + b"\r\n"
    assert jar_with().add_to(request, b"/", NOW) is request


@given(st.lists(st.text(alphabet='ab=;, "\\/\t\x00\x7f\u00e4', max_size=12), max_size=6))
def test_no_cookie_makes_another_header(cookies):
    jar = CookieJar(HOST, is_secure=False)
    jar.store("".join(f"X\r\nSet-Cookie: {one}\r\n" for one in cookies).encode(), b"/", NOW)
    added = jar.add_to(REQUEST + b"\r\n", b"/", NOW)
    headers = added.removesuffix(b"\r\n\r\n").split(b"\r\n")[2:]
    assert len(headers) == bool(len(jar))
    assert added.count(b"\r\n\r\n") == 1


# Runs.


def visits(peer):
    """Count the visits of a user, as a server with sessions does."""
    request = peer.server.requests[-1]
    number = int(request.partition(b"visits=")[2].split(b";")[0].split(b"\r\n")[0] or 0) + 1
    cookie = b"Set-Cookie: visits=%d; Path=/\r\n" % number
    peer.send(b"HTTP/1.1 200 OK\r\n" + cookie + b"Content-Length: 5\r\n\r\nhello")


@pytest.mark.parametrize(
    "plan", [{}, {"keep_alive": False}, {"rate": 1000.0}, {"headers": (("Cookie", "x=y"),)}]
)
async def test_each_connection_has_the_cookies_of_one_user(plan, serve, run_plan):
    server = await serve(visits)
    behavior = Behavior(cookies=True)
    summary = (
        await run_plan(url=server.url, connections=1, requests=4, behavior=behavior, **plan)
    ).summary
    own = [b"x=y"] if "headers" in plan else []
    cookies = [one.partition(b"Cookie: ")[2].split(b"\r\n")[0] for one in server.requests]
    assert cookies == [
        b"; ".join((*own, *([b"visits=%d" % number] if number else []))) for number in range(4)
    ]
    assert summary.bytes_sent == sum(len(one) + 4 for one in server.requests)


async def test_users_do_not_share_cookies(serve, run_plan):
    server = await serve(visits)
    await run_plan(url=server.url, connections=3, requests=6, behavior=Behavior(cookies=True))
    assert sum(b"Cookie" not in one for one in server.requests) == 3


async def test_a_redirect_may_set_a_cookie(serve, run_plan):
    def script(peer):
        if b"Cookie: a=b" in peer.server.requests[-1]:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            peer.send(
                b"HTTP/1.1 302 X\r\nSet-Cookie: a=b\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
            )

    server = await serve(script)
    behavior = Behavior(cookies=True, follow=True)
    summary = (await run_plan(url=server.url, connections=1, requests=2, behavior=behavior)).summary
    assert (summary.status, summary.followed) == ({200: 2}, 1)
