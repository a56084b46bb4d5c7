"""One request head: validated by httptools, judged where httptools is silent or too strict.

httptools (llhttp, leniency off) refuses by itself bare CR and LF, obs-fold, NUL and controls, bad
names, Content-Length beside Transfer-Encoding or twice or malformed, and a Transfer-Encoding that
does not end in chunked. Every rule it leaves to us is in this module, with its clause.
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

_REQUEST_LINE = re.compile(
    r"(?P<method>[\w!#$%&'*+.^`|~-]+) (?P<target>[!-~\x80-\xff]+)"
    r" HTTP/(?P<major>\d)\.(?P<minor>\d)",
    re.ASCII,
)

_BEGINNING_OF_LINE = re.compile(
    rb"[\w!#$%&'*+.^`|~-]+(?: (?:[!-~\x80-\xff]+(?: [!-~]{0,8}\r?)?)?)?", re.ASCII
)

_SEVEN_BITS = bytes(range(128)) + b"x" * 128

_HEAD_END = b"\r\n\r\n"
_TRAILING_BLANKS = re.compile(rb"(?<=[^\r\n\t ])[\t ]+\r\n")

# One search through the validated head instead of a call into Python for each of its fields:
# 4.5 against 6.4 us for a browser's 13, validation included (docs/performance.md).
_DECIDING_HEADERS = re.compile(
    r"\r\n(?=[acehirt])(accept|accept-encoding|connection|content-length|expect|host"
    r"|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since"
    r"|range|transfer-encoding):[ \t]*([^\r]*)",
    re.IGNORECASE,
)


_MAX_LOGGED_LINE = 1_024  # octets of each line that is kept of a head which was refused
_MAX_METHOD = 32  # octets; IANA's registry of methods has none longer than 17

_CONNECTION_OPTION = re.compile(r"(?:^|,)[ \t]*(close|keep-alive)[ \t]*(?=,|\Z)", re.IGNORECASE)
"""Those that mean something here: 15,000 others took 5 ms to be told apart."""

_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_LOGGED_LINE = re.compile(rb"(?:referer|user-agent):", re.IGNORECASE)

_OTHER_PROTOCOLS = (
    # What comes first decides, so that how it arrives makes no difference: a stranger is known by
    # octets of which only the last can be one that no request begins with.
    ("\x16", "This is a TLS handshake on a plain HTTP port: https:// is not served here."),
    ("\x04", "This is SOCKS, version 4: no proxy is here."),
    ("\x05", "This is SOCKS, version 5: no proxy is here."),
    ("\0", "This is a binary protocol, such as the PROXY protocol's version 2, and no HTTP."),
    ("SSH-", "This is SSH on an HTTP port."),
    ("PROXY ", "This is the PROXY protocol, which is not spoken here."),
)
"""How others begin who have come to the wrong port, and what they are told."""


class ParsedHeaders(NamedTuple):
    """A judged header section. length: octets of content announced, None where in chunks."""

    headers: Mapping[str, str]
    length: int | None
    keep_alive: bool
    expects_continue: bool


def parse_head(octets: bytes) -> tuple[Request, ParsedHeaders]:
    """Return what a complete head, with its empty line, says; raises Refused."""
    text = octets.decode("latin-1")
    line_end = octets.index(b"\r\n")
    method, target, minor = _request_line(text, line_end)
    if target[0] == "/":
        # Of such a line httptools finds fault with nothing that _REQUEST_LINE lets pass.
        lines = octets[line_end:]
        section = (_cached_parse_headers if len(lines) <= _MAX_CACHED else _parse_headers)(
            lines, minor
        )
    else:
        _validate(octets)
        section = _parse_headers(octets[line_end:], minor)
    return Request(method, target, minor, section.headers, text), section


def _parse_headers(lines: bytes, minor: int) -> ParsedHeaders:
    """Judge a header section, from the end of the request line to the empty line."""
    _validate(b"GET / HTTP/1.%d" % minor + lines)
    fields = _deciding_headers(lines.decode("latin-1"), minor)
    options = {one.lower() for one in _CONNECTION_OPTION.findall(fields.get("connection", ""))}
    return ParsedHeaders(
        fields,
        _content_length(fields, minor),
        "close" not in options and (minor >= 1 or "keep-alive" in options),
        _expects_continue(fields, minor),
    )


# A client's requests differ in their first line and in little else. The judgement is of octets
# and of nothing besides, so it can be looked up.
_cached_parse_headers = lru_cache(maxsize=512)(_parse_headers)
_MAX_CACHED = 2_048  # octets


def check_beginning(octets: bytes) -> None:
    """Refuse the beginning of a head that no continuation can mend."""
    if b"\r\n" in octets:
        _request_line(octets.decode("latin-1"), octets.index(b"\r\n"))
        _validate(octets)
    elif not _BEGINNING_OF_LINE.fullmatch(octets):
        raise _malformed_line(octets.decode("latin-1"))


def check_size(octets: bytes, limits: Limits) -> None:
    """Refuse a head, or the beginning of one, that is too large (RFC 9110 15.5.15, 6585 5).

    What is wrong within the limit comes first: the answer must not depend on how the octets
    arrived, and piecemeal they would have been refused for that.
    """
    line_end = octets.find(b"\r\n")
    if line_end < 0:
        line_end = len(octets) - octets.endswith(b"\r")
    if line_end > limits.max_request_line:
        beginning = octets[: limits.max_request_line]
        check_beginning(beginning)
        if len(beginning.partition(b" ")[0]) > _MAX_METHOD:  # RFC 9112 section 3
            raise HttpError(501, "This method is not known here.")
        raise HttpError(414, "The request line is too long.")
    most_lines = limits.max_headers + 2  # with the request line and the empty one
    if len(octets) > limits.max_header_size or octets.count(b"\r\n") > most_lines:
        check_beginning(_first_lines(octets[: limits.max_header_size], most_lines + 1))
        raise HttpError(431, "The header section is too large.")


def _first_lines(octets: bytes, count: int) -> bytes:
    end = 0
    for _ in range(count):
        line_end = octets.find(b"\r\n", end)
        if line_end < 0:
            return octets
        end = line_end + 2
    return octets[:end]


def parse_request_line_leniently(octets: bytes) -> Request:
    """Return as much of a request as can be told from a head that was refused, for the log.

    Its head is what had arrived of the lines that are logged, and no longer than a log line is.
    """
    line, *lines = octets.lstrip(b"\r\n").partition(_HEAD_END)[0].split(b"\n")
    logged = [line, *(one for one in lines if _LOGGED_LINE.match(one))]
    head = b"\r\n".join(one[:_MAX_LOGGED_LINE].rstrip(b"\r") for one in logged).decode("latin-1")
    method, _, rest = head.partition("\r\n")[0].partition(" ")
    if not _TOKEN.fullmatch(method):
        return Request("", "", head=head)
    return Request(method, rest.rpartition(" ")[0] or rest, head=head)


def _validate(octets: bytes) -> None:
    """Let httptools read a head, or the beginning of one, whose request line is in order."""
    try:
        _feed(octets)
    except httptools.HttpParserError:
        # HTTP/1.2 is read as HTTP/1.1 (RFC 9110 section 2.5), any token is a method (9.1), a target
        # of octets that no URI has is sent back encoded (9112 section 3.2), and a tab may stand
        # behind a value (9112 section 5). httptools stops at each of them, so it judges the rest
        # without them.
        line, _, rest = octets.partition(b"\r\n")
        target = line.split(b" ")[1].translate(_SEVEN_BITS)
        rest = _TRAILING_BLANKS.sub(b"\r\n", rest)
        _feed_or_refuse(b"POST %b HTTP/1.1\r\n" % target + rest)


def _feed(octets: bytes) -> None:
    # HttpParserUpgrade: CONNECT, or an Upgrade offer that we do not take; the head is complete.
    with suppress(httptools.HttpParserUpgrade):
        httptools.HttpRequestParser(_NO_CALLBACKS).feed_data(octets)


def _feed_or_refuse(octets: bytes) -> None:
    try:
        _feed(octets)
    except httptools.HttpParserError as error:
        raise HttpError(400, f"The request is malformed: {error}.") from None


_NO_CALLBACKS = object()
"""httptools calls those handlers that its protocol has. Ours has none: no call into Python."""


def _request_line(text: str, end: int) -> tuple[str, str, int]:
    found = _REQUEST_LINE.fullmatch(text, 0, end)
    if not found:
        raise _malformed_line(text)
    method, target, major, minor = found.groups()
    if major != "1":
        what = "This is HTTP/2 without TLS. " if method == "PRI" else ""  # RFC 9113 section 3.4
        raise HttpError(505, f"{what}Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    return method, target, 0 if minor == "0" else 1


def _malformed_line(text: str) -> HttpError:
    """RFC 9112 section 3: two spaces, no version, another protocol's name, and so on."""
    told = (why for beginning, why in _OTHER_PROTOCOLS if text.startswith(beginning))
    return HttpError(400, next(told, "The request line is malformed."))


def _deciding_headers(text: str, minor: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    hosts = 0
    for name, value in _DECIDING_HEADERS.findall(text):
        key = name.lower()
        stripped = value.rstrip(" \t")
        hosts += key == "host"
        # RFC 9110 section 5.3: lines of one name are one list.
        fields[key] = f"{fields[key]}, {stripped}" if key in fields else stripped
    _check_host(fields, hosts, minor)
    return fields


def _check_host(fields: dict[str, str], hosts: int, minor: int) -> None:
    """RFC 9112 section 3.2: one Host, valid or empty; HTTP/1.0 may do without."""
    if hosts > 1:
        raise HttpError(400, "The request has more than one Host field.")
    if hosts == 0:
        if minor >= 1:
            raise HttpError(400, "The request has no Host field.")
    elif fields["host"] and not is_authority(fields["host"]):
        raise HttpError(400, "The Host field is malformed.")


def _content_length(fields: dict[str, str], minor: int) -> int | None:
    """Return the announced octets of content; None for chunked (RFC 9112 section 6.3)."""
    codings = fields.get("transfer-encoding")
    if codings is None:
        if "content-length" not in fields:
            return 0
        length = parse_decimal(fields["content-length"])
        if length is None:  # httptools has seen to it; a message that ends nowhere is no request
            raise HttpError(400, "The Content-Length field is malformed.")
        return length
    if minor == 0:  # RFC 9112 section 6.1: its framing is faulty whatever it says
        raise HttpError(400, "HTTP/1.0 has no Transfer-Encoding.")
    if codings.lower() != "chunked":
        raise HttpError(501, "The only transfer coding known here is chunked.")
    return None


def _expects_continue(fields: dict[str, str], minor: int) -> bool:
    """RFC 9110 section 10.1.1: one expectation exists, and HTTP/1.0 does not have it."""
    expectation = fields.get("expect")
    if expectation is None or minor == 0:
        return False
    if expectation.lower() != "100-continue":
        raise HttpError(417, "The only expectation that can be met here is 100-continue.")
    return True
