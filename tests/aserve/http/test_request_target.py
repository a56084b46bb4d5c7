import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.messages import HttpError
from aserve.http.request_target import TargetPath, is_authority, parse_host_port, parse_path


@pytest.mark.parametrize(
    ("target", "segments", "is_directory"),
    [
        ("/", (), True),
        ("/a/b", (b"a", b"b"), False),
        ("/a/b/", (b"a", b"b"), True),
        ("/a%20b", (b"a b",), False),
        ("/%61", (b"a",), False),
        ("/%2561", (b"%61",), False),
        ("/%C3%BC", "ü".encode(), False),
        ("/a/./b/../c", (b"a", b"c"), False),
        ("/a/..", (), True),
        ("/a/.", (b"a",), True),
        ("/../../etc/passwd", (b"etc", b"passwd"), False),
        ("/%2e%2e/%2E./x", (b"x",), False),
        ("//a//b", (b"a", b"b"), False),
        ("http://example.org", (), True),
        ("http://example.org/a", (b"a",), False),
        ("HTTP://example.org:443/a?b", (b"a",), False),
        ("http://example.org?q", (), True),
    ],
)
def test_parse_path(target, segments, is_directory):
    path = parse_path(target)
    assert path.segments == (segments if isinstance(segments, tuple) else (segments,))
    assert path.is_directory is is_directory


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("*", 400),
        ("a", 400),
        ("ftp://example.org/", 400),
        ("http:///a", 400),
        ("https://example.org/", 421),
        ("http://user@example.org/", 400),
        ("/%", 400),
        ("/%4", 400),
        ("/%zz", 400),
        ("/?%zz", 400),
        ("/a%00b", 400),
        ("/a\0b", 400),
        ("/a#b", 400),
        ("/a%2Fb", 404),
    ],
)
def test_an_invalid_target_is_rejected(target, status):
    with pytest.raises(HttpError) as error:
        parse_path(target)
    assert error.value.status == status


def test_invalid_uri_characters_are_redirected_to_their_escapes():
    with pytest.raises(HttpError) as error:
        parse_path('/a|b?c={"d"}')
    assert error.value.status == 301
    assert error.value.headers == (("Location", "/a%7Cb?c=%7B%22d%22%7D"),)


def test_non_ascii_bytes_are_redirected_to_their_escapes():
    with pytest.raises(HttpError) as error:
        parse_path("/\xc3\xa9.txt?q=\xe9")
    assert error.value.status == 301
    assert error.value.headers == (("Location", "/%C3%A9.txt?q=%E9"),)


def test_brackets_are_accepted_unescaped():
    assert parse_path("/[id].js?a[]=1") == TargetPath(
        (b"[id].js",), is_directory=False, query="?a[]=1"
    )


@pytest.mark.parametrize("slash", ["%2f", "%2F"])
def test_an_escaped_slash_separates_segments_if_allowed(slash):
    target = f"/@babel{slash}core"
    assert parse_path(target, decode_slashes=True).segments == (b"@babel", b"core")
    with pytest.raises(HttpError) as error:
        parse_path(target)
    assert error.value.status == 404


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/..%2fetc",
            "/a/..%2f..%2fetc",
            "/a%2f..",
            "/a%2f..%2fb",
            "/%2e%2e%2fetc",
            "/%2F",
            "/a%2f",
        ),
        *("/%2fa", "/a%2f%2fb", "/a%2f.", "/.%2fa", "/a%2f%2e%2e", "/%2f..%2f"),
    ],
)
@pytest.mark.parametrize("decode_slashes", [False, True])
def test_an_escaped_slash_never_makes_a_dot_segment(target, decode_slashes):
    with pytest.raises(HttpError) as error:
        parse_path(target, decode_slashes=decode_slashes)
    assert error.value.status == 404


names = st.binary(min_size=1, max_size=8).filter(
    lambda name: not {0, 0x2F} & set(name) and name not in {b".", b".."}
)


@given(st.lists(names, max_size=4), st.booleans())
def test_a_location_parses_to_the_same_path(segments, is_directory):
    path = TargetPath(tuple(segments), is_directory or not segments, "?q=1")
    assert parse_path(path.location()) == path
    assert not path.location().startswith("//")


@given(st.text(alphabet="/.%2eEfF5cC\\ab?", max_size=30))
def test_no_target_climbs_above_the_root(text):
    try:
        path = parse_path("/" + text)
    except HttpError:
        return
    assert not {b"", b".", b".."} & set(path.segments)
    assert not any(b"/" in name or b"\0" in name for name in path.segments)


AUTHORITIES = [
    *("a", "a.b", "a:80", "a:", "a:65535", "a:" + "0" * 5_000 + "80", "%61", "a_b"),
    *("127.0.0.1", "999.1.1.1", "[v1.x]", "[V1F.x:y]"),
    *("[::]", "[::1]", "[::1]:80", "[1::]", "[::ffff:127.0.0.1]", "[64:ff9b::1.2.3.4]"),
    *("[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7::]", "[::2:3:4:5:6:7:8]", "[FE80::A]"),
]


def test_a_valid_authority():
    assert [text for text in AUTHORITIES if not is_authority(text)] == []


NO_AUTHORITIES = [
    *("", "a b", "a/b", "u@a", "a:b", "::1", "[::1", "a\tb", "ü", "%6", "a:80:90", ":80"),
    # RFC 3986 section 3.2.2: only an address may stand in brackets.
    *("[]", "[.]", "[1]", "[:]", "[dead]", "[1.2.3.4]", "[::1::2]", "[12345::]", "[:::]"),
    *("[::ffff:999.1.1.1]", "[::1.2.3]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[:1::]"),
    *("[::1%25lo]", "[::1%lo]", "[fe80::1%eth0]", "[::ffff:01.2.3.4]", "[v1.]", "[v.a]"),
    *("[::1]]", "[[::1]]", "[::1]x", "[::g]", "[v1]"),
    # A TCP port has 16 bits and ASCII digits.
    *("a:65536", "a:" + "9" * 5_000, "a:+80", "a:8_0", "a: 80", "a:٨٠", "a:0x50"),
]


def test_an_invalid_authority():
    assert [text for text in NO_AUTHORITIES if is_authority(text)] == []


HOSTS_AND_PORTS = [
    ("A.example:80", ("a.example", 80)),
    ("a:00080", ("a", 80)),
    ("a:" + "0" * 5_000 + "80", ("a", 80)),
    ("[::1]:443", ("::1", 443)),
    *((text, None) for text in ("a", "a:", "a:0", "a:65536", "a:" + "9" * 5_000, "a:٨٠")),
    *((text, None) for text in ("[.]:80", "[v1.x]:80", "::1:80", "u@a:80", ":80", "")),
]


def test_parse_host_port():
    assert [(text, parse_host_port(text)) for text, _ in HOSTS_AND_PORTS] == HOSTS_AND_PORTS


@given(st.text(alphabet="0123456789abcdef:.[]v%_+- ٣", max_size=24))
def test_every_ip_literal_is_a_valid_address(text):
    """Every accepted literal is an address to the standard library, or an IPvFuture one."""
    if is_authority(text) and text[0] == "[" and text[1] != "v":
        ipaddress.IPv6Address(text[1 : text.index("]")])
