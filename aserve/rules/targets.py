"""Where rules lead to: which targets are safe, and what one becomes for a request."""

import re
from collections.abc import Mapping
from urllib.parse import quote

from aserve.http.host_names import normal_host
from aserve.http.request_target import is_authority
from aserve.rules.patterns import canonical_path
from aserve.rules.problems import RuleError

_URL = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
PLAIN_TARGET = r"/(?:[\w.~:-][\w.~:/-]*)?"
"""What most targets match, all of which are in the form in which they are sent (ASCII)."""

_PLAIN = re.compile(PLAIN_TARGET, re.ASCII)
_RESERVED = "/:?#[]@!$&'()*+,;=%"  # what quote() leaves as it is: the rest is no part of a URL


def is_url(text: str) -> bool:
    """Tell whether a text is an http URL with a host, and not a path."""
    return text.startswith(("http://", "https://"))


def checked_target(text: str) -> str:
    """Return a target in the form in which it is sent. Raises RuleError.

    The host is fixed: a link to this site could lead anywhere if its path chose the host. Neither
    can it hide in a path, as "//host" would.
    """
    if _PLAIN.fullmatch(text):  # most are, in a long file
        return text
    target = quote(text, safe=_RESERVED)
    if target.startswith("//"):
        raise RuleError(f"{text} leads to another host: write https:{text}")
    if match := _URL.fullmatch(target):
        scheme, authority, rest = match.groups()
        if not is_authority(authority):
            raise RuleError(f"{authority or text} is not the name of a host")
        return f"{scheme.lower()}://{authority}{rest if rest.startswith('/') else '/' + rest}"
    return target


def expand(target: str, values: Mapping[str, str]) -> str:
    """Return a target with what its placeholders stand for; those without a value stay.

    values: canonical, so that none of them ends a path or begins a line. In a query and a fragment,
    the characters that separate parameters are escaped, too.
    """
    path, mark, rest = _split_path(target)
    path = substitute(path, values)
    if path.startswith("//"):  # "/:splat", of "/old*" and the path /old/host
        path = "/" + path.lstrip("/")
    return path + mark + substitute(rest, values, escaped="&=+;")


def substitute(text: str, values: Mapping[str, str], *, escaped: str = "") -> str:
    """Return a text with what its placeholders stand for.

    values: canonical. escaped: characters that are escaped in them besides.
    """
    if not values or ":" not in text:
        return text
    names = sorted(values, key=len, reverse=True)  # of :id and :id2, the second is not the first
    placeholder = re.compile(":(" + "|".join(map(re.escape, names)) + ")")
    table = {ord(character): f"%{ord(character):02X}" for character in escaped}
    return placeholder.sub(lambda match: values[match[1]].translate(table), text)


def _split_path(target: str) -> tuple[str, str, str]:
    """Return the path, the character that ends it, and what follows."""
    end = next((at for at, character in enumerate(target) if character in "?#"), len(target))
    return target[:end], target[end : end + 1], target[end + 1 :]


def with_query(target: str, query: str) -> str:
    """Return a target with the query of a request, unless it has one of its own.

    query: with its "?", or "".
    """
    before, mark, fragment = target.partition("#")
    return target if "?" in before else before + query + mark + fragment


def is_same_address(location: str, host: str, target: str, *, optional_slash: bool) -> bool:
    """Tell whether a redirect would lead to the address that was asked for.

    Its scheme does not count: behind a proxy that ends TLS, a redirect from http to https would
    never end. host, target: of the request; both are in their normal forms. optional_slash: whether
    a slash at the end of the path does not count either.
    """
    location = location.partition("#")[0]
    if match := _URL.fullmatch(location):
        if normal_host(match[2]) != host:
            return False
        location = match[3]
    return _comparable(location, optional_slash) == _comparable(target, optional_slash)


def _comparable(target: str, optional_slash: bool) -> tuple[str, str]:
    """Return the path and the query of a target in one form."""
    path, _, query = target.partition("?")
    path = canonical_path(path)
    return path.rstrip("/") if optional_slash else path, query
