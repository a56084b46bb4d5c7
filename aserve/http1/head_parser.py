"""Parses one request head: httptools validates it, this module adds the rules it lacks.

httptools (llhttp, leniency off) itself rejects bare CR and LF, obs-fold, NUL and control
characters, invalid names, Content-Length beside Transfer-Encoding or twice or malformed, and a
Transfer-Encoding that does not end in chunked. Every other rule is in this module, with its clause.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import httptools

from aserve.http.integers import parse_decimal
from aserve.http.messages import HttpError, Request
from aserve.http.request_target import is_authority
from aserve.http1.limits import Limits

_BEFORE_VERSION = r"(?P<method>[\w!#$%&'*+.^`|~-]+) (?P<target>[!-~\x80-\xff]+) HTTP/"
_REQUEST_LINE = re.compile(_BEFORE_VERSION + r"1\.(?P<minor>\d)", re.ASCII)
_OTHER_VERSION = re.compile(_BEFORE_VERSION + r"\d\.\d", re.ASCII)

_BEGINNING_OF_LINE = re.compile(
    rb"[\w!#$%&'*+.^`|~-]+(?: (?:[!-~\x80-\xff]+(?: [!-~]{0,8}\r?)?)?)?", re.ASCII
)

_ASCII_ONLY = bytes(range(128)) + b"x" * 128

_HEAD_END = b"\r\n\r\n"
_TRAILING_WHITESPACE = re.compile(rb"(?<=[^\r\n\t ])[\t ]+\r\n")

# One search through the validated head, instead of a call into Python for each of its headers:
# 4.5 against 6.4 us for a browser's 13, validation included (docs/performance.md).
_DECIDING_HEADERS = re.compile(
    r"\r\n(?=[acehirt])(accept|accept-encoding|connection|content-length|expect|host"
    r"|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since"
    r"|range|transfer-encoding):[ \t]*([^\r]*)",
    re.IGNORECASE,
)


_MAX_LOGGED_LINE = 1_024  # bytes kept of each logged line of a rejected head
_MAX_METHOD = 32  # bytes; IANA's registry of methods has none longer than 17

# Only these options of a Connection header matter. Each pattern begins with a literal, which is
# found as fast as memory is read: 31,000 commas take 14 us. A pattern that tries every comma took
# 2 ms, and splitting a header with 15,000 options 5 ms.
_CLOSE = re.compile(r"close(?<![^,\t ]close)(?=[\t ]*(?:,|\Z))")
_KEEP_ALIVE = re.compile(r"keep-alive(?<![^,\t ]keep-alive)(?=[\t ]*(?:,|\Z))")
_EDGE = re.compile(r"[\t ]*(?:,|\Z)")

_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_LOGGED_LINE = re.compile(rb"(?:referer|user-agent):", re.IGNORECASE)

_OTHER_PROTOCOLS = (
    # In each prefix, only the last byte can make a request line invalid. So the whole prefix is
    # there when the line is rejected, however the bytes arrive.
    ("\x16", "This is a TLS handshake on a plain HTTP port: https:// is not supported."),
    ("\x04", "This is SOCKS, version 4: this server is not a proxy."),
    ("\x05", "This is SOCKS, version 5: this server is not a proxy."),
    ("\0", "This is a binary protocol, such as version 2 of the PROXY protocol, not HTTP."),
    ("SSH-", "This is SSH on an HTTP port."),
    ("PROXY ", "This is the PROXY protocol, which is not supported."),
)
"""The first bytes of other protocols, and the error detail for each."""


class ParsedHeaders(NamedTuple):
    """A validated header section. length: bytes of the request body, None if it is chunked."""

    headers: Mapping[str, str]
    length: int | None
    keep_alive: bool
    expects_continue: bool


def parse_head(data: bytes) -> tuple[Request, ParsedHeaders]:
    """Parse a complete head, including its empty line. Raises HttpError."""
    text = data.decode("latin-1")
    line_end = data.index(b"\r\n")
    line = _REQUEST_LINE.fullmatch(text, 0, line_end)
    if not line:
        raise _line_error(text, line_end)
    method, target, version = line.groups()
    minor = 0 if version == "0" else 1
    if target[0] == "/":
        # httptools accepts every such line that _REQUEST_LINE matches.
        lines = data[line_end:]
        parsed = (_cached_parse_headers if len(lines) <= _MAX_CACHED else _parse_headers)(
            lines, minor
        )
    else:
        _validate(data)
        parsed = _parse_headers(data[line_end:], minor)
    return Request(method, target, minor, parsed.headers, text), parsed


def _parse_headers(lines: bytes, minor: int) -> ParsedHeaders:
    """Parse a header section, from the end of the request line to the empty line."""
    _validate(b"GET / HTTP/1.%d" % minor + lines)
    headers = _deciding_headers(lines.decode("latin-1"), minor)
    options = headers.get("connection", "").lower()
    return ParsedHeaders(
        headers,
        _content_length(headers, minor),
        not _has_option(options, _CLOSE) and (minor >= 1 or _has_option(options, _KEEP_ALIVE)),
        _expects_continue(headers, minor),
    )


def _has_option(options: str, pattern: re.Pattern[str]) -> bool:
    """Tell whether a list has an option, with nothing but whitespace on both of its sides."""
    if not pattern.search(options):
        return False
    # Read backwards, what precedes an option can be matched as what follows it.
    backwards, size = options[::-1], len(options)
    return any(_EDGE.match(backwards, size - one.start()) for one in pattern.finditer(options))


# A client's requests differ mostly in their first line. The result depends on the bytes alone, so
# it can be cached.
_cached_parse_headers = lru_cache(maxsize=512)(_parse_headers)
_MAX_CACHED = 2_048  # bytes


def check_beginning(data: bytes) -> None:
    """Reject the beginning of a head that no continuation can make valid."""
    if b"\r\n" in data:
        text, line_end = data.decode("latin-1"), data.index(b"\r\n")
        if not _REQUEST_LINE.fullmatch(text, 0, line_end):
            raise _line_error(text, line_end)
        _validate(data)
    elif not _BEGINNING_OF_LINE.fullmatch(data):
        raise _malformed_line(data.decode("latin-1"))


def check_size(data: bytes, limits: Limits) -> None:
    """Reject a head, or the beginning of one, that is too large (RFC 9110 15.5.15, RFC 6585 5).

    An error within the limit takes precedence: the response must not depend on how the bytes
    arrived, and byte by byte they would have been rejected for that error.
    """
    line_end = data.find(b"\r\n")
    if line_end < 0:
        line_end = len(data) - data.endswith(b"\r")
    if line_end > limits.max_request_line:
        beginning = data[: limits.max_request_line]
        check_beginning(beginning)
        if len(beginning.partition(b" ")[0]) > _MAX_METHOD:  # RFC 9112 section 3
            raise HttpError(501, "This method is not supported.")
        raise HttpError(414, "The request line is too long.")
    max_lines = limits.max_headers + 2  # with the request line and the empty line
    if len(data) > limits.max_header_size or data.count(b"\r\n") > max_lines:
        check_beginning(_first_lines(data[: limits.max_header_size], max_lines + 1))
        raise HttpError(431, "The header section is too large.")


def _first_lines(data: bytes, count: int) -> bytes:
    end = 0
    for _ in range(count):
        line_end = data.find(b"\r\n", end)
        if line_end < 0:
            return data
        end = line_end + 2
    return data[:end]


def parse_request_line_leniently(data: bytes) -> Request:
    """Return what can be parsed of a rejected head, for the log.

    The request's head holds only the lines that are logged, each cut to _MAX_LOGGED_LINE bytes.
    """
    request_line, *lines = data.lstrip(b"\r\n").partition(_HEAD_END)[0].split(b"\n")
    logged = [request_line, *(line for line in lines if _LOGGED_LINE.match(line))]
    head = b"\r\n".join(line[:_MAX_LOGGED_LINE].rstrip(b"\r") for line in logged).decode("latin-1")
    method, _, rest = head.partition("\r\n")[0].partition(" ")
    if not _TOKEN.fullmatch(method):
        return Request("", "", head=head)
    return Request(method, rest.rpartition(" ")[0] or rest, head=head)


def _validate(data: bytes) -> None:
    """Validate a head, or the beginning of one, with httptools; its request line must be valid."""
    try:
        _feed(data)
    except httptools.HttpParserError:
        # HTTP/1.2 is read as HTTP/1.1 (RFC 9110 section 2.5), any token is a method (9.1), a target
        # with characters that no URI has is redirected to its encoded form (9112 section 3.2), and
        # a value may end with a tab (9112 section 5). httptools rejects all of these, so it
        # validates the rest without them.
        line, _, rest = data.partition(b"\r\n")
        target = line.split(b" ")[1].translate(_ASCII_ONLY)
        rest = _TRAILING_WHITESPACE.sub(b"\r\n", rest)
        _feed_or_reject(b"POST %b HTTP/1.1\r\n" % target + rest)


def _feed(data: bytes) -> None:
    # HttpParserUpgrade: CONNECT, or an Upgrade that is not accepted; the head is complete.
    with suppress(httptools.HttpParserUpgrade):
        httptools.HttpRequestParser(_NO_CALLBACKS).feed_data(data)


def _feed_or_reject(data: bytes) -> None:
    try:
        _feed(data)
    except httptools.HttpParserError as error:
        raise HttpError(400, f"The request is malformed: {error}.") from None


_NO_CALLBACKS = object()
"""httptools calls the callbacks that its protocol object has. This one has none."""


def _line_error(text: str, end: int) -> HttpError:
    """Return the error for a request line that is not one of HTTP/1."""
    match = _OTHER_VERSION.fullmatch(text, 0, end)
    if not match:
        return _malformed_line(text)
    hint = (
        "This is HTTP/2 without TLS. " if match["method"] == "PRI" else ""
    )  # RFC 9113 section 3.4
    return HttpError(505, f"{hint}Only HTTP/1.0 and HTTP/1.1 are supported.")


def _malformed_line(text: str) -> HttpError:
    """Return the error for two spaces, no version, another protocol... (RFC 9112 section 3)."""
    details = (detail for prefix, detail in _OTHER_PROTOCOLS if text.startswith(prefix))
    return HttpError(400, next(details, "The request line is malformed."))


def _deciding_headers(text: str, minor: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    host_count = 0
    for name, value in _DECIDING_HEADERS.findall(text):
        key = name.lower()
        stripped = value.rstrip(" \t")
        host_count += key == "host"
        # RFC 9110 section 5.3: lines with one name form one list.
        headers[key] = f"{headers[key]}, {stripped}" if key in headers else stripped
    _check_host(headers, host_count, minor)
    return headers


def _check_host(headers: dict[str, str], host_count: int, minor: int) -> None:
    """Require one Host, valid or empty; HTTP/1.0 may omit it (RFC 9112 section 3.2)."""
    if host_count > 1:
        raise HttpError(400, "The request has more than one Host header.")
    if host_count == 0:
        if minor >= 1:
            raise HttpError(400, "The request has no Host header.")
    elif headers["host"] and not is_authority(headers["host"]):
        raise HttpError(400, "The Host header is malformed.")


def _content_length(headers: dict[str, str], minor: int) -> int | None:
    """Return the length of the body in bytes; None if it is chunked (RFC 9112 section 6.3)."""
    codings = headers.get("transfer-encoding")
    if codings is None:
        if "content-length" not in headers:
            return 0
        length = parse_decimal(headers["content-length"])
        if length is None:  # httptools rejects it; a body without a known end is never accepted
            raise HttpError(400, "The Content-Length header is malformed.")
        return length
    if minor == 0:  # RFC 9112 section 6.1: always faulty framing
        raise HttpError(400, "HTTP/1.0 has no Transfer-Encoding.")
    if codings.lower() != "chunked":
        raise HttpError(501, "The only supported transfer coding is chunked.")
    return None


def _expects_continue(headers: dict[str, str], minor: int) -> bool:
    """Tell whether the client expects 100 (Continue); not in HTTP/1.0 (RFC 9110 10.1.1)."""
    expectation = headers.get("expect")
    if expectation is None or minor == 0:
        return False
    if expectation.lower() != "100-continue":
        raise HttpError(417, "The only supported expectation is 100-continue.")
    return True
