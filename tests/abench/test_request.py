"""The bytes of requests: as RFC 9112 defines them, and as users can change them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan import request_body
from abench.plan.body_template import BodyTemplate
from abench.plan.request import RequestTemplate, cookie_header, parse_header
from abench.plan.target import Target

TARGET = Target.parse("http://h:81/a?b")


def encode(number: int = 0, target: Target = TARGET, **template: object) -> bytes:
    return RequestTemplate(**template).prepare(target).encode(number)  # type: ignore[arg-type]


def test_a_request_has_origin_form_and_host() -> None:
    # RFC 9112 sections 3.2.1 and 3.2
    assert encode() == b"GET /a?b HTTP/1.1\r\nHost: h:81\r\nUser-Agent: abench\r\n\r\n"


def test_a_request_to_a_proxy_has_absolute_form() -> None:
    # RFC 9112 section 3.2.2
    assert encode(absolute=True).startswith(b"GET http://h:81/a?b HTTP/1.1\r\nHost: h:81\r\n")


@pytest.mark.parametrize(
    ("version", "keep_alive", "connection"),
    [
        ("1.1", True, None),
        ("1.1", False, b"close"),
        ("1.0", True, b"keep-alive"),
        ("1.0", False, None),
    ],
)
def test_the_connection_header_says_what_is_not_the_default(
    version: str, keep_alive: bool, connection: bytes | None
) -> None:
    # RFC 9112 section 9.3 has the defaults of both versions.
    request = encode(version=version, keep_alive=keep_alive)
    assert f" HTTP/{version}\r\n".encode() in request
    found = re.search(rb"\r\nConnection: (.*)\r\n", request)
    assert (found and found[1]) == connection


def test_http_0_9_is_one_line() -> None:
    # RFC 1945 section 4.1: Simple-Request = "GET" SP Request-URI CRLF
    assert encode(version="0.9", keep_alive=False) == b"GET /a?b\r\n"


def test_credentials_are_sent() -> None:
    # RFC 7617 section 2: Aladdin and "open sesame"
    target = Target.parse("http://Aladdin:open%20sesame@h/")
    assert b"\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n" in encode(target=target)


def test_headers_of_the_user_replace_defaults_and_empty_ones_remove_them() -> None:
    request = encode(headers=(("host", "x"), ("USER-AGENT", ""), ("X-A", "1"), ("X-A", "2")))
    assert request == b"GET /a?b HTTP/1.1\r\nhost: x\r\nX-A: 1\r\nX-A: 2\r\n\r\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_methods_with_content_send_a_length_of_zero_without_any(method: str) -> None:
    # RFC 9110 section 8.6
    assert encode(method=method).endswith(b"\r\nContent-Length: 0\r\n\r\n")


@given(body=st.binary(), number=st.integers(0, 10**12))
def test_a_body_follows_its_length(body: bytes, number: int) -> None:
    head, _, sent = encode(number, method="POST", body=body).partition(b"\r\n\r\n")
    assert sent == body.replace(b"{n}", b"%d" % number)
    assert head.endswith(b"\r\nContent-Length: %d" % len(sent)) or not sent


@given(body=st.binary(), at=st.integers(0, 100), number=st.integers(0, 10**12))
def test_a_literal_body_is_sent_as_it_is(body: bytes, at: int, number: int) -> None:
    body = body[:at] + b"{n}" + body[at:]
    request = encode(number, method="PUT", body=BodyTemplate.literal(body))
    assert request.partition(b"\r\n\r\n")[2] == body


@given(number=st.integers(0, 10**12))
def test_a_number_replaces_every_placeholder(number: int) -> None:
    target = Target.parse("http://h/{n}?q={n}")
    headers = (("X-Number", "no {n}"),)
    request = encode(number, target, method="POST", headers=headers, body=b"<{n}{n}>")
    head, _, body = request.partition(b"\r\n\r\n")
    digits = b"%d" % number
    assert head.startswith(b"POST /%s?q=%s HTTP/1.1\r\n" % (digits, digits))
    assert b"\r\nX-Number: no %s\r\n" % digits in head
    assert body == b"<%s%s>" % (digits, digits)
    assert head.endswith(b"\r\nContent-Length: %d" % len(body))


@given(st.text())
def test_any_header_option_is_one_header_or_refused(text: str) -> None:
    try:
        name, value = parse_header(text)
    except ParameterError:
        return
    lines = encode(headers=((name, value),)).split(b"\r\n")
    sent = [line for line in lines[1:] if line.lower().startswith(name.lower().encode() + b":")]
    assert len(sent) == bool(value)
    assert lines[-2:] == [b"", b""]


@pytest.mark.parametrize(
    "header", ["X", "X Y: 1", ": 1", "X: a\nb", "Content-Length: 1", "transfer-encoding: chunked"]
)
def test_an_invalid_header_is_refused(header: str) -> None:
    with pytest.raises(ParameterError, match=r"^--header: "):
        parse_header(header)


def test_cookies_are_one_header() -> None:
    # RFC 6265 section 5.4
    assert cookie_header(["a=1", "b=2"]) == (("Cookie", "a=1; b=2"),)
    assert cookie_header([]) == ()


@pytest.mark.parametrize("pair", ["a", "a=1; b=2", "a=\n"])
def test_an_invalid_cookie_is_refused(pair: str) -> None:
    with pytest.raises(ParameterError, match=r"^--cookie: "):
        cookie_header([pair])


def test_data_is_text_or_a_file(tmp_path) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"\x00{n}\xff")
    assert request_body.read_data("a=1{n}2")[1].pieces == (b"a=1", b"2")
    media_type, body = request_body.read_data(f"@{file}")
    assert (media_type, body.pieces) == ("application/octet-stream", (b"\x00{n}\xff",))
    with pytest.raises(ParameterError, match=r"^--data: .*/none: no such file"):
        request_body.read_data(f"@{tmp_path}/none")


def test_a_form_is_encoded_as_the_url_standard_says() -> None:
    # application/x-www-form-urlencoded: spaces are plus signs
    media_type, body = request_body.encode_form(["a=1 2", "b=ä&", "n={n}"])
    assert media_type == "application/x-www-form-urlencoded"
    assert body.pieces == (b"a=1+2&b=%C3%A4%26&n=", b"")


def test_a_form_with_a_file_is_multipart(tmp_path) -> None:
    file = tmp_path / 'a "b".bin'
    file.write_bytes(b"\r\n--x{n}\x00")
    media_type, body = request_body.encode_form(["a=1", f"f=@{file}", "n={n}."])
    boundary = media_type.removeprefix("multipart/form-data; boundary=").encode()
    # RFC 7578 section 4, RFC 2046 section 5.1.1; only the text has a number, and not the file.
    parts = (
        b'--%s\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--%s\r\nContent-Disposition: form-data; name="f"; filename="a %%22b%%22.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n--x{n}\x00\r\n"
        b'--%s\r\nContent-Disposition: form-data; name="n"\r\n\r\n'
    ) % (boundary, boundary, boundary)
    assert body.pieces == (parts, b".\r\n--%s--\r\n" % boundary)


@given(st.lists(st.tuples(st.binary(), st.booleans())), st.integers(0, 10**12))
def test_a_body_of_several_has_numbers_in_those_that_are_not_literal(
    bodies: list[tuple[bytes, bool]], number: int
) -> None:
    numbered, literal = b"<{n}>", b"({n})"
    parts = [
        (BodyTemplate.literal, data + literal) if is_literal else (BodyTemplate.parse, numbered)
        for data, is_literal in bodies
    ]
    body = BodyTemplate.join(make(data) for make, data in parts)
    request = encode(number, method="PUT", body=body)
    expected = b"".join(data if data != numbered else b"<%d>" % number for _, data in parts)
    assert request.partition(b"\r\n\r\n")[2] == expected


@pytest.mark.parametrize("field", ["a", "=1", ""])
def test_an_invalid_form_field_is_refused(field: str) -> None:
    with pytest.raises(ParameterError, match=r"^--form: "):
        request_body.encode_form([field])
