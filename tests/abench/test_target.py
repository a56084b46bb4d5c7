import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.target import Target


@pytest.mark.parametrize(
    ("url", "host", "port", "resource", "authority"),
    [
        ("http://h", "h", 80, "/", "h"),
        ("http://h:8000/a?b=c#d", "h", 8000, "/a?b=c", "h:8000"),
        ("https://h/", "h", 443, "/", "h"),
        ("https://h:443/", "h", 443, "/", "h"),
        ("http://h:443/", "h", 443, "/", "h:443"),
        ("http://h?x", "h", 80, "/?x", "h"),
        ("HTTP://H/", "h", 80, "/", "h"),
        ("http://[::1]:8000/", "::1", 8000, "/", "[::1]:8000"),
        ("http://[fe80::1%25eth0]/", "fe80::1%eth0", 80, "/", "[fe80::1]"),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, "/", "xn--bcher-kva.example"),
        ("http://h/ä b", "h", 80, "/%C3%A4%20b", "h"),
        ("http://h/%C3%A4?q=%20&r=é", "h", 80, "/%C3%A4?q=%20&r=%C3%A9", "h"),
    ],
)
def test_a_url_is_taken_apart(
    url: str, host: str, port: int, resource: str, authority: str
) -> None:
    target = Target.parse(url)
    assert (target.host, target.port, target.resource) == (host, port, resource)
    assert target.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "localhost:8000/",
        "/path",
        "ftp://h/",
        "http:/h",
        "http://",
        "http:///path",
        "http://:80/",
        "http://h:0/",
        "http://h:65536/",
        "http://h:x/",
        "http://[::1/",
        "http://[::g]/",
        "http://a b/",
        "http://../",
        "http://h/\r\nEvil: x",
        "http://h\x00/",
        "http://h/\udcff",
    ],
)
def test_what_names_no_http_server_is_refused(url: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Target.parse(url)
    message = str(caught.value)
    assert message.startswith("URL: ")
    assert "\n" not in message


def test_the_request_asks_in_origin_form_with_host() -> None:
    assert Target.parse("http://h:81/a?b").request() == (
        b"GET /a?b HTTP/1.1\r\nHost: h:81\r\nUser-Agent: abench\r\n\r\n"
    )


def test_the_request_without_keep_alive_says_so() -> None:
    assert b"\r\nConnection: close\r\n" in Target.parse("http://h/").request(keep_alive=False)


def test_credentials_are_sent_and_not_shown() -> None:
    # RFC 7617 section 2: Aladdin and "open sesame"
    target = Target.parse("http://Aladdin:open%20sesame@h/")
    assert b"\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n" in target.request()
    assert target.url == "http://h/"
    assert "sesame" not in repr(target)


@given(st.text())
def test_whatever_the_path_the_request_is_one_line_and_its_fields(path: str) -> None:
    try:
        request = Target.parse(f"http://h/{path}").request()
    except ParameterError:
        return
    line, *fields = request.split(b"\r\n")
    assert fields == [b"Host: h", b"User-Agent: abench", b"", b""]
    method, resource, version = line.split(b" ")
    assert (method, version) == (b"GET", b"HTTP/1.1")
    assert resource.startswith(b"/")
    assert resource.isascii()
