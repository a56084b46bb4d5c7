"""A response with an HTML page, made into the same one with a script tag in it."""

from collections.abc import Iterator

from aserve.http.messages import BodyPart, FileSlice, Headers, Response
from aserve.http.script_injection import MAX_PREFIX, find_insertion

_HTML, _XHTML = "text/html", "application/xhtml+xml"

# The page has no date, since the tag differs from time to time, and no ranges.
_HEADERS_OF_THE_FILE = frozenset({"last-modified", "accept-ranges"})


def insert_script(response: Response, tag: str, suffix: str, *, is_page: bool) -> Response | None:
    """Return a page with a tag in it, which is not cacheable; None if the response is no page.

    tag: in ASCII. suffix: makes the entity tag of the file one of the page. is_page: whether the
    client is known to want a page; otherwise the document itself must be a whole one.
    """
    media_type = _page_type(response)
    if media_type is None:
        return None
    (body,) = response.body
    prefix = _read_prefix(body)
    insertion = find_insertion(prefix, media_type)
    # XHTML is parsed as XML, which has nothing implied.
    if not (is_page or insertion.is_page) or not (_HTML in media_type or insertion.in_head):
        return None
    encoded = tag.encode(insertion.encoding)
    length = None if response.length is None else response.length + len(encoded)
    parts = _insert(body, prefix, insertion.position, encoded)
    headers = tuple(_page_headers(response.headers, suffix))
    return response.with_headers(headers, parts)._replace(length=length, path=b"")


def _page_type(response: Response) -> str | None:
    """Return the media type of a response that is a page, as it is, in one part."""
    headers = {name.lower(): value for name, value in response.headers}
    media_type = headers.get("content-type", "")
    is_html = media_type.partition(";")[0].strip().lower() in {_HTML, _XHTML}
    is_attached = headers.get("content-disposition", "").lower().startswith("attachment")
    is_plain = len(response.body) == 1 and isinstance(response.body[0], bytes | FileSlice)
    if is_html and is_plain and not is_attached and "content-encoding" not in headers:
        return media_type.lower()
    return None


def _read_prefix(body: BodyPart) -> bytes:
    """Return the start of a page. Raises BlockingIOError as its source does."""
    if isinstance(body, FileSlice):
        return body.source.read(body.start, min(body.stop, body.start + MAX_PREFIX))
    return bytes(body[:MAX_PREFIX]) if isinstance(body, bytes) else b""


def _insert(body: BodyPart, prefix: bytes, position: int, tag: bytes) -> tuple[BodyPart, ...]:
    if len(prefix) == len(body) or not isinstance(body, FileSlice):
        whole = body if isinstance(body, bytes) else prefix
        return (whole[:position] + tag + whole[position:],)
    start = prefix[:position] + tag
    return start, FileSlice(body.source, body.start + position, body.stop)


def _page_headers(headers: Headers, suffix: str) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        lower = name.lower()
        if lower == "etag":
            yield name, f'{value[:-1]}-{suffix}"'
        elif lower not in _HEADERS_OF_THE_FILE:
            yield name, value
