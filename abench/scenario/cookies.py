"""The cookies of one user (RFC 6265), who has one server: no other host gets any."""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import NamedTuple

_MAX_COOKIES = 50  # RFC 6265 section 6.1


class Cookie(NamedTuple):
    """A cookie; `expires_at` is in seconds since 1970, None until the user has gone."""

    value: str
    path: str
    is_secure: bool
    expires_at: float | None


class CookieJar:
    """The cookies that the server at `host` has set for one user.

    `now` returns the time in seconds since 1970. Cookies of other domains are ignored.
    """

    def __init__(
        self, host: str, *, secure: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        self._host = host.lower()
        self._secure = secure
        self._now = now
        self._cookies: dict[tuple[str, str], Cookie] = {}  # by name and path

    def __len__(self) -> int:
        return len(self._cookies)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def get(self, name: str) -> str | None:
        """Return the value of the cookie with the longest path; None without one."""
        found = [one for (other, _), one in self._valid().items() if other == name]
        return max(found, key=lambda one: len(one.path)).value if found else None

    def set(self, name: str, value: str, path: str = "/") -> None:
        """Set a cookie, as the server could have."""
        self._store(name, Cookie(value, path, is_secure=False, expires_at=None))

    def clear(self) -> None:
        """Forget all cookies: the next request is that of a new visitor."""
        self._cookies.clear()

    def store(self, set_cookie: str, request_path: str) -> None:
        """Store the cookie of a Set-Cookie header (RFC 6265 sections 5.2 and 5.3)."""
        pair, *attributes = set_cookie.split(";")
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals):
            return
        given: dict[str, str] = {}
        for attribute in attributes:
            key, _, text = attribute.partition("=")
            given[key.strip().lower()] = text.strip()
        if not self._is_own(given.get("domain", "").lstrip(".").lower()):
            return
        is_secure = "secure" in given
        if is_secure and not self._secure:  # RFC 6265bis section 5.7: only https may set it
            return
        path = given.get("path", "")
        if not path.startswith("/"):
            path = default_path(request_path)
        self._store(name, Cookie(value, path, is_secure, self._expires_at(given)))

    def header(self, request_path: str) -> str:
        """Return the Cookie header of a request, "" without a cookie (RFC 6265 section 5.4)."""
        if not self._cookies:
            return ""
        found = [
            (name, one)
            for (name, _), one in self._valid().items()
            if matches(request_path, one.path)
        ]
        found.sort(key=lambda each: -len(each[1].path))
        return "; ".join(f"{name}={one.value}" for name, one in found)

    def _valid(self) -> dict[tuple[str, str], Cookie]:
        now = self._now()
        for key, one in list(self._cookies.items()):
            if one.expires_at is not None and one.expires_at <= now:
                del self._cookies[key]
        return self._cookies

    def _store(self, name: str, cookie: Cookie) -> None:
        self._cookies[name, cookie.path] = cookie
        if len(self._cookies) > _MAX_COOKIES:
            del self._cookies[next(iter(self._cookies))]

    def _is_own(self, domain: str) -> bool:
        return not domain or domain == self._host or self._host.endswith(f".{domain}")

    def _expires_at(self, given: dict[str, str]) -> float | None:
        """Return when a cookie expires; Max-Age comes before Expires (RFC 6265 section 5.3)."""
        max_age = given.get("max-age", "")
        if max_age.lstrip("-").isdecimal() and max_age.isascii():
            return self._now() + int(max_age) if int(max_age) > 0 else 0.0
        try:
            return parsedate_to_datetime(given["expires"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            return None


def default_path(request_path: str) -> str:
    """Return the path of a cookie without one (RFC 6265 section 5.1.4)."""
    path = request_path.partition("?")[0]
    return path[: path.rfind("/")] or "/"


def matches(request_path: str, cookie_path: str) -> bool:
    """Return whether a request gets the cookies of a path (RFC 6265 section 5.1.4)."""
    path = request_path.partition("?")[0]
    if not path.startswith(cookie_path):
        return False
    return len(path) == len(cookie_path) or cookie_path[-1] == "/" or path[len(cookie_path)] == "/"
