"""Byte streams: valid requests, almost valid ones, and known request-smuggling shapes."""

from collections.abc import Sequence
from random import Random

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
"""What an attacker hides: it must be parsed as a request only if the RFC says it is one."""


def _post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST /p HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + body


def _get(headers: bytes) -> bytes:
    return b"GET /a HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"


_CHUNKED = b"Transfer-Encoding: chunked\r\n"

SHAPES: dict[str, bytes] = {
    "plain": _get(b""),
    "content-length": _post(b"Content-Length: 5\r\n", b"GET /"),
    "empty body": _post(b"Content-Length: 0\r\n"),
    "chunked": _post(_CHUNKED, b"5\r\nGET /\r\n0\r\n\r\n"),
    "chunked, extensions, trailers": _post(_CHUNKED, b'3;a=b;c="d"\r\nabc\r\n0;e\r\nT: u\r\n\r\n'),
    "chunk extension with blanks": _post(_CHUNKED, b"3 ; a = b\r\nabc\r\n0\r\n\r\n"),
    "CL.TE": _post(b"Content-Length: 40\r\n" + _CHUNKED, b"0\r\n\r\n"),
    "TE.CL": _post(_CHUNKED + b"Content-Length: 4\r\n", b"24\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
    "TE.TE": _post(_CHUNKED + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "TE unknown": _post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "TE not last": _post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"),
    "TE gzip": _post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "TE twice": _post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "TE upper case": _post(b"TRANSFER-ENCODING: CHUNKED\r\n", b"0\r\n\r\n"),
    "TE with a blank before the colon": _post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "TE after a tab": _post(b"Transfer-Encoding:\tchunked\r\n", b"0\r\n\r\n"),
    "TE with vertical tab": _post(b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
    "TE folded": _post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "TE hidden by a bare LF": _post(b"X: y\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "TE hidden by a bare CR": _post(b"X: y\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "TE in HTTP/1.0": b"POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CL twice, equal": _post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"GET /"),
    "CL twice, unequal": _post(b"Content-Length: 0\r\nContent-Length: 36\r\n"),
    "CL list": _post(b"Content-Length: 5, 5\r\n", b"GET /"),
    "CL signed": _post(b"Content-Length: +5\r\n", b"GET /"),
    "CL negative": _post(b"Content-Length: -1\r\n"),
    "CL hexadecimal": _post(b"Content-Length: 0x5\r\n", b"GET /"),
    "CL underscored": _post(b"Content-Length: 3_6\r\n"),
    "CL empty": _post(b"Content-Length:\r\n"),
    "CL overflowing": _post(b"Content-Length: 18446744073709551617\r\n", b"G"),
    "CL with a blank inside": _post(b"Content-Length: 3 6\r\n"),
    "CL with leading zeros": _post(b"Content-Length: 0005\r\n", b"GET /"),
    "CL folded": _post(b"Content-Length:\r\n 36\r\n"),
    "CL in other digits": _post(b"Content-Length: \xd9\xa5\r\n", b"GET /"),
    "GET with a body": _get(b"Content-Length: 5\r\n") + b"GET /",
    "chunk size 0x": _post(_CHUNKED, b"0x5\r\nGET /\r\n0\r\n\r\n"),
    "chunk size signed": _post(_CHUNKED, b"+5\r\nGET /\r\n0\r\n\r\n"),
    "chunk size underscored": _post(_CHUNKED, b"0_5\r\nGET /\r\n0\r\n\r\n"),
    "chunk size empty": _post(_CHUNKED, b"\r\n\r\n"),
    "chunk size with leading zeros": _post(_CHUNKED, b"0000005\r\nGET /\r\n000\r\n\r\n"),
    "chunk size overflowing": _post(_CHUNKED, b"10000000000000005\r\nGET /\r\n0\r\n\r\n"),
    "chunk too short": _post(_CHUNKED, b"4\r\nGET /\r\n0\r\n\r\n"),
    "chunk too long": _post(_CHUNKED, b"6\r\nGET /\r\n0\r\n\r\n"),
    "chunk line ends in LF": _post(_CHUNKED, b"5\nGET /\r\n0\r\n\r\n"),
    "chunk data ends in LF": _post(_CHUNKED, b"5\r\nGET /\n0\r\n\r\n"),
    "last chunk ends in LF": _post(_CHUNKED, b"5\r\nGET /\r\n0\n\n"),
    "chunk extension with LF": _post(_CHUNKED, b"5;a\nb\r\nGET /\r\n0\r\n\r\n"),
    "chunk extension with CR": _post(_CHUNKED, b"5;a\rb\r\nGET /\r\n0\r\n\r\n"),
    "chunk extension without a name": _post(_CHUNKED, b"5;\r\nGET /\r\n0\r\n\r\n"),
    "trailer that frames": _post(_CHUNKED, b"0\r\nContent-Length: 36\r\n\r\n"),
    "trailer with LF": _post(_CHUNKED, b"0\r\nT: u\n\r\n"),
    "trailer folded": _post(_CHUNKED, b"0\r\nT: u\r\n v\r\n\r\n"),
    "empty lines first": b"\r\n\r\n" + _get(b""),
    "bare LF first": b"\n" + _get(b""),
    "bare CR first": b"\r" + _get(b""),
    "blank first": b" " + _get(b""),
    "line ends in LF": b"GET /a HTTP/1.1\nHost: x\r\n\r\n",
    "head ends in LF": b"GET /a HTTP/1.1\r\nHost: x\n\n",
    "head ends in LF once": b"GET /a HTTP/1.1\r\nHost: x\r\n\n",
    "two blanks": b"GET  /a HTTP/1.1\r\nHost: x\r\n\r\n",
    "tab for a blank": b"GET\t/a\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /a\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /a HTTP/0.9\r\n\r\n",
    "HTTP/1.0": b"GET /a HTTP/1.0\r\n\r\n",
    "HTTP/1.0 keep-alive": b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/1.2": b"GET /a HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/1.10": b"GET /a HTTP/1.10\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"GET /a HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case version": b"GET /a http/1.1\r\nHost: x\r\n\r\n",
    "lower-case method": b"get /a HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute-form": b"GET http://x/a HTTP/1.1\r\nHost: y\r\n\r\n",
    "asterisk-form": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "authority-form": b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
    "CONNECT with a body": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /",
    "Upgrade": _get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    "Upgrade with a body": _post(
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", b"GET /"
    ),
    "no Host": b"GET /a HTTP/1.1\r\n\r\n",
    "two Hosts": _get(b"Host: y\r\n"),
    "Host with a blank": b"GET /a HTTP/1.1\r\nHost: x y\r\n\r\n",
    "Host folded": b"GET /a HTTP/1.1\r\nHost:\r\n x\r\n\r\n",
    "close": _get(b"Connection: close\r\n"),
    "close among others": _get(b"Connection: keep-alive, CLOSE\r\n"),
    "close twice": _get(b"Connection: keep-alive\r\nConnection: close\r\n"),
    "Proxy-Connection": _get(b"Proxy-Connection: close\r\n"),
    "expect 100-continue": _post(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"GET /"),
    "expect 100-continue without a body": _get(b"Expect: 100-continue\r\n"),
    "NUL": _get(b"X: a\x00b\r\n"),
    "control": _get(b"X: a\x01b\r\n"),
    "8 bit": _get(b"X: a\xffb\r\n"),
    "8-bit name": _get(b"X\xff: a\r\n"),
    "no colon": _get(b"X\r\n"),
    "no name": _get(b": x\r\n"),
    "folded": _get(b"X: a\r\n b\r\n"),
    "folded at once": b"GET /a HTTP/1.1\r\n Host: x\r\n\r\n",
    "conditional": _get(b'If-None-Match: "x", W/"y"\r\nIf-Modified-Since: now\r\n'),
    "ranges": _get(b"Range: bytes=0-1,-1,2-\r\nIf-Range: x\r\n"),
    "codings": _get(b"Accept-Encoding: br;q=0.5, *;q=0, gzip\r\n"),
    "8-bit target": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "escapes": b"GET /%2e%2e/%00?%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "nothing": b"",
}
"""Each is one message, or could be mistaken for one."""

_FRAGMENTS = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x0b", b"\x00", b"\x7f", b"\xff", b","),
    *(b":", b";", b"=", b'"', b"\\", b"/", b"%", b"*", b"+", b"-", b"_", b"0", b"1", b"9", b"a"),
    *(b"chunked", b"identity", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Host: x\r\n", b"Connection: close\r\n", b"HTTP/1.1", b"HTTP/1.0", b"0\r\n\r\n", b"bytes="),
    *(b"100-continue", b"65536", b"18446744073709551616", b"ffffffffffffffff", SMUGGLED),
)


def mutate(data: bytes, random: Random, fragments: Sequence[bytes] = _FRAGMENTS) -> bytes:
    """Return data after a few small random changes."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        start = random.randint(0, len(data))
        stop = min(len(data), start + random.choice((0, 0, 1, 1, 2, 8, 40)))
        new = random.choice(
            (b"", random.choice(fragments), random.randbytes(1), data[start:stop] * 2)
        )
        data = data[:start] + new + data[stop:]
    return data


def random_stream(random: Random) -> bytes:
    """Return a few messages in a row, most of the time mutated."""
    data = b"".join(random.choices(list(SHAPES.values()), k=random.randint(1, 3))) + SMUGGLED
    return mutate(data, random) if random.random() < 0.7 else data


def split(data: bytes, random: Random) -> list[bytes]:
    """Split data into reads of random sizes."""
    reads = []
    while data:
        size = random.choice((1, 1, 2, 3, 16, 64, 1_000))
        reads.append(data[:size])
        data = data[size:]
    return reads
