"""Which request a redirect asks for (RFC 9110 section 15.4). Pure: bytes in, bytes out."""

from urllib.parse import urljoin

from abench.errors import ParameterError
from abench.plan.target import Target

FOLLOWED = frozenset({301, 302, 303, 307, 308})  # RFC 9110 sections 15.4.2 to 15.4.4, .8 and .9
# Section 15.4: "A client SHOULD detect and intervene in cyclical redirections". As many as browsers
# follow (fetch.spec.whatwg.org, HTTP-redirect fetch).
MAX_REDIRECTS = 20

# Section 15.4: what is removed if the method becomes GET, since there is no content any more.
_OF_CONTENT = frozenset(
    (
        *(b"content-encoding", b"content-language", b"content-location", b"content-type"),
        *(b"content-length", b"digest", b"last-modified", b"transfer-encoding", b"expect"),
    )
)


def redirected(request: bytes, status: int, location: bytes, target: Target) -> bytes | None:
    """Return the request that a redirect asks for after `request` to the server of `target`.

    None if the status is none that is followed, or the Location names no resource of that server.
    """
    if status not in FOLLOWED or not location:
        return None
    head, blank, body = request.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    method, sent_target, version = line.split(b" ")
    server = f"{target.scheme}://{target.authority}"
    is_absolute = not sent_target.startswith(b"/")
    url = sent_target.decode() if is_absolute else f"{server}{sent_target.decode()}"
    resource = _resolve(url, location, target)
    if resource is None:
        return None
    following = _following_method(method, status)
    if following != method:
        headers = [each for each in headers if _name(each) not in _OF_CONTENT]
        body = b""
    prefix = server if is_absolute else ""
    line = b"%s %s %s" % (following, f"{prefix}{resource}".encode(), version)
    return b"\r\n".join((line, *headers)) + blank + body


def _resolve(url: str, location: bytes, target: Target) -> str | None:
    """Return the resource that a Location refers to (section 10.2.2); None on another server."""
    try:
        found = Target.parse(urljoin(url, location.decode()))
    except (ParameterError, ValueError):  # not UTF-8, or brackets without an address
        return None
    return found.resource if found.origin == target.origin else None


def _following_method(method: bytes, status: int) -> bytes:
    """Return the method of the next request.

    303 asks for a retrieval; after 301 and 302, POST becomes GET as in all browsers; 307 and 308
    do not change it.
    """
    if status == 303:
        return method if method == b"HEAD" else b"GET"
    return b"GET" if status in {301, 302} and method == b"POST" else method


def _name(header: bytes) -> bytes:
    return header.partition(b":")[0].lower()


def resource_of(request: bytes) -> bytes:
    """Return the path and query that a request asks for."""
    target = request.split(b" ", 2)[1]
    return target if target.startswith(b"/") else b"/" + b"/".join(target.split(b"/")[3:])
