"""Which page a request comes from: browsers say so, in headers that no page can change."""

from aserve.http.messages import Request

_OWN = frozenset({"same-origin", "none"})
"""Sec-Fetch-Site of a page of this server, and of a person who typed the address."""


def is_from_another_site(request: Request) -> bool:
    """Tell whether a page of another site has sent a request.

    A page of the same site, but of another host or port, is another server's, and counts as one. A
    program that sends neither Origin nor Sec-Fetch-Site is no browser, and acts for its user alone.
    """
    if not request.has_any("sec-fetch-site", "origin"):
        return False
    site, origin = request.header("sec-fetch-site"), request.header("origin")
    if origin is not None and not _is_own(origin, request.headers.get("host", "")):
        return True
    return site is not None and site.strip().lower() not in _OWN


def _is_own(origin: str, host: str) -> bool:
    """Tell whether an Origin is this server's: its host and port are those of the request.

    The scheme is not compared, since a proxy in front may add TLS. "null" is foreign: sandboxed
    pages have it, and so have files that were uploaded here.
    """
    scheme, separator, authority = origin.strip().lower().partition("://")
    return bool(separator) and scheme in {"http", "https"} and authority == host.strip().lower()
