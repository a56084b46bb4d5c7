"""The parts of a user: cookies (RFC 6265), rows of data, requests and responses."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.plan.scenario_file import ScenarioFile
from abench.scenario.cookies import CookieJar, default_path, matches
from abench.scenario.requests import RequestFactory
from abench.scenario.response import Response
from abench.scenario.rows import Rows, RowsError, parse
from abench.scenario.user import check, weight

NOW = 1_800_000_000.0


def jar(**options):
    return CookieJar("shop.example.com", now=lambda: NOW, **options)


# Set-Cookie header, path of the request that set it: path of the next request, its Cookie header
COOKIES = [
    ("id=1", "/", "/any/where", "id=1"),
    ("id=1; Path=/a", "/", "/a/b", "id=1"),
    ("id=1; Path=/a", "/", "/ab", ""),
    ("id=1; Path=a", "/x/y", "/x/z", "id=1"),  # section 5.2.4: no path, so that of the request
    ("id=1", "/x/y?z=/q/r", "/", ""),
    ("id=1; Domain=example.com", "/", "/", "id=1"),
    ("id=1; Domain=.EXAMPLE.com", "/", "/", "id=1"),
    ("id=1; Domain=other.com", "/", "/", ""),
    ("id=1; Domain=ample.com", "/", "/", ""),
    ("id=1; Max-Age=0", "/", "/", ""),
    ("id=1; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "/", "/", "id=1"),
    ("id=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "/", "/", ""),
    (f"id=1; Expires={format_datetime(datetime(2100, 1, 1, tzinfo=UTC), True)}", "/", "/", "id=1"),
    ("id=1; Expires=soon", "/", "/", "id=1"),  # section 5.2.1: as if it was not there
    ("id=1; Secure", "/", "/", ""),
    ('id="a b"; HttpOnly; SameSite=Lax', "/", "/", 'id="a b"'),
    ("id=a=b", "/", "/", "id=a=b"),
    ("=1", "/", "/", ""),
    ("id", "/", "/", ""),
]  # fmt: skip


@pytest.mark.parametrize(("header", "set_by", "path", "sent"), COOKIES)
def test_cookies_are_sent_as_rfc_6265_says(header, set_by, path, sent):
    cookies = jar()
    cookies.store(header, set_by)
    assert cookies.header(path) == sent


def test_secure_cookies_are_for_https():
    cookies = jar(secure=True)
    cookies.store("id=1; Secure", "/")
    assert cookies.header("/") == "id=1"


def test_cookies_with_longer_paths_come_first():
    cookies = jar()
    cookies.store("all=1; Path=/", "/")
    cookies.store("some=2; Path=/a", "/")
    cookies.store("all=3; Path=/", "/")
    assert cookies.header("/a") == "some=2; all=3"
    cookies.store("some=; Path=/a; Max-Age=-1", "/")
    assert cookies.header("/a") == "all=3"


def test_a_scenario_sees_its_cookies():
    cookies = jar()
    cookies.set("id", "1")
    assert "id" in cookies
    assert (cookies.get("id"), cookies.get("no"), len(cookies)) == ("1", None, 1)
    cookies.clear()
    assert not len(cookies)


def test_a_user_has_at_most_fifty_cookies():
    cookies = jar()
    for number in range(60):
        cookies.store(f"c{number}=1", "/")
    assert len(cookies) == 50
    assert "c59" in cookies
    assert "c9" not in cookies


@given(st.text(max_size=40), st.text(alphabet="/ab?", min_size=1, max_size=8))
def test_any_set_cookie_header_is_taken_or_ignored(header, path):
    cookies = jar()
    cookies.store(header, "/" + path)
    cookies.header("/" + path)
    assert matches("/" + path, default_path("/" + path))


CONTENT = b'name,word\none,1\n\ntwo,"2,\n3"\n'


def rows(order, tmp_path, content=CONTENT, **options):
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    return Rows(str(file), order, **options)


def test_shared_rows_are_dealt_out_to_all_users_of_all_processes(tmp_path):
    content = b"n\n" + b"".join(b"%d\n" % number for number in range(6))
    first, second = rows("shared", tmp_path, content), rows("shared", tmp_path, content)
    one = [first.row_for(number, 0, 2)["n"] for number in (1, 3, 1)]
    two = [second.row_for(number, 1, 2)["n"] for number in (2, 4, 2)]
    assert (one, two) == (["0", "2", "4"], ["1", "3", "5"])
    assert first.row_for(1, 0, 2)["n"] == "0"


def test_sequential_rows_begin_anew_for_each_user(tmp_path):
    taken = rows("sequential", tmp_path)
    assert [taken.row_for(number)["name"] for number in (1, 2, 1, 1)] == [
        "one",
        "one",
        "two",
        "one",
    ]


def test_random_rows_are_the_same_in_each_run(tmp_path):
    content = b"n\n" + b"".join(b"%d\n" % number for number in range(50))
    again = [rows("random", tmp_path, content) for _ in range(2)]
    first, second = ([one.row_for(7)["n"] for _ in range(5)] for one in again)
    assert first == second
    assert first != [again[0].row_for(8)["n"] for _ in range(5)]
    other = rows("random", tmp_path, content, seed=1)
    assert first != [other.row_for(7)["n"] for _ in range(5)]


def test_rows_are_a_sequence(tmp_path):
    found = rows("shared", tmp_path)
    assert len(found) == 2
    assert found[1] == {"name": "two", "word": "2,\n3"} == list(found)[1]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "rows.csv: it has no row below the names of its columns"),
        (b"a,b\n", "rows.csv: it has no row below the names of its columns"),
        (b"a,b\n1,2\n3\n", "rows.csv:3: 1 values for 2 columns"),
        (b"a,b\n1,\xff\n", "rows.csv:2: it is not UTF-8"),
        (b'a\n"1\n', "rows.csv:2: unexpected end of data"),
    ],
)
def test_what_is_wrong_with_rows_is_said_with_their_line(content, error):
    with pytest.raises(RowsError) as found:
        parse("rows.csv", content)
    assert str(found.value) == error


def test_an_order_of_rows_must_be_known(tmp_path):
    with pytest.raises(RowsError, match="'any' is not shared, sequential or random"):
        rows("any", tmp_path)


def factory(url="http://h/shop/", **plan):
    return RequestFactory(Plan(url=url, scenario=ScenarioFile("s.py", b""), **plan))


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        ("/", "/"),
        ("/a/b.html?c=d&e=%20", "/a/b.html?c=d&e=%20"),
        ("item", "/shop/item"),
        ("../b", "/b"),
        ("/a/../b", "/b"),
        ("?q=1", "/shop/?q=1"),
        ("http://h/x", "/x"),
        ("/ä b", "/%C3%A4%20b"),
        ("/a#b", "/a"),
        ("//h/c", "/c"),
    ],
)
def test_urls_are_relative_to_that_of_the_run(url, resource):
    assert factory().request("GET", url).resource == resource


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"url": "http://other/"}, "http://other/ is on another server than http://h/shop/"),
        ({"url": "https://h/"}, "https://h/ is on another server than http://h/shop/"),
        ({"url": "ftp://h/"}, "ftp://h/ is not like http://host/ or host:port"),
        ({"url": "/", "method": "GE T"}, "'GE T' is not a method name"),
        (
            {"url": "/", "headers": {"A": "b\r\nC: d"}},
            "A contains a control character or is not UTF-8",
        ),
        ({"url": "/", "data": "a", "json": 1}, "give either data or json"),
        ({"url": "/", "expect": "ok"}, "'ok' is not like 200, 2xx or (at most once) body:TEXT"),
    ],
)
def test_what_is_no_request_to_the_server_is_refused(options, error):
    with pytest.raises(ValueError) as found:
        factory().request(options.pop("method", "GET"), **options)
    assert str(found.value) == error


@pytest.mark.parametrize(
    ("options", "media_type", "body"),
    [
        ({"data": b"\0"}, None, b"\0"),
        ({"data": "\u00e4"}, None, "\u00e4".encode()),
        (
            {"data": {"a": "b c", "d": [1, 2]}},
            b"application/x-www-form-urlencoded",
            b"a=b+c&d=1&d=2",
        ),
        ({"json": {"a": None}}, b"application/json", b'{"a":null}'),
        ({"json": 0, "headers": {"content-type": "x/y"}}, b"x/y", b"0"),
        ({}, None, b""),
    ],
)
def test_a_body_has_its_media_type_and_length(options, media_type, body):
    head, _, sent = factory().request("POST", "/", **options).data.partition(b"\r\n\r\n")
    headers = dict(line.split(b": ") for line in head.lower().split(b"\r\n")[1:])
    assert sent == body
    assert headers[b"content-length"] == b"%d" % len(body)
    assert headers.get(b"content-type") == media_type


def test_a_step_has_the_path_or_a_name():
    requests = factory()
    assert requests.request("GET", "/a?b", params={"c": "d"}).step == "GET /a"
    assert requests.request("GET", "/a", name="first").step == "first"
    assert requests.request("GET", "/a", params=[("c", "d e")]).resource == "/a?c=d+e"
    assert requests.request("GET", "/a?b", params={"c": [1, 2]}).resource == "/a?b&c=1&c=2"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=latin-1\r\nX-A: 1\r\nx-a: 2\r\n"


def test_a_response_has_its_parts():
    response = Response(200, HEAD, b"\xe4", 0.5)
    assert (response.status, response.ok, response.elapsed_s) == (200, True, 0.5)
    assert response.headers["content-TYPE"].startswith("text/plain")
    assert response.headers.get_all("X-A") == ["1", "2"]
    assert response.headers["X-B"] is None
    assert (response.text, response.body) == ("\u00e4", b"\xe4")
    assert repr(response) == "<Response 200, 1 bytes>"


@pytest.mark.parametrize("head", [b"HTTP/1.1 500 No\r\n", HEAD.replace(b"latin-1", b"klingon")])
def test_a_response_without_a_known_charset_is_utf_8(head):
    assert Response(500, head, b"\xc3\xa4\xff", 0).text == "\u00e4\ufffd"


def test_a_body_may_be_json():
    assert Response(200, HEAD, b'{"a": [1]}', 0).json() == {"a": [1]}
    with pytest.raises(ValueError, match="Expecting value"):
        Response(200, HEAD, b"<html>", 0).json()


def test_a_check_belongs_to_a_path():
    with pytest.raises(RuntimeError, match="none is taken here"):
        check("any", True)


def test_a_weight_is_positive():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        weight(0)


@pytest.mark.parametrize(
    ("plan", "error"),
    [
        ({"method": "POST"}, "SCENARIO: it makes all requests itself"),
        ({"pipeline": 2}, "SCENARIO: it makes all requests itself"),
        ({"headers": (("X", "{n}"),)}, "--header: a scenario fills in its numbers itself, not {n}"),
        ({"headers": (("X Y", "1"),)}, "--header: 'X [...]' is not a header name"),
    ],
)
def test_what_no_scenario_can_have_is_refused(plan, error):
    with pytest.raises(ParameterError) as found:
        factory(**plan)
    assert str(found.value).startswith(error.replace("[...]", "..."))
