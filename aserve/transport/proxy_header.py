"""The header of the PROXY protocol, by which a proxy says who its client is, in both versions.

Without I/O. Sections are those of proxy-protocol.txt, by which HAProxy defines the protocol.
"""

import re
from collections.abc import Callable, Mapping
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NamedTuple

_LINE_START = b"PROXY "
_LINE_END = b"\r\n"
_MAX_LINE_SIZE = 107  # bytes, with its end (section 2.1)
_PORT = "(?:0|[1-9][0-9]{0,4})"
_LINE = re.compile(rf"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ({_PORT}) ({_PORT})")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)
_LINE_FAMILIES = {"4": AF_INET, "6": AF_INET6}
_INVALID_LINE = "an invalid PROXY line"
_MAX_PORT = 65_535

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED_SIZE = 16  # bytes: the signature, version and command, the family, a length (section 2.2)
_VERSION = 2
_LOCAL, _PROXY = 0, 1
# Of the addresses and all that may follow them, such as the name in a client's certificate: the
# format permits 65,535 bytes, which no proxy has a use for.
_MAX_LENGTH = 4_096

MAX_HEADER_SIZE = _FIXED_SIZE + _MAX_LENGTH
"""Bytes of the longest header that is accepted."""


class ProxyHeaderError(ValueError):
    """What a connection begins with is no header of the PROXY protocol."""


class ProxyHeader(NamedTuple):
    """A header.

    client: the client's address, "-" for one on a Unix socket, "" where the proxy names none: it
    speaks for itself, as in a health check, or does not know. size: bytes of the header.
    """

    client: str
    size: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Return the header that data begins with, None if it is not complete yet.

    Raises ProxyHeaderError, as soon as it is certain that data begins with none.
    """
    if _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        return _parse_binary(data)
    if _LINE_START.startswith(data[: len(_LINE_START)]):
        return _parse_line(data)
    raise ProxyHeaderError("no PROXY header")


def _parse_line(data: bytes) -> ProxyHeader | None:
    """Return a header of version 1, which is a line (section 2.1)."""
    end = data.find(_LINE_END, 0, _MAX_LINE_SIZE)
    if end < 0:
        if len(data) >= _MAX_LINE_SIZE:
            raise ProxyHeaderError(f"a PROXY line of more than {_MAX_LINE_SIZE} bytes")
        return None
    line = data[:end]
    client = "" if _UNKNOWN.fullmatch(line) else _client_in_line(line)
    return ProxyHeader(client, end + len(_LINE_END))


def _client_in_line(line: bytes) -> str:
    match = _LINE.fullmatch(line.decode("latin-1"))
    if not match or max(int(match[4]), int(match[5])) > _MAX_PORT:
        raise ProxyHeaderError(_INVALID_LINE)
    family = _LINE_FAMILIES[match[1]]
    try:
        client, _ = inet_pton(family, match[2]), inet_pton(family, match[3])
    except OSError:  # it is no address; leading zeros and scopes are refused as well
        raise ProxyHeaderError(_INVALID_LINE) from None
    return _text(family, client)


def _parse_binary(data: bytes) -> ProxyHeader | None:
    """Return a header of version 2 (section 2.2).

    What follows the addresses (TLVs) is skipped: nothing in it says who the client is.
    """
    if len(data) < _FIXED_SIZE:
        return None
    version, command = divmod(data[12], 16)
    family, length = data[13], int.from_bytes(data[14:_FIXED_SIZE])
    if version != _VERSION or command not in {_LOCAL, _PROXY}:
        raise ProxyHeaderError(f"a PROXY header with version {version} and command {command}")
    if length > _MAX_LENGTH:
        raise ProxyHeaderError(f"a PROXY header of more than {MAX_HEADER_SIZE} bytes")
    size = _FIXED_SIZE + length
    if command == _LOCAL:  # "the family ... is ignored"
        return ProxyHeader("", size) if len(data) >= size else None
    kind = _FAMILIES.get(family)
    if kind is None:
        raise ProxyHeaderError(f"a PROXY header of the unknown family {family:#04x}")
    if length < kind.size:
        raise ProxyHeaderError("a PROXY header that is too short for its addresses")
    return ProxyHeader(kind.client(data[_FIXED_SIZE:size]), size) if len(data) >= size else None


def _text(family: int, packed: bytes) -> str:
    """Return an address as text: ::ffff:192.0.2.1 is the one of IPv4."""
    text = inet_ntop(family, packed)
    return text.removeprefix("::ffff:") if "." in text else text


class _Family(NamedTuple):
    """A family of addresses.

    size: bytes of two addresses with their ports. client: returns the first one, as text.
    """

    size: int
    client: Callable[[bytes], str]


_IPV4 = _Family(12, lambda data: _text(AF_INET, data[:4]))
_IPV6 = _Family(36, lambda data: _text(AF_INET6, data[:16]))
_UNIX = _Family(216, lambda _: "-")

# By the byte of section 2.2; all others must be rejected. Datagrams are those of QUIC, for which a
# proxy opens connections.
_FAMILIES: Mapping[int, _Family] = {
    0x00: _Family(0, lambda _: ""),
    0x11: _IPV4,
    0x12: _IPV4,
    0x21: _IPV6,
    0x22: _IPV6,
    0x31: _UNIX,
    0x32: _UNIX,
}
