import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan.target import Target


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
def test_a_url_is_parsed(url: str, host: str, port: int, resource: str, authority: str) -> None:
    target = Target.parse(url)
    assert (target.host, target.port, target.resource) == (host, port, resource)
    assert target.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "calibrat",
        ":8000/",
        "http:/h/",
        "//h/",
        "::1",
        "h:port",
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
def test_a_url_without_an_http_server_is_refused(url: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Target.parse(url)
    message = str(caught.value)
    assert message.startswith("URL: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("127.0.0.1:8200", "http://127.0.0.1:8200/"),
        ("localhost:8000/a?b", "http://localhost:8000/a?b"),
        ("localhost", "http://localhost/"),
        ("localhost/a", "http://localhost/a"),
        ("example.com/a://b", "http://example.com/a://b"),
        ("[::1]:8000/", "http://[::1]:8000/"),
        ("[::1]", "http://[::1]/"),
        ("server:80#x", "http://server/"),
        ("http:80", "http://http/"),
    ],
)
def test_a_host_and_a_port_mean_http(url: str, expected: str) -> None:
    assert Target.parse(url).url == expected


def test_userinfo_without_a_scheme_is_userinfo() -> None:
    assert Target.parse("me:secret@h:80/") == Target.parse("http://me:secret@h/")


def test_credentials_are_not_shown() -> None:
    target = Target.parse("http://Aladdin:open%20sesame@h/")
    assert target.url == "http://h/"
    assert "sesame" not in repr(target)


def test_a_placeholder_is_not_escaped() -> None:
    assert Target.parse("http://h/{n}/ä{n}?q={n}&{m}").resource == "/{n}/%C3%A4{n}?q={n}&%7Bm%7D"


@given(st.text())
def test_any_path_is_one_word_of_a_request_line(path: str) -> None:
    try:
        resource = Target.parse(f"http://h/{path}").resource
    except ParameterError:
        return
    assert resource.startswith("/")
    assert resource.isascii()
    assert resource.isprintable()
    assert " " not in resource
