"""Responses with files: GET, HEAD and the dispatch of methods (RFC 9110 section 9)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from aserve.http import content_negotiation, preconditions, ranges
from aserve.http.dates import format_date
from aserve.http.messages import FileSlice, Headers, HttpError, Request, Response
from aserve.http.preconditions import PreconditionResult
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import DirectoryWithoutSlash, Document, Representation, Resource

# Clients may store a copy but must revalidate it before each use: never stale, and cheap with 304.
_CACHE_CONTROL = ("Cache-Control", "no-cache")


class RequestContext(NamedTuple):
    """What a response depends on besides the request and the resource.

    now: POSIX time in whole seconds. methods: every supported method, None if it is disabled.
    decode_slashes: whether %2F in a path separates segments.
    """

    now: int
    methods: "MethodTable"
    decode_slashes: bool = False


ResourceFinder = Callable[[TargetPath], Resource]
"""Returns the resource at a path; raises HttpError if there is none or it is forbidden."""

MethodHandler = Callable[[Request, ResourceFinder, RequestContext], Response]
MethodTable = Mapping[str, MethodHandler | None]


def respond(request: Request, finder: ResourceFinder, context: RequestContext) -> Response:
    """Return the response to a request. Raises HttpError for an error response."""
    if request.error:
        raise request.error
    if request.method not in context.methods:
        raise HttpError(501, "This method is not supported.")
    method = context.methods[request.method]
    if method is None:
        raise HttpError(405, "This method is not allowed.", (allow_header(context.methods),))
    return method(request, finder, context)


def allow_header(methods: MethodTable) -> tuple[str, str]:
    """Return the Allow header: the enabled methods of the table."""
    return "Allow", ", ".join(name for name, method in methods.items() if method)


def get(request: Request, finder: ResourceFinder, context: RequestContext) -> Response:
    """Answer GET: select a representation, evaluate preconditions, then ranges (9.3.1)."""
    path = parse_path(request.target, decode_slashes=context.decode_slashes)
    resource = finder(path)
    if isinstance(resource, DirectoryWithoutSlash):
        location = path._replace(is_directory=True).location()
        raise HttpError(301, "The URL of a directory ends with a slash.", (("Location", location),))
    return _respond_with_document(request, resource, context.now)


def head(request: Request, finder: ResourceFinder, context: RequestContext) -> Response:
    """Answer HEAD: like GET, without the body (9.3.2)."""
    return get(request, finder, context).without_body()


def _respond_with_document(request: Request, document: Document, now: int) -> Response:
    chosen = content_negotiation.select_representation(
        document, request.headers.get("accept-encoding")
    )
    try:
        return _respond_with_representation(request, document, chosen, now)
    except HttpError as error:
        error.headers += _vary_header(document)
        raise


def _respond_with_representation(
    request: Request, document: Document, chosen: Representation, now: int
) -> Response:
    result = preconditions.evaluate(request, chosen.validator, now)
    if result is PreconditionResult.FAILED:
        raise HttpError(412, "The file does not match the preconditions of the request.")
    validating = (("ETag", chosen.validator.etag), _CACHE_CONTROL, *_vary_header(document))
    if result is PreconditionResult.NOT_MODIFIED:
        # With the headers that a 200 would have too (15.4.5).
        return Response(304, validating, cacheable=chosen.cacheable)
    describing = _representation_headers(chosen, now)
    if parts := _requested_ranges(request, chosen, now):
        # A client that sends If-Range has the other headers already (RFC 9110 section 15.3.7).
        has_headers = "if-range" in request.headers
        headers = validating if has_headers else describing + validating
        return _partial_response(chosen, parts, headers)
    headers = describing + validating
    body = FileSlice(chosen.source, 0, chosen.length)
    return Response(200, headers, (body,), chosen.length, cacheable=chosen.cacheable)


def _vary_header(document: Document) -> Headers:
    return (("Vary", "Accept-Encoding"),) if len(document.representations) > 1 else ()


def _representation_headers(chosen: Representation, now: int) -> Headers:
    modified: int | None = chosen.validator.modified
    if modified is not None and modified > now:  # rare, so usually it costs no call
        modified = chosen.validator.last_modified(now)
    headers: Headers = (
        ("Content-Type", chosen.media_type),
        # If it is unknown, the latest it can be is now (RFC 9110 section 8.8.2.1).
        ("Last-Modified", format_date(now if modified is None else modified)),
        ("Accept-Ranges", "bytes"),
    )
    if chosen.coding != "identity":
        headers += (("Content-Encoding", chosen.coding),)
    return headers


def _requested_ranges(request: Request, chosen: Representation, now: int) -> list[ranges.ByteRange]:
    """Return the ranges to send, none for the whole. Range is defined only for GET (14.2)."""
    if request.method != "GET" or "range" not in request.headers:
        return []
    if not preconditions.range_applies(request, chosen.validator, now):
        return []
    return ranges.satisfiable_ranges(request.headers["range"], chosen.length)


def _partial_response(
    chosen: Representation, parts: list[ranges.ByteRange], headers: Headers
) -> Response:
    if len(parts) == 1:
        part = parts[0]
        headers = (("Content-Range", ranges.content_range(part, chosen.length)), *headers)
        body = FileSlice(chosen.source, part.start, part.stop)
        return Response(206, headers, (body,), len(body), cacheable=chosen.cacheable)
    # The tag depends on the change time, so no content can have been written to contain it.
    boundary = f"part-{chosen.validator.etag[1:-1]}"
    multipart = ranges.encode_multipart(
        parts, chosen.source, chosen.media_type, chosen.length, boundary
    )
    others = tuple(header for header in headers if header[0] != "Content-Type")
    headers = (("Content-Type", multipart.media_type), *others)
    return Response(206, headers, multipart.parts, multipart.length, cacheable=chosen.cacheable)
