"""Responses with a file: content coding, preconditions, ranges (RFC 9110 sections 12 to 14)."""

from aserve.http import content_negotiation, preconditions, ranges
from aserve.http.dates import format_date
from aserve.http.messages import FileSlice, Headers, HttpError, Request, Response
from aserve.http.preconditions import PreconditionResult
from aserve.http.resources import UNKNOWN_LENGTH, UNKNOWN_TIME, Document, Representation

# Clients may store a copy but must revalidate it before each use: never stale, and cheap with 304.
_CACHE_CONTROL = ("Cache-Control", "no-cache")
_VARY: Headers = (("Vary", "Accept-Encoding"),)


def respond_with_document(request: Request, document: Document, now: int) -> Response:
    """Return the response to GET: a representation, preconditions, then ranges (9.3.1).

    now: POSIX time in seconds. Raises HttpError for an error response.
    """
    chosen = content_negotiation.select_representation(
        document, request.headers.get("accept-encoding")
    )
    vary = _VARY if len(document.representations) > 1 else ()
    try:
        response = respond_with_representation(request, chosen, vary, document.path, now)
    except HttpError as error:
        error.headers += vary
        raise
    return response._replace(absent=document.absent) if document.absent else response


def respond_with_representation(
    request: Request, chosen: Representation, vary: Headers, path: bytes, now: int
) -> Response:
    """Return the response to GET for one representation, which was chosen: as above.

    vary: the header that says why it was. path: as in Response.
    """
    result = preconditions.evaluate(request, chosen.validator, now)
    if result is PreconditionResult.FAILED:
        raise HttpError(412, "The file does not match the preconditions of the request.")
    validating = (("ETag", chosen.validator.etag), _CACHE_CONTROL, *vary)
    if result is PreconditionResult.NOT_MODIFIED:
        # With the headers that a 200 would have too (15.4.5).
        return Response(304, validating, path=path)
    describing = _representation_headers(chosen, now)
    if "range" in request.headers and (parts := _requested_ranges(request, chosen, now)):
        # A client that sends If-Range has the other headers already (RFC 9110 section 15.3.7).
        has_headers = "if-range" in request.headers
        headers = validating if has_headers else describing + validating
        return _partial_response(chosen, parts, headers)._replace(path=path)
    headers = describing + validating
    body = FileSlice(chosen.source, 0, chosen.length)
    length = None if chosen.length == UNKNOWN_LENGTH else chosen.length
    return Response(200, headers, (body,), length, path=path)


def _representation_headers(chosen: Representation, now: int) -> Headers:
    headers: Headers = (("Content-Type", chosen.media_type),)
    modified: int | None = chosen.validator.modified
    if chosen.validator.modified > now:  # rare, so usually it costs no call
        modified = chosen.validator.last_modified(now)
    if chosen.validator.modified != UNKNOWN_TIME:
        # If it is not in the past, the latest it can be is now (RFC 9110 section 8.8.2.1).
        headers += (("Last-Modified", format_date(now if modified is None else modified)),)
    headers += (("Accept-Ranges", "none" if chosen.length == UNKNOWN_LENGTH else "bytes"),)
    if chosen.coding != "identity":
        headers += (("Content-Encoding", chosen.coding),)
    return headers


def _requested_ranges(request: Request, chosen: Representation, now: int) -> list[ranges.ByteRange]:
    """Return the ranges to send, none for the whole. Range is defined only for GET (14.2)."""
    if chosen.length == UNKNOWN_LENGTH:
        return []
    if request.method != "GET" or not preconditions.range_applies(request, chosen.validator, now):
        return []
    return ranges.satisfiable_ranges(request.headers["range"], chosen.length)


def _partial_response(
    chosen: Representation, parts: list[ranges.ByteRange], headers: Headers
) -> Response:
    if len(parts) == 1:
        part = parts[0]
        headers = (("Content-Range", ranges.content_range(part, chosen.length)), *headers)
        body = FileSlice(chosen.source, part.start, part.stop)
        return Response(206, headers, (body,), len(body))
    # The tag depends on the change time, so no content can have been written to contain it.
    boundary = f"part-{chosen.validator.etag[1:-1]}"
    multipart = ranges.encode_multipart(
        parts, chosen.source, chosen.media_type, chosen.length, boundary
    )
    others = tuple(header for header in headers if header[0] != "Content-Type")
    headers = (("Content-Type", multipart.media_type), *others)
    return Response(206, headers, multipart.parts, multipart.length)
