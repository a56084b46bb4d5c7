"""The one true answer: from a request and what it names to a response (RFC 9110 section 9)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from aserve.http import content_negotiation, preconditions, ranges
from aserve.http.dates import format_date
from aserve.http.messages import FileSlice, Headers, HttpError, Request, Response
from aserve.http.preconditions import PreconditionResult
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import DirectoryWithoutSlash, Document, Representation, Resource

# A copy may be kept and must be asked about before each use: never stale, and 304 makes it cheap.
_CACHE_CONTROL = ("Cache-Control", "no-cache")


class RequestContext(NamedTuple):
    """What an answer depends on besides request and resource.

    now: POSIX time in whole seconds; methods: every method that is known, None if switched off;
    decode_slashes: whether %2F in a path divides names.
    """

    now: int
    methods: "MethodTable"
    decode_slashes: bool = False


ResourceFinder = Callable[[TargetPath], Resource]
"""Returns what a path names; raises Refused where it names nothing that may be had."""

MethodHandler = Callable[[Request, ResourceFinder, RequestContext], Response]
MethodTable = Mapping[str, MethodHandler | None]


def respond(request: Request, finder: ResourceFinder, context: RequestContext) -> Response:
    """Return the response to a request; raises Refused for what is answered with an error."""
    if request.error:
        raise request.error
    if request.method not in context.methods:
        raise HttpError(501, "This method is not known here.")
    method = context.methods[request.method]
    if method is None:
        raise HttpError(405, "This method is not allowed here.", (allow_header(context.methods),))
    return method(request, finder, context)


def allow_header(methods: MethodTable) -> tuple[str, str]:
    """Return the Allow field: the methods of the table that are switched on."""
    return "Allow", ", ".join(name for name, method in methods.items() if method)


def get(request: Request, finder: ResourceFinder, context: RequestContext) -> Response:
    """Answer GET: choose a representation, weigh the conditions, then the ranges (9.3.1)."""
    path = parse_path(request.target, decode_slashes=context.decode_slashes)
    resource = finder(path)
    if isinstance(resource, DirectoryWithoutSlash):
        location = path._replace(is_directory=True).location()
        raise HttpError(301, "A folder's address ends in a slash.", (("Location", location),))
    return _respond_with_document(request, resource, context.now)


def head(request: Request, finder: ResourceFinder, context: RequestContext) -> Response:
    """Answer HEAD: as GET, without the content (9.3.2)."""
    return get(request, finder, context).without_body()


def _respond_with_document(request: Request, document: Document, now: int) -> Response:
    chosen = content_negotiation.select_representation(
        document, request.headers.get("accept-encoding")
    )
    try:
        return _respond_with_representation(request, document, chosen, now)
    except HttpError as refused:
        refused.headers += _vary_header(document)
        raise


def _respond_with_representation(
    request: Request, document: Document, chosen: Representation, now: int
) -> Response:
    verdict = preconditions.evaluate(request, chosen.validator, now)
    if verdict is PreconditionResult.FAILED:
        raise HttpError(412, "The file is not in the state that the request depends on.")
    validating = (("ETag", chosen.validator.etag), _CACHE_CONTROL, *_vary_header(document))
    if verdict is PreconditionResult.NOT_MODIFIED:
        # With what a 200 shares with it (15.4.5).
        return Response(304, validating, cacheable=chosen.cacheable)
    describing = _representation_headers(chosen, now)
    if parts := _requested_ranges(request, chosen, now):
        # Who sends If-Range has the description already (RFC 9110 section 15.3.7).
        known = "if-range" in request.headers
        return _partial_response(chosen, parts, validating if known else describing + validating)
    fields = describing + validating
    body = FileSlice(chosen.source, 0, chosen.length)
    return Response(200, fields, (body,), chosen.length, cacheable=chosen.cacheable)


def _vary_header(document: Document) -> Headers:
    return (("Vary", "Accept-Encoding"),) if len(document.representations) > 1 else ()


def _representation_headers(chosen: Representation, now: int) -> Headers:
    modified: int | None = chosen.validator.modified
    if modified is not None and modified > now:  # hardly ever, so that it usually costs no call
        modified = chosen.validator.last_modified(now)
    fields: Headers = (
        ("Content-Type", chosen.media_type),
        # Where nothing tells, it is now at the latest (RFC 9110 section 8.8.2.1).
        ("Last-Modified", format_date(now if modified is None else modified)),
        ("Accept-Ranges", "bytes"),
    )
    if chosen.coding != "identity":
        fields += (("Content-Encoding", chosen.coding),)
    return fields


def _requested_ranges(request: Request, chosen: Representation, now: int) -> list[ranges.ByteRange]:
    """Return the parts to send, none for the whole. Range is defined for GET alone (14.2)."""
    if request.method != "GET" or "range" not in request.headers:
        return []
    if not preconditions.range_applies(request, chosen.validator, now):
        return []
    return ranges.satisfiable_ranges(request.headers["range"], chosen.length)


def _partial_response(
    chosen: Representation, parts: list[ranges.ByteRange], fields: Headers
) -> Response:
    if len(parts) == 1:
        one = parts[0]
        fields = (("Content-Range", ranges.content_range(one, chosen.length)), *fields)
        body = FileSlice(chosen.source, one.start, one.stop)
        return Response(206, fields, (body,), len(body), cacheable=chosen.cacheable)
    # The tag holds the change time, so no content can have been written that foresees this.
    boundary = f"part-{chosen.validator.etag[1:-1]}"
    many = ranges.encode_multipart(parts, chosen.source, chosen.media_type, chosen.length, boundary)
    others = tuple(field for field in fields if field[0] != "Content-Type")
    fields = (("Content-Type", many.media_type), *others)
    return Response(206, fields, many.parts, many.length, cacheable=chosen.cacheable)
