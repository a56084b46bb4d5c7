"""The cookies of one user of one server (RFC 6265 section 5)."""

import ipaddress
import math
import re
from datetime import UTC, datetime
from typing import NamedTuple

# Section 6.1: the least that a user agent should provide for a domain; more would be a leak here.
MAX_COOKIES = 50
MAX_SIZE = 4_096  # bytes of a cookie's name and value

_SET_COOKIE = re.compile(rb"\r?\nset-cookie:([^\r\n]*)", re.IGNORECASE)
_OWN_COOKIE = re.compile(rb"\r\ncookie:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_AGE = re.compile(rb"-?[0-9]{1,18}")
# Section 5.1.1.
_DATE_TOKEN = re.compile(r"[^\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE_PARTS = (
    ("time", re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\D|$)", re.ASCII)),
    ("day", re.compile(r"(\d{1,2})(?:\D|$)", re.ASCII)),
    ("month", re.compile("|".join(_MONTHS).join("()"), re.IGNORECASE)),
    ("year", re.compile(r"(\d{2,4})(?:\D|$)", re.ASCII)),
)


class _Cookie(NamedTuple):
    value: bytes
    path: bytes
    expires_s: float
    is_secure: bool


_Key = tuple[bytes, bytes, bytes]
"""Name, domain and path: a cookie with the same ones is replaced (section 5.3, step 11)."""


class CookieJar:
    """The cookies that a server has set, for requests to that server alone.

    No list of public suffixes is known: a server may set a cookie for its own whole suffix. That
    changes nothing as long as there are no other servers. Times are POSIX times in seconds.
    """

    def __init__(self, host: str, *, is_secure: bool) -> None:
        self._host = host.lower().encode()
        self._has_domain = not _is_address(host)
        self._is_secure = is_secure
        self._cookies: dict[_Key, _Cookie] = {}  # in the order of their creation

    def __len__(self) -> int:
        return len(self._cookies)

    def store(self, head: bytes, resource: bytes, now_s: float) -> None:
        """Take what a response to a request for `resource` sets; `head` is its head."""
        for found in _SET_COOKIE.findall(head):
            self._store_one(found, resource, now_s)

    def _store_one(self, text: bytes, resource: bytes, now_s: float) -> None:
        """Apply sections 5.2 and 5.3 to one Set-Cookie header."""
        pair, *attributes = text.split(b";")
        name, equals, value = (part.strip(b" \t") for part in pair.partition(b"="))
        if not equals or not name or len(name) + len(value) > MAX_SIZE or _CONTROL.search(pair):
            return
        found = dict(_attribute(one) for one in attributes)  # of several, the last counts
        domain = found.get(b"domain", b"").removeprefix(b".").lower()
        if domain and not self._is_within(domain):
            return
        path = found.get(b"path", b"")
        if not path.startswith(b"/"):
            path = _default_path(resource)
        expires_s = _expiry(found, now_s)
        key = name, domain or self._host, path
        if expires_s <= now_s:
            self._cookies.pop(key, None)
            return
        self._cookies[key] = _Cookie(value, path, expires_s, b"secure" in found)
        self._evict(now_s)

    def _is_within(self, domain: bytes) -> bool:
        """Whether the host domain-matches `domain` (section 5.1.3)."""
        return self._host == domain or (self._has_domain and self._host.endswith(b"." + domain))

    def _evict(self, now_s: float) -> None:
        """Remove what is too much: first what has expired, then the oldest (section 5.3)."""
        if len(self._cookies) <= MAX_COOKIES:
            return
        self._cookies = {key: one for key, one in self._cookies.items() if one.expires_s > now_s}
        while len(self._cookies) > MAX_COOKIES:
            del self._cookies[next(iter(self._cookies))]

    def pairs(self, resource: bytes, now_s: float) -> list[tuple[bytes, bytes]]:
        """Return names and values for a request, in the order of section 5.4, step 2."""
        path = resource.partition(b"?")[0]
        found = [
            (name, cookie)
            for (name, _, _), cookie in self._cookies.items()
            if cookie.expires_s > now_s
            and (self._is_secure or not cookie.is_secure)
            and _is_path_within(path, cookie.path)
        ]
        found.sort(key=lambda each: -len(each[1].path))  # stable: then the earlier ones first
        return [(name, cookie.value) for name, cookie in found]

    def add_to(self, request: bytes, resource: bytes, now_s: float) -> bytes:
        """Return a request with the cookies, in its one Cookie header (section 5.4).

        A cookie of the user's own is replaced by one of the same name.
        """
        pairs = self.pairs(resource, now_s)
        if not pairs:
            return request
        head, blank, rest = request.partition(b"\r\n\r\n")
        own = _OWN_COOKIE.search(head)
        names = {name for name, _ in pairs}
        kept = [
            pair
            for pair in (own[1].split(b"; ") if own else ())
            if pair.partition(b"=")[0] not in names
        ]
        without = head[: own.start()] + head[own.end() :] if own else head
        cookies = b"; ".join((*kept, *(b"%s=%s" % pair for pair in pairs)))
        return without + b"\r\nCookie: " + cookies + blank + rest


def _attribute(text: bytes) -> tuple[bytes, bytes]:
    name, _, value = text.partition(b"=")
    return name.strip(b" \t").lower(), value.strip(b" \t")


def _expiry(attributes: dict[bytes, bytes], now_s: float) -> float:
    """Return when a cookie expires: Max-Age counts more than Expires (section 5.3, step 3)."""
    max_age = attributes.get(b"max-age", b"")
    if _MAX_AGE.fullmatch(max_age):
        return now_s + int(max_age)
    date = parse_date(attributes.get(b"expires", b"").decode("latin-1"))
    return math.inf if date is None else date


def parse_date(text: str) -> float | None:
    """Return a date in any of the forms that section 5.1.1 accepts; None if it is none."""
    found: dict[str, re.Match[str]] = {}
    for token in _DATE_TOKEN.findall(text):
        matches = ((name, form.match(token)) for name, form in _DATE_PARTS if name not in found)
        found |= next(({name: match} for name, match in matches if match), {})
    if len(found) < len(_DATE_PARTS):
        return None
    year, month = int(found["year"][1]), _MONTHS.index(found["month"][1].lower()) + 1
    if year < 100:
        year += 1900 if year >= 70 else 2000
    hour, minute, second = map(int, found["time"].groups())
    try:
        date = datetime(year, month, int(found["day"][1]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return date.timestamp() if year > 1600 else None


def _default_path(resource: bytes) -> bytes:
    """Return the path up to its last slash (section 5.1.4)."""
    return resource.partition(b"?")[0].rpartition(b"/")[0] or b"/"


def _is_path_within(path: bytes, of_cookie: bytes) -> bool:
    """Whether a path path-matches that of a cookie (section 5.1.4)."""
    if not path.startswith(of_cookie):
        return False
    return len(path) == len(of_cookie) or of_cookie.endswith(b"/") or path[len(of_cookie)] == 0x2F


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
