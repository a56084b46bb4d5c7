"""What proxies say of a request that they pass on: Forwarded (RFC 7239) and X-Forwarded-*.

Each proxy adds its part at the end, and what comes first may be the invention of a client. So a
value is read from its end, up to what is malformed. Whom to believe is not decided here.
"""

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from aserve.http.request_target import is_authority

MAX_VALUE = 4_096
"""Characters at the end of a value that are read, of any number of them."""

_MAX_ADDRESS = 45  # characters: of an IPv6 address that ends in one of IPv4 (RFC 4291 section 2.2)
_SCHEMES = frozenset({"http", "https"})

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_PARAMETER = re.compile(rf"(?P<name>{_NAME})=(?P<value>{_NAME}|{_QUOTED})")
_SKIPPED = re.compile(r"[ \t]*+")
# RFC 7239 section 4, and whitespace around semicolons, which some proxies send. Possessive, so that
# no text takes more than linear time.
_ELEMENT = re.compile(
    rf"(?P<parameters>(?:{_NAME}=(?:{_NAME}|{_QUOTED}))?+"
    rf"(?:[ \t]*+;[ \t]*+(?:{_NAME}=(?:{_NAME}|{_QUOTED}))?+)*+)[ \t]*+(?:,|\Z)"
)
_QUOTED_PAIR = re.compile(r"\\(.)")
_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_V6 = "[0-9A-Fa-f]*:[0-9A-Fa-f:.]*"  # and no IPv4 in brackets
_NODE = re.compile(rf"(?:(?P<v4>[0-9.]+)|\[(?P<v6>{_V6})\]){_PORT}")  # section 6
_NO_ADDRESS = re.compile(rf"(?:[Uu][Nn][Kk][Nn][Oo][Ww][Nn]|_[A-Za-z0-9._-]+){_PORT}")
_ADDRESS = re.compile(
    rf"(?P<v4>[0-9.]+)(?::[0-9]{{1,5}})?|(?P<v6>{_V6})|\[(?P<bracketed>{_V6})\](?::[0-9]{{1,5}})?"
)


class Hop(NamedTuple):
    """What one proxy says of a request that it has got.

    client: the address that has sent it, "" if that is not told. scheme, host: those of the URL
    that was asked for, "http" or "https" and a host in lower case, with its port if there is one;
    "" for what is not told.
    """

    client: str = ""
    scheme: str = ""
    host: str = ""


NOTHING_SAID = Hop()


def forwarded_hops(value: str) -> list[Hop]:
    """Return what proxies say in a value of Forwarded, the last one first.

    An element that is malformed, and all before it, are left out. No text hides what comes after
    it: neither a quotation mark that is never closed nor a comma inside a quoted string. An element
    of a quoted string would end with its quotation mark, and so be malformed.
    """
    hops: list[Hop] = []
    text, position = value[-MAX_VALUE:], 0
    if len(value) > MAX_VALUE:  # the beginning is a part of an element
        position = text.find(",") + 1 or len(text)
    while position < len(text):
        position = _skip_whitespace(text, position)
        match = _ELEMENT.match(text, position)
        if not match:
            hops.clear()
            position = text.find(",", position) + 1 or len(text)
        elif match["parameters"]:
            if hop := _hop_of(match["parameters"]):
                hops.append(hop)
            else:
                hops.clear()
            position = match.end()
        else:  # an empty element (RFC 9110 section 5.6.1.2)
            position = match.end()
    hops.reverse()
    return hops


def forwarded_for_hops(value: str) -> list[Hop]:
    """Return what proxies say in a value of X-Forwarded-For, the last one first.

    What is before an element that is no address is left out. Some proxies add ports.
    """
    elements = value[-MAX_VALUE:].split(",")
    if len(value) > MAX_VALUE:
        del elements[0]  # it is cut: perhaps another address
    hops: list[Hop] = []
    for element in reversed(elements):
        text = element.strip(" \t")
        if not text:
            continue
        match = _ADDRESS.fullmatch(text)
        address = match and normal_address(match["v4"] or match["v6"] or match["bracketed"])
        if not address:
            break
        hops.append(Hop(address))
    return hops


def last_scheme(value: str) -> str:
    """Return the last scheme in a value of X-Forwarded-Proto, "" if it is none."""
    return _scheme(_last(value))


def last_host(value: str) -> str:
    """Return the last host in a value of X-Forwarded-Host, with its port, "" if it is none."""
    return _host(_last(value))


@lru_cache(maxsize=4_096)
def normal_address(text: str) -> str:
    """Return an IP address in its normal form, that of IPv4 in IPv6 as IPv4; "" for none."""
    if len(text) > _MAX_ADDRESS:
        return ""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _skip_whitespace(text: str, position: int) -> int:
    match = _SKIPPED.match(text, position)
    return match.end() if match else position


def _hop_of(parameters: str) -> Hop | None:
    """Return what the parameters of an element say; None if one is there twice or no node."""
    said: dict[str, str] = {}
    for match in _PARAMETER.finditer(parameters):
        name = match["name"].lower()
        if name in said:  # RFC 7239 section 4
            return None
        said[name] = _unquoted(match["value"])
    client = _node(said["for"]) if "for" in said else ""
    if client is None:
        return None
    return Hop(client, _scheme(said.get("proto", "")), _host(said.get("host", "")))


def _unquoted(value: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", value[1:-1]) if value[0] == '"' else value


def _node(text: str) -> str | None:
    """Return the address of a node, "" if it is not told, None for what is no node."""
    if _NO_ADDRESS.fullmatch(text):
        return ""
    match = _NODE.fullmatch(text)
    return normal_address(match["v4"] or match["v6"]) or None if match else None


def _last(value: str) -> str:
    return value[-MAX_VALUE:].rpartition(",")[2].strip(" \t")


def _scheme(text: str) -> str:
    scheme = text.lower()
    return scheme if scheme in _SCHEMES else ""


def _host(text: str) -> str:
    return text.lower() if is_authority(text) else ""
