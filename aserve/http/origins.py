"""Origins of pages (RFC 6454), as a site's owner lists them: exactly, or with any subdomain."""

import re
from collections.abc import Sequence

from aserve.http.messages import Request

ANY = "*"

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<any>\*\.)?(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)"
    r"(?P<port>:(?:\*|[0-9]{1,5}))?"
)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def is_preflight(request: Request) -> bool:
    """Tell whether a browser asks what a page may do, before it does it (WHATWG Fetch, 4.8).

    It never has a login.
    """
    return (
        request.method == "OPTIONS" and request.header("access-control-request-method") is not None
    )


class Origins:
    """Those of a list: "https://app.test", "https://*.app.test", "http://localhost:*".

    Raises ValueError for a text that is no origin.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        if ANY in texts and len(texts) > 1:
            raise ValueError("* is any origin, and stands alone")
        self.has_any = ANY in texts
        """Whether every origin is one of them."""
        patterns = () if self.has_any else map(_pattern, texts)
        self._matches = re.compile("|".join(patterns) or "(?!)").fullmatch

    def __contains__(self, origin: str) -> bool:
        """Tell whether the value of an Origin header is one of them. "null" is none."""
        return self.has_any or self._matches(origin.strip().lower()) is not None


def _pattern(text: str) -> str:
    match = _ORIGIN.fullmatch(text.lower())
    if not match:
        raise ValueError(f"must be an origin such as https://app.test, or *, not {text!r}")
    scheme, host, port = match["scheme"], re.escape(match["host"]), match["port"] or ""
    if match["any"]:
        host = r"(?:[a-z0-9_-]+\.)+" + host
    if port == ":*":
        port = "(?::[0-9]+)?"
    elif port == _DEFAULT_PORTS.get(scheme):  # which browsers leave out
        port = ""
    return f"{re.escape(scheme)}://{host}{port}"
